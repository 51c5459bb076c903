"""Errors as clients get them: problem details (RFC 9457), with the handover's `success: false` beside.

Problem
├── Unauthenticated  401
├── Refused          403
├── NotFound         404
├── NotAcceptable    406
├── Conflict         409
├── PreconditionFailed  412
├── OutOfRange       416
├── Invalid          422
├── TooMany          429
└── Unavailable      503
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import APIRouter, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException, WebSocketException
from starlette.websockets import WebSocketState

from assets.datasets.export import DatasetReplaced
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
        self.headers: dict[str, str] = {}


class Unauthenticated(Problem):
    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.headers = {"WWW-Authenticate": "Bearer"}


class NotFound(Problem):
    status = HTTPStatus.NOT_FOUND


class Conflict(Problem):
    status = HTTPStatus.CONFLICT


class PreconditionFailed(Problem):
    status = HTTPStatus.PRECONDITION_FAILED


class Refused(Problem):
    status = HTTPStatus.FORBIDDEN


class NotAcceptable(Problem):
    status = HTTPStatus.NOT_ACCEPTABLE


class OutOfRange(Problem):
    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size} bytes, and none in that range")
        self.headers = {"Content-Range": f"bytes */{size}"}


class Invalid(Problem):
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class TooMany(Problem):
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after)}


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


def field_errors(errors: Sequence[Any]) -> list[FieldError]:
    """Of a model that was validated by hand."""
    return [FieldError(field=".".join(map(str, e["loc"])) or "body", message=_message(e)) for e in errors]


def answer_with_problems(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Make every error of the app a problem, expected or not."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]

    @app.exception_handler(Problem)
    def _problem(request: Request, error: Problem) -> JSONResponse:
        return _answer(request, error.status, error.detail, error.errors, error.headers)

    @app.exception_handler(WebSocketException)
    async def _closed(websocket: WebSocket, error: WebSocketException) -> None:
        # Accepted first: only of such a connection a browser sees code and reason (at most 123 bytes).
        reason = error.reason.encode()[:123].decode(errors="ignore")
        with suppress(WebSocketDisconnect, RuntimeError):  # it left in this very moment
            if websocket.application_state is WebSocketState.CONNECTING:
                await websocket.accept()
            await websocket.close(error.code, reason)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [_field_error(e) for e in error.errors()]
        detail = "; ".join(f"{e.field}: {e.message}" for e in errors[:3])
        return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = _allowed(routes, request)
        return _answer(request, HTTPStatus(error.status_code), _said(request, error), headers=headers)

    @app.exception_handler(StoreUnavailable)
    @app.exception_handler(ObjectStoreUnavailable)
    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    @app.exception_handler(PoolTimeout)
    @app.exception_handler(DatasetReplaced)
    def _unavailable(request: Request, error: Exception) -> JSONResponse:
        reason = error.orig if isinstance(error, DBAPIError) else error
        log.warning("%s %s: %s", request.method, request.url.path, reason)
        detail = "a store does not answer; try again in a moment (GET /ready says which)"
        return _answer(request, HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "2"})

    @app.exception_handler(IntegrityError)
    def _conflict(request: Request, error: IntegrityError) -> JSONResponse:
        log.info("%s %s: %s", request.method, request.url.path, error.orig)
        return _answer(request, HTTPStatus.CONFLICT, "somebody else changed the same thing at the same time; try again")

    @app.exception_handler(Exception)
    def _unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        detail = "the platform failed on this request; its log has the reason under the request id"
        headers = {"X-Request-ID": request.state.request_id}  # it is answered outside of the gateway
        return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail, headers=headers)


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


def _said(request: Request, error: HTTPException) -> str:
    """Its detail; of what the framework raises for a request that no route takes, more than its name."""
    path = request.url.path
    missed: dict[int, str] = {
        HTTPStatus.NOT_FOUND: f"nothing is at {path}; /docs shows what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} does not answer {request.method}; Allow says what it does",
    }
    return missed.get(error.status_code, str(error.detail))


def _allowed(routes: Sequence[APIRoute], request: Request) -> str:
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    found = [route for route in routes if route.path_regex.match(path)]
    exact = [route for route in found if route.path == path]
    return ", ".join(sorted({method for route in exact or found for method in route.methods or ()}))


def _field_error(error: dict[str, Any]) -> FieldError:
    if error["type"] == "json_invalid":
        return FieldError(field="body", message=f"is no JSON: {error['ctx']['error']} at character {error['loc'][-1]}")
    return FieldError(field=_field(error["loc"]), message=_message(error))


def _field(location: tuple[int | str, ...]) -> str:
    """`("body", "device_ids", 0)` as `device_ids.0`; the whole body as `body`."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])


def _message(error: dict[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")
