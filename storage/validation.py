"""What is wrong with a value that a model refuses, in plain sentences: the value, and what to do.

Pydantic speaks to programmers ("Input should be a valid integer"). Its kinds of errors are translated here, for the
answers of the API and for settings alike.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

TIMESTAMPS = "2026-02-12T10:00:00Z or 2026-02-12T11:00:00+01:00"
MAX_SHOWN = 60

# What a text must look like, by its pattern.
_FORMS: dict[str, str] = {}


def form(pattern: str, sentence: str) -> str:
    """The pattern itself; `sentence` says what it asks for, such as "use small letters"."""
    _FORMS[pattern] = sentence
    return pattern


def shown(value: Any) -> str:
    """The value as JSON, cut off if it is long. What cannot be seen, or be part of a text, is escaped."""
    text = json.dumps(value, default=str, ensure_ascii=False)[: MAX_SHOWN + 1]
    text = "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def short_number(number: float) -> str:
    """The number in few characters, but with all the digits that tell it from others."""
    try:
        text = f"{number:.15g}" if 1e6 <= abs(number) < 1e12 else f"{number:g}"
    except OverflowError:  # JSON has whole numbers that no float can hold
        return f"{number!r}"[:30]
    return text if float(text) == number else repr(number)


def one_of(names: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def sentence(error: Mapping[str, Any]) -> str:
    """One of `ValidationError.errors()` in plain words, without the field's name."""
    context = error.get("ctx", {})
    if error["type"] in _OWN_WORDS:
        return str(error["msg"]).partition(", ")[2]
    value = error.get("input")
    makes = _SENTENCES.get(error["type"])
    return makes(value, context) if makes else f"{shown(value)} is not possible here; see the description at /docs"


def field_path(location: tuple[int | str, ...]) -> str:
    """`("ids", 0)` as `ids.0`. A key of an object that is itself wrong is named like its value."""
    return ".".join(str(part) for part in location if part != "[key]")


def first_error(errors: list[Any]) -> str:
    """The first of the errors, with the name of its field."""
    name, message = field_path(errors[0]["loc"]), sentence(errors[0])
    return f"{name}: {message}" if name else message


def _timestamp_text(value: Any) -> Any:
    """Pydantic also takes numbers and bare dates, and guesses what they mean."""
    if isinstance(value, str):
        # A plus that is not written as %2B in a URL arrives as a blank.
        value = re.sub(r"^(\S+[Tt ][\d:.,]+) (\d\d:?\d\d)$", r"\1+\2", value)
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError(f"{shown(value)} is not a timestamp; write it as {TIMESTAMPS}")
    if not isinstance(value, str | datetime):
        raise ValueError(f"{shown(value)} is not text; write the timestamp as {TIMESTAMPS}")  # noqa: TRY004 - a field's wrong value
    return value


def _utc(moment: datetime) -> datetime:
    if not 1970 <= moment.year <= 2200:
        raise ValueError("is outside the years 1970 to 2200")
    return moment.astimezone(UTC)


# In a request: a timestamp with its offset, turned into UTC.
Instant = Annotated[AwareDatetime, BeforeValidator(_timestamp_text), AfterValidator(_utc)]

Makes = Callable[[Any, Mapping[str, Any]], str]


def _not(what: str, remedy: str) -> Makes:
    return lambda value, _: f"{shown(value)} is not {what}; {remedy}"


def _is_decimal(text: str) -> bool:
    return text.strip().lstrip("+-").replace(".", "", 1).isdigit()


def _number(value: Any, _: Mapping[str, Any]) -> str:
    is_quoted = isinstance(value, str) and _is_decimal(value)
    return f"{shown(value)} is not a number; give {'it without quotes' if is_quoted else 'a number such as 12.5'}"


def _whole_number(value: Any, context: Mapping[str, Any]) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, float) and value.is_integer():
        return f"{shown(value)} is not written as a whole number; write {shown(int(value))}"
    if is_number or (isinstance(value, str) and "." in value and _is_decimal(value)):
        return f"{shown(value)} is not a whole number; give one such as 12"
    return _number(value, context).replace("12.5", "12")


def _choice(value: Any, context: Mapping[str, Any]) -> str:
    return f"{shown(value)} is not known; choose {str(context['expected']).replace(chr(39), '')}"


def _pattern(value: Any, context: Mapping[str, Any]) -> str:
    pattern = context["pattern"]
    return f"{shown(value)} is not valid; {_FORMS.get(pattern, f'it must match {pattern}')}"


def _bound(words: str, name: str) -> Makes:
    def makes(value: Any, context: Mapping[str, Any]) -> str:
        if value != value:  # noqa: PLR0124 - only NaN differs from itself
            return _number(value, context)
        return f"{shown(value)} is out of range; give {words.format(f'{context[name]:.15g}')}"

    return makes


def _short(value: Any, context: Mapping[str, Any]) -> str:
    least = context["min_length"]
    return "is empty; give at least one character" if not value else f"is too short; give at least {least} characters"


def _few(value: Any, context: Mapping[str, Any]) -> str:
    if isinstance(value, str):
        return _short(value, context)
    least, actual = context["min_length"], context["actual_length"]
    items = "item" if least == 1 else "items"
    return f"is empty; give at least {least} {items}" if not actual else f"has {actual} items; give at least {least}"


def _long(value: str, context: Mapping[str, Any]) -> str:
    return f"has {len(value)} characters; give at most {context['max_length']}"


def _many(value: Any, context: Mapping[str, Any]) -> str:
    if isinstance(value, str):
        return _long(value, context)
    return f"has more than {context['max_length']} items; give at most {context['max_length']}"


_OWN_WORDS = ("value_error", "assertion_error")
_OBJECT = _not("a JSON object", 'send one such as {"name": "value"}')
_LIST = _not("a list", 'send one such as ["a", "b"]')
_TEXT = _not("text", "send it in quotes")
_TIMESTAMP = _not("a timestamp", f"write it as {TIMESTAMPS}")
_DAY = _not("a day", "write it as 2026-02-12")
_TRUTH = _not("true or false", "send one of the two without quotes")
_ID = _not("an id", "send one such as 3f2504e0-4f89-41d3-9a0c-0305e82c3301")
_SENTENCES: dict[str, Makes] = {
    "missing": lambda _value, _context: "is missing; send it",
    "extra_forbidden": lambda _value, _context: "is not a known field; check its spelling, or leave it out",
    "invalid_key": _not("a name", "names are text"),
    "none_required": _not("null", "leave it out"),
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "mapping_type": _OBJECT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "iterable_type": _LIST,
    "string_type": _TEXT,
    "string_unicode": _TEXT,
    "string_too_short": _short,
    "string_too_long": _long,
    "string_pattern_mismatch": _pattern,
    "too_short": _few,
    "too_long": _many,
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "int_type": _whole_number,
    "int_parsing": _whole_number,
    "int_from_float": _whole_number,
    "int_parsing_size": lambda _value, _context: "has too many digits; give a smaller number",
    "float_type": _number,
    "float_parsing": _number,
    "finite_number": _not("a finite number", "send a number such as 12.5"),
    "greater_than": _bound("more than {}", "gt"),
    "greater_than_equal": _bound("{} or more", "ge"),
    "less_than": _bound("less than {}", "lt"),
    "less_than_equal": _bound("{} or less", "le"),
    "multiple_of": _bound("a multiple of {}", "multiple_of"),
    "literal_error": _choice,
    "enum": _choice,
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
    "datetime_type": _TIMESTAMP,
    "datetime_parsing": _TIMESTAMP,
    "datetime_object_invalid": _TIMESTAMP,
    "datetime_from_date_parsing": _TIMESTAMP,
    "timezone_aware": lambda value, _: f"{shown(value)} has no offset; write it as {TIMESTAMPS}",
    "uuid_type": _ID,
    "uuid_parsing": _ID,
    "uuid_version": _ID,
    "url_type": _not("a URL", "send one such as https://example.com/path"),
    "url_parsing": _not("a URL", "send one such as https://example.com/path"),
    "url_scheme": _not("a URL that can be used", "it begins with https://"),
    "recursion_loop": lambda _value, _context: "is nested too deeply; give a simpler value",
}
