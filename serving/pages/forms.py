"""Forms become the bodies that the routes of the API take, and are refused in its words."""

import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from sqlmodel import Session

from storage.known_ids import known_ids

Body = TypeVar("Body", bound=BaseModel)
Filters = TypeVar("Filters", bound=BaseModel)


def number_of(form: Mapping[str, str], name: str, default: float | None = None) -> float | str | None:
    """The number in a field of a form; `default` if it is blank. Other text stays, and the API says what is wrong.

    A comma may stand for the point, but not where it could part thousands (`1,500`).
    """
    text = form.get(name, "").strip()
    if not text:
        return default
    if re.fullmatch(r"[-+]?\d+,(\d{1,2}|\d{4,})", text):
        text = text.replace(",", ".")
    try:
        value = int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else text


def body_of(model: type[Body], values: Mapping[str, Any]) -> Body:
    """The body with these values.

    Raises:
        RequestValidationError: A value is wrong. The answer is the same as that of the API to such a body.

    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None


def with_known_id(session: Session, filters: Filters) -> Filters:
    """The filters of a list; their `device_id` gets the capitals that the machine's id has."""
    typed: str | None = getattr(filters, "device_id", None)
    return filters.model_copy(update={"device_id": known_ids(session, [typed])[0]}) if typed else filters


def device_of(session: Session, form: Mapping[str, str]) -> str:
    """The machine's id in a form, as the machine writes it."""
    return known_ids(session, [form.get("device_id", "").strip()])[0]


def devices_of(session: Session, form: Mapping[str, str]) -> list[str]:
    """The ids in a form, separated by blanks or commas, each once and as its machine writes it."""
    typed = form.get("device_ids", "").replace(",", " ").split()
    return list(dict.fromkeys(known_ids(session, typed)))
