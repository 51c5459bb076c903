"""Errors as clients get them: problem details (RFC 9457) with a field `success: false`.

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
from collections.abc import Iterable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import APIRouter, FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException, WebSocketException
from starlette.websockets import WebSocketState

from storage.validation import field_path, sentence

log = logging.getLogger(__name__)

# Who sends thousands of wrong fields gets the first ones, of which the detail names a few.
MAX_ERRORS, MAX_NAMED = 20, 3
MAX_FIELD = 200


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
    """An error to answer with; `detail` says what is wrong, why, and what to do."""

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
        super().__init__(f"the range lies outside the file, which has {size} bytes")
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
    """The `responses` of a route that answers with these errors."""
    return {
        kind.status.value: {
            "model": ProblemDetails,
            "description": kind.status.phrase,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for kind in kinds
    }


def field_errors(errors: Sequence[Any]) -> list[FieldError]:
    """The first fields that a `ValidationError` of Pydantic names."""
    return [FieldError(field=_field(e["loc"]) or "body", message=sentence(e)) for e in errors[:MAX_ERRORS]]


def named_errors(found: Sequence[Any]) -> tuple[str, list[FieldError]]:
    """The detail and the fields of the answer to a wrong request; what is beyond the first errors is counted only."""
    errors = [_field_error(e) for e in found[:MAX_ERRORS]]
    detail = "; ".join(f"{e.field}: {e.message}" for e in errors[:MAX_NAMED])
    more = len(found) - MAX_NAMED
    return (f"{detail}; and {more} more" if more > 0 else detail), errors


def answer_with_problems(
    app: FastAPI, routers: Sequence[APIRouter], unavailable: Iterable[type[Exception]] = ()
) -> None:
    """Answer every error of the app with problem details; those in `unavailable` with 503."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]

    @app.exception_handler(Problem)
    def _problem(request: Request, error: Problem) -> Response:
        return _answer(request, error.status, error.detail, error.errors, error.headers)

    @app.exception_handler(WebSocketException)
    async def _closed(websocket: WebSocket, error: WebSocketException) -> None:
        # Browsers see the code and the reason (at most 123 bytes) of accepted connections only.
        reason = error.reason.encode()[:123].decode(errors="ignore")
        with suppress(WebSocketDisconnect, RuntimeError):  # the client left at this moment
            if websocket.application_state is WebSocketState.CONNECTING:
                await websocket.accept()
            await websocket.close(error.code, reason)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> Response:
        return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, *named_errors(error.errors()))

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = _allowed(routes, request)
        return _answer(request, HTTPStatus(error.status_code), _detail(request, error), headers=headers)

    for kind in (OperationalError, InterfaceError, PoolTimeout, *unavailable):
        app.add_exception_handler(kind, _unavailable)

    @app.exception_handler(IntegrityError)
    def _conflict(request: Request, error: IntegrityError) -> Response:
        log.info("%s %s: %s", request.method, request.url.path, error.orig)
        return _answer(request, HTTPStatus.CONFLICT, "somebody else changed the same data at the same time; try again")

    @app.exception_handler(Exception)
    def _unexpected(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        detail = "the platform failed to process this request; its log has the reason under the request id"
        headers = {"X-Request-ID": request.state.request_id}  # this answer does not pass the gateway
        return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail, headers=headers)


def _unavailable(request: Request, error: Exception) -> Response:
    reason = error.orig if isinstance(error, DBAPIError) else error
    log.warning("%s %s: %s", request.method, request.url.path, reason)
    detail = "a store does not answer; try again in a moment (GET /ready says which store)"
    return _answer(request, HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "2"})


def _answer(
    request: Request,
    status: HTTPStatus,
    detail: str,
    errors: list[FieldError] | None = None,
    headers: Any = None,
) -> Response:
    request_id = getattr(request.state, "request_id", None)
    body = ProblemDetails(
        title=status.phrase, status=status.value, detail=detail, errors=errors or [], request_id=request_id
    )
    if show := _page_of(request):
        response: Response = show(request, body, headers or {})
        return response
    return JSONResponse(body.model_dump(), status.value, headers, media_type="application/problem+json")


def _page_of(request: Request) -> Any:
    """What shows an error to this request otherwise than as JSON: its route, or the app to a browser that is lost."""
    route = request.scope.get("route")
    is_lost = route is None and request.method == "GET" and "text/html" in request.headers.get("accept", "")
    return getattr(request.app.state if is_lost else route, "show_problem", None)


def _detail(request: Request, error: HTTPException) -> str:
    """The error's detail; a better one than the framework's for a request that has no route."""
    path = request.url.path
    details: dict[int, str] = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {path}; /docs lists the paths",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} does not support {request.method}; see the header Allow",
    }
    return details.get(error.status_code, str(error.detail))


def _allowed(routes: Sequence[APIRoute], request: Request) -> str:
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    matching = [route for route in routes if route.path_regex.match(path)]
    exact = [route for route in matching if route.path == path]
    return ", ".join(sorted({method for route in exact or matching for method in route.methods or ()}))


def _field_error(error: dict[str, Any]) -> FieldError:
    if error["type"] == "json_invalid":
        return FieldError(field="body", message=f"is not JSON; look at its character {error['loc'][-1]}")
    # The first part says whether it stands in the body, the query, the path or a header.
    where, *location = error["loc"]
    return FieldError(field=_field(tuple(location)) or str(where), message=sentence(error))


def _field(location: tuple[int | str, ...]) -> str:
    path = field_path(location)
    return path if len(path) <= MAX_FIELD else f"{path[: MAX_FIELD - 1]}…"
