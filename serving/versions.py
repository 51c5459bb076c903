"""Which version of a row a client knows: its ETag, sent with `If-None-Match` to read and with `If-Match` to change."""

from datetime import datetime
from email.utils import format_datetime
from typing import Annotated, Any, Protocol

from fastapi import Header, Response

from serving.errors import PreconditionFailed
from storage.telemetry import microseconds

# For a route's `responses`.
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "The version that the client has still stands"}}
IfNoneMatch = Annotated[str | None, Header(description="An ETag: 304 while it stands")]
IfMatch = Annotated[str | None, Header(description="The ETag of what is changed: 412 when it has changed since")]


class Versioned(Protocol):
    """A row that says when it was last changed."""

    updated_at: datetime


def not_modified(response: Response, row: Versioned, if_none_match: str | None) -> Response | None:
    """Give the response an ETag and Last-Modified; the answer instead of it where the client has that version."""
    headers = {"ETag": _tag(row), "Last-Modified": format_datetime(row.updated_at, usegmt=True)}
    if if_none_match is not None and _tag(row) in (part.strip() for part in if_none_match.split(",")):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return None


def refuse_stale(row: Versioned, if_match: str | None) -> None:
    """Let a change pass by a client that knows the row as it is, or does not say.

    Raises:
        PreconditionFailed: it knows another version.

    """
    if if_match is not None and if_match.strip() not in ("*", _tag(row)):
        raise PreconditionFailed("it has changed since; read it again before changing it")


def _tag(row: Versioned) -> str:
    return f'"{microseconds(row.updated_at):x}"'
