"""ETags of rows: clients send them back with `If-None-Match` to read and with `If-Match` to change."""

from datetime import datetime
from email.utils import format_datetime
from typing import Annotated, Any, Protocol

from fastapi import Header, Response

from serving.http.errors import PreconditionFailed
from storage.times import microseconds
from storage.validation import form

# One ETag, several, or any (RFC 9110, 8.8.3 and 13.1.1).
TAG = r'(W/)?"[!#-~]*"'
TAGS = form(rf"^(\*|{TAG}( *, *{TAG})*)$", "send the ETag of an answer, in its quotes, or *")
# For a route's `responses`.
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "The row has not changed"}}
IfNoneMatch = Annotated[str | None, Header(description="An ETag; the answer is 304 if the row still has it")]
IfMatch = Annotated[
    str | None, Header(pattern=TAGS, description="An ETag; the answer is 412 if the row has another one")
]


class Versioned(Protocol):
    """A row that says when it was last changed."""

    updated_at: datetime


def not_modified(response: Response, row: Versioned, if_none_match: str | None) -> Response | None:
    """Set the response's ETag and Last-Modified; a 304 response to return instead if the client has this version."""
    headers = {"ETag": tag_of(row), "Last-Modified": format_datetime(row.updated_at, usegmt=True)}
    if tag_of(row) in _parts(if_none_match):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return None


def refuse_stale(row: Versioned, if_match: str | None) -> None:
    """Check that a client that sent `If-Match` knows the row's current version.

    Raises:
        PreconditionFailed: It knows another version.

    """
    if if_match is not None and not {"*", tag_of(row)}.intersection(_parts(if_match)):
        raise PreconditionFailed("it has changed since you read it; read it again, then change it")


def _parts(header: str | None) -> list[str]:
    """The ETags of a header; proxies that compress answers make them weak, which does not matter here."""
    return [part.strip().removeprefix("W/") for part in (header or "").split(",")]


def tag_of(row: Versioned) -> str:
    """The ETag of a row's version."""
    return f'"{microseconds(row.updated_at):x}"'
