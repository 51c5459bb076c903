"""Forms become the bodies that the routes of the API take, and are refused in its words."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

Body = TypeVar("Body", bound=BaseModel)


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
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text


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
