"""Errors as clients get them: problem details (RFC 9457), with the handover's `success: false` beside.

Problem
├── NotFound       404
├── Conflict       409
├── Invalid        422
└── Unavailable    503
"""

import logging
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from storage.objects import ObjectStoreUnavailable
from storage.telemetry import StoreUnavailable

log = logging.getLogger(__name__)


class FieldError(BaseModel):
    """What is wrong with one field of the request."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """The body of every error (`application/problem+json`)."""

    success: bool = False
    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
    request_id: str | None = None


class Problem(Exception):
    """An answer that is an error; `detail` says what, why and how to mend it."""

    status: ClassVar[HTTPStatus]

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = [FieldError(field=field, message=detail)] if field else []


class NotFound(Problem):
    status = HTTPStatus.NOT_FOUND


class Conflict(Problem):
    status = HTTPStatus.CONFLICT


class Refused(Problem):
    status = HTTPStatus.FORBIDDEN


class Invalid(Problem):
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class Unavailable(Problem):
    status = HTTPStatus.SERVICE_UNAVAILABLE


def problems(*kinds: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the errors that it answers with."""
    return {
        kind.status.value: {
            "model": ProblemDetails,
            "description": kind.status.phrase,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for kind in kinds
    }


def answer_with_problems(app: FastAPI) -> None:
    """Make every error of the app a problem, expected or not."""

    @app.exception_handler(Problem)
    def _problem(request: Request, error: Problem) -> JSONResponse:
        return _answer(request, error.status, error.detail, error.errors)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [FieldError(field=_field(e["loc"]), message=_message(e)) for e in error.errors()]
        detail = "; ".join(f"{e.field}: {e.message}" for e in errors[:3])
        return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        return _answer(request, HTTPStatus(error.status_code), str(error.detail), headers=error.headers)

    @app.exception_handler(StoreUnavailable)
    @app.exception_handler(ObjectStoreUnavailable)
    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    def _unavailable(request: Request, error: Exception) -> JSONResponse:
        reason = error.orig if isinstance(error, DBAPIError) else error
        log.warning("%s %s: %s", request.method, request.url.path, reason)
        detail = "a store does not answer; try again in a moment (GET /ready says which)"
        return _answer(request, HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "2"})

    @app.exception_handler(Exception)
    def _unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        detail = "the platform failed on this request; its log has the reason under the request id"
        return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def _answer(
    request: Request,
    status: HTTPStatus,
    detail: str,
    errors: list[FieldError] | None = None,
    headers: Any = None,
) -> JSONResponse:
    request_id = getattr(request.state, "request_id", None)
    body = ProblemDetails(
        title=status.phrase, status=status.value, detail=detail, errors=errors or [], request_id=request_id
    )
    return JSONResponse(body.model_dump(), status.value, headers, media_type="application/problem+json")


def _field(location: tuple[int | str, ...]) -> str:
    """`("body", "device_ids", 0)` as `device_ids.0`; the whole body as `body`."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])


def _message(error: dict[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")
