"""Types of fields and parameters that any API needs: text, numbers, days, timestamps."""

import re
import unicodedata
from datetime import date, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler, PlainSerializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from storage import validation
from storage.times import rfc3339
from storage.validation import shown


def _storable(text: str) -> str:
    """PostgreSQL stores no NUL, and UTF-8 has no lone surrogates."""
    if "\0" in text:
        raise ValueError("contains the NUL character; remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains half of a surrogate pair, which is not a character; remove it") from None
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank; give at least one character that can be seen")
    return text


def _on_one_line(text: str) -> str:
    """Control characters could forge a header of a mail or a line of a log, and nobody sees them."""
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise ValueError("has a line break or another control character; write it on one line, without tabs")
    return text


def _day_text(value: Any) -> Any:
    """Pydantic also takes numbers, as seconds since 1970."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return value
    raise ValueError(f"{shown(value)} is not a day; write it as 2026-02-12")


def _unquoted(value: Any) -> Any:
    """Pydantic also turns text and booleans into numbers."""
    if isinstance(value, bool | str):
        raise ValueError(f"{shown(value)} is not a number; send a number without quotes")  # noqa: TRY004 - as above
    return value


def _not_null(value: Any) -> Any:
    if value is None:
        raise ValueError("cannot be null; leave it out to keep its value")
    return value


class _WithoutNull:
    """Leaves null out of a type's description."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        (other,) = (part for part in described.pop("anyOf") if part != {"type": "null"})
        return {**other, **described}


T = TypeVar("T")
# A field that may be left out, or null for the same.
Optional = Annotated[T | None, _WithoutNull()]
# A field of an update that may be left out and cannot be null.
NotNull = Annotated[T | None, BeforeValidator(_not_null), _WithoutNull()]
Text = Annotated[str, AfterValidator(_storable)]
# For a text that people choose something by, such as a name. Stored ones may be blank since earlier releases took them.
NOT_BLANK = AfterValidator(_not_blank)
# For a name: it is not blank, and stands on one line.
NAME = AfterValidator(lambda text: _on_one_line(_not_blank(text)))
# For whole numbers of a body (15.0 is one); those of a query are text. It stands after the bounds: before them, it
# would hide them from the description.
UNQUOTED = BeforeValidator(_unquoted)
Day = Annotated[date, BeforeValidator(_day_text)]
# In an answer: a timestamp as RFC 3339 in UTC.
Moment = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
# In a request: a timestamp with its offset, turned into UTC.
Instant = validation.Instant
