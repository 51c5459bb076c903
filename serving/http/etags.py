"""Which version of a row a client knows: its ETag, sent with `If-None-Match` to read and with `If-Match` to change."""

from datetime import datetime
from email.utils import format_datetime
from typing import Annotated, Any, Protocol

from fastapi import Header, Response

from serving.http.errors import PreconditionFailed
from storage.times import microseconds

# One ETag, several, or any (RFC 9110, 8.8.3 and 13.1.1).
TAG = r'(W/)?"[!#-~]*"'
TAGS = rf"^(\*|{TAG}( *, *{TAG})*)$"
# For a route's `responses`.
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "The version that the client has still stands"}}
IfNoneMatch = Annotated[str | None, Header(description="An ETag: 304 while it stands")]
IfMatch = Annotated[
    str | None, Header(pattern=TAGS, description="The ETag of what is changed: 412 when it has changed since")
]


class Versioned(Protocol):
    """A row that says when it was last changed."""

    updated_at: datetime


def not_modified(response: Response, row: Versioned, if_none_match: str | None) -> Response | None:
    """Give the response an ETag and Last-Modified; the answer instead of it where the client has that version."""
    headers = {"ETag": _tag(row), "Last-Modified": format_datetime(row.updated_at, usegmt=True)}
    if _tag(row) in _parts(if_none_match):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return None


def refuse_stale(row: Versioned, if_match: str | None) -> None:
    """Let a change pass by a client that knows the row as it is, or does not say.

    Raises:
        PreconditionFailed: it knows another version.

    """
    if if_match is not None and not {"*", _tag(row)}.intersection(_parts(if_match)):
        raise PreconditionFailed("it has changed since; read it again before changing it")


def _parts(header: str | None) -> list[str]:
    """The ETags of a header; a proxy that compresses answers makes them weak, and they say the same."""
    return [part.strip().removeprefix("W/") for part in (header or "").split(",")]


def _tag(row: Versioned) -> str:
    return f'"{microseconds(row.updated_at):x}"'
