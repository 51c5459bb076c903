"""Health and readiness: whether the process lives, and whether the parts that it needs answer."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from importlib.metadata import version
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from serving.auth.principal import CurrentPrincipal, needs, public
from serving.http.errors import Refused, problems
from serving.http.metrics import measurements

router = APIRouter(tags=["health"])

TIMEOUT_SECONDS = 3.0


class Health(BaseModel):
    status: Literal["healthy"] = "healthy"
    version: str


class Ready(BaseModel):
    """Whether all parts of the platform answer; `checks` has the state of each."""

    ready: bool
    checks: dict[str, str]


class DataHealth(Health):
    """The version, and the state of each part of the platform."""

    checks: dict[str, str]


class ServiceInfo(BaseModel):
    service: str
    version: str
    docs: str
    openapi: str


class Readiness:
    """Checks all parts at once, and waits at most `TIMEOUT_SECONDS` for them.

    A part is checked again only when its last check has ended, so that checks of a part that hangs do not pile up.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Any]]) -> None:
        """Take a check for each part: a function that raises if the part does not answer."""
        self._checks = checks
        self._running: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def states(self) -> dict[str, str]:
        """The state of each part: `connected`, or `not connected` and why."""
        with self._lock:
            for name, check in self._checks.items():
                if name not in self._running or self._running[name].done():
                    self._running[name] = _in_a_thread(check)
            running = dict(self._running)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        return {name: _state(future, deadline) for name, future in running.items()}


@router.get("/")
@public
def service_info() -> ServiceInfo:
    """The service and its version."""
    return ServiceInfo(
        service="energy-platform", version=version("energy-platform"), docs="/docs", openapi="/openapi.json"
    )


@router.get("/health")
@router.get("/health/live")
@public
def health() -> Health:
    """Whether the process lives."""
    return Health(version=version("energy-platform"))


@router.get("/api/v1/data/health")
@public
def data_health(request: Request) -> DataHealth:
    """Whether the process lives, with the state of each part."""
    return DataHealth(version=version("energy-platform"), checks=_states(request))


@router.get("/ready", responses={503: {"model": Ready}})
@router.get("/health/ready", responses={503: {"model": Ready}})
@public
def readiness(request: Request, response: Response) -> Ready:
    """Whether all parts of the platform answer now; 503 if any does not."""
    checks = _states(request)
    ready = all(state == "connected" for state in checks.values())
    response.status_code = 200 if ready else 503
    return Ready(ready=ready, checks=checks)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **problems(Refused)})
@needs("admin")
def metrics(request: Request, principal: CurrentPrincipal) -> Response:
    """Request counts and durations by route and status, and the live stream, since the process started."""
    if principal.tenant_id is not None:
        raise Refused("the metrics are those of all tenants; this needs an admin's key without a tenant")
    return measurements(request.app)


def _states(request: Request) -> dict[str, str]:
    readiness: Readiness = request.app.state.readiness
    return readiness.states()


def _in_a_thread(check: Callable[[], Any]) -> Future[None]:
    future: Future[None] = Future()

    def run() -> None:
        try:
            check()
        except Exception as error:  # noqa: BLE001 - any error is the part's state
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, daemon=True, name="readiness").start()
    return future


def _state(check: Future[None], deadline: float) -> str:
    try:
        error = check.exception(max(0.0, deadline - time.monotonic()))
    except TimeoutError as late:
        error = late
    return "connected" if error is None else f"not connected: {_reason(error)}"


def _reason(error: BaseException) -> str:
    if text := str(error).strip():
        return text.splitlines()[0]
    # Checks may have the same timeout as the wait for them; either may end first.
    return f"no answer within {TIMEOUT_SECONDS:.0f} s" if isinstance(error, TimeoutError) else type(error).__name__
