"""Health and readiness, as the six services answered them."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import Engine, text

from storage.settings import Settings

router = APIRouter(tags=["health"])

TIMEOUT = 3.0


class Health(BaseModel):
    status: Literal["healthy"] = "healthy"
    version: str


class Readiness(BaseModel):
    """Whether every part that the platform needs answers; `checks` has the state of each."""

    ready: bool
    checks: dict[str, str]


class ServiceInfo(BaseModel):
    service: str
    version: str
    docs: str
    openapi: str


@router.get("/")
def service_info() -> ServiceInfo:
    """What answers here."""
    return ServiceInfo(
        service="energy-platform", version=version("energy-platform"), docs="/docs", openapi="/openapi.json"
    )


@router.get("/health")
@router.get("/health/live")
@router.get("/api/v1/data/health")
def health() -> Health:
    """That the process lives."""
    return Health(version=version("energy-platform"))


@router.get("/ready", responses={503: {"model": Readiness}})
@router.get("/health/ready", responses={503: {"model": Readiness}})
def readiness(request: Request, response: Response) -> Readiness:
    """Whether the parts answer, asked now and all at once."""
    state = request.app.state
    settings: Settings = state.settings
    questions: dict[str, Callable[[], Any]] = {
        "database": lambda: _ask_database(state.engine),
        "telemetry_store": state.telemetry.check,
        "object_store": state.objects.check,
        "broker": lambda: _ask_broker(settings),
        "dagster": state.dagster.check,
    }
    with ThreadPoolExecutor(len(questions)) as pool:
        asked = {name: pool.submit(question) for name, question in questions.items()}
    failed = {name: future.exception() for name, future in asked.items()}
    checks = {name: "connected" if error is None else _reason(error) for name, error in failed.items()}
    ready = not any(failed.values())
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, checks=checks)


def _ask_database(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def _ask_broker(settings: Settings) -> None:
    socket.create_connection((settings.broker_host, settings.mqtt_broker_port), TIMEOUT).close()


def _reason(error: BaseException) -> str:
    return f"not connected: {str(error).strip().splitlines()[0] if str(error) else type(error).__name__}"
