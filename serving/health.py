"""Health and readiness, as the six services answered them."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from importlib.metadata import version
from typing import Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import Engine, text

from ingest.mqtt import disconnect, new_client
from serving.auth.principal import public
from storage.settings import Settings

router = APIRouter(tags=["health"])

TIMEOUT = 3.0


class Health(BaseModel):
    status: Literal["healthy"] = "healthy"
    version: str


class Ready(BaseModel):
    """Whether every part that the platform needs answers; `checks` has the state of each."""

    ready: bool
    checks: dict[str, str]


class DataHealth(Health):
    """The data service's answer: its version, and whether its connections stand."""

    checks: dict[str, str]


class ServiceInfo(BaseModel):
    service: str
    version: str
    docs: str
    openapi: str


class Readiness:
    """Asks each part whether it answers, all at once, and waits for none longer than `TIMEOUT` seconds.

    A part that hangs is asked again only when the last question has ended, so that probes do not pile up.
    """

    def __init__(self, questions: Mapping[str, Callable[[], Any]]) -> None:
        self._questions = questions
        self._asked: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, state: Any) -> "Readiness":
        settings: Settings = state.settings
        return cls(
            {
                "database": lambda: _ask_database(state.engine),
                "telemetry_store": state.telemetry.check,
                "object_store": state.objects.check,
                "broker": lambda: _ask_broker(settings),
                "dagster": state.dagster.check,
            }
        )

    def checks(self) -> dict[str, str]:
        """The state of each part: `connected`, or why not."""
        with self._lock:
            for name, question in self._questions.items():
                if name not in self._asked or self._asked[name].done():
                    self._asked[name] = _in_a_thread(question)
            asked = dict(self._asked)
        deadline = time.monotonic() + TIMEOUT
        return {name: _state(future, deadline) for name, future in asked.items()}


@router.get("/")
@public
def service_info() -> ServiceInfo:
    """What answers here."""
    return ServiceInfo(
        service="energy-platform", version=version("energy-platform"), docs="/docs", openapi="/openapi.json"
    )


@router.get("/health")
@router.get("/health/live")
@public
def health() -> Health:
    """That the process lives."""
    return Health(version=version("energy-platform"))


@router.get("/api/v1/data/health")
@public
def data_health(request: Request) -> DataHealth:
    """That the process lives, and whether its connections stand."""
    return DataHealth(version=version("energy-platform"), checks=_checks(request))


@router.get("/ready", responses={503: {"model": Ready}})
@router.get("/health/ready", responses={503: {"model": Ready}})
@public
def readiness(request: Request, response: Response) -> Ready:
    """Whether the parts answer, asked now."""
    checks = _checks(request)
    ready = all(state == "connected" for state in checks.values())
    response.status_code = 200 if ready else 503
    return Ready(ready=ready, checks=checks)


def _checks(request: Request) -> dict[str, str]:
    principal: Readiness = request.app.state.readiness
    return principal.checks()


def _in_a_thread(question: Callable[[], Any]) -> Future[None]:
    answer: Future[None] = Future()

    def ask() -> None:
        try:
            question()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the part's state
            answer.set_exception(error)
        else:
            answer.set_result(None)

    threading.Thread(target=ask, daemon=True, name="readiness").start()
    return answer


def _state(asked: Future[None], deadline: float) -> str:
    try:
        error = asked.exception(max(0.0, deadline - time.monotonic()))
    except TimeoutError as late:
        error = late
    return "connected" if error is None else f"not connected: {_reason(error)}"


def _ask_database(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def _ask_broker(settings: Settings) -> None:
    """Log in: that something listens on the port does not say that it is a broker, or lets us in."""
    answer: Future[Any] = Future()
    client = new_client(settings, f"energy-ready-{uuid4().hex}")
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answer.set_result(reason)
    client.connect_timeout = TIMEOUT
    client.connect(settings.broker_host, settings.mqtt_broker_port)
    client.loop_start()
    try:
        reason = answer.result(TIMEOUT)
    finally:
        disconnect(client)
    if reason.is_failure:
        raise ConnectionError(f"the broker does not let us in: {reason}")


def _reason(error: BaseException) -> str:
    if said := str(error).strip():
        return said.splitlines()[0]
    # A question may have the same patience as who waits for it: it is chance which of the two ends first.
    return f"no answer within {TIMEOUT:.0f} s" if isinstance(error, TimeoutError) else type(error).__name__
