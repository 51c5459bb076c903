"""Forms become the bodies that the routes of the API take, and are refused in its words."""

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

Body = TypeVar("Body", bound=BaseModel)


def number_of(form: Mapping[str, str], name: str, default: float | None = None) -> float | str | None:
    """The number in a field of a form; `default` if it is blank. Other text stays, and the API says what is wrong."""
    text = form.get(name, "").strip()
    if not text:
        return default
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
