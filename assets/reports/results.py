"""Reads values of the results of analyses and of rules, as the API returns them."""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from assets.reports.errors import ReportError

# Marks that change the direction of the text around them. With them, a name could rearrange its neighbours.
_BIDI_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def text(value: object) -> str:
    """A user's text on one line, without invisible characters."""
    kept = [
        " " if character.isspace() else character
        for character in str(value)
        if character.isspace() or (unicodedata.category(character) not in ("Cc", "Cs") and character not in _BIDI_MARKS)
    ]
    return re.sub(" +", " ", "".join(kept)).strip()


def number(value: object) -> float | None:
    """The value as a float if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def known_time(item: Mapping[str, Any], key: str, what: str) -> datetime:
    """The time of an item, which must have one. Raises ReportError."""
    moment = time_of(item.get(key), what)
    if moment is None:
        raise ReportError(f"The {what} result has an item without {key}: {dict(item)}. Run the analysis again.")
    return moment


def time_of(value: object, what: str) -> datetime | None:
    """The time, which must have an offset. Raises ReportError."""
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ReportError(
            f"The {what} result has {value!r} where a time is expected. Run the analysis again."
        ) from None
    if moment.tzinfo is None:
        raise ReportError(f"The {what} result has the time {value} without a UTC offset. Run the analysis again.")
    return moment


def optional_text(value: object) -> str | None:
    """The text, if there is one."""
    return None if value is None else text(value)


def finite(value: Any) -> Any:
    """The JSON data with null in place of NaN and infinite numbers."""
    if isinstance(value, Mapping):
        return {text(key): finite(item) for key, item in value.items()}
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Iterable):
        return [finite(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else number(value)
