"""What a route asks for by its type: a session, the stores, the settings, checked parameters."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import Depends, Path, Request
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, PlainSerializer
from pydantic.json_schema import SkipJsonSchema
from sqlmodel import Session

from assets.datasets.reader import TelemetryReader
from ingest.notify.outbox import Outbox
from serving.auth.principal import principal_of
from serving.auth.tenancy import RequestSession
from serving.http.errors import NotFound
from serving.jobs.dagster import Dagster
from serving.settings import ApiSettings
from storage.access import Principal
from storage.devices import IDENTIFIER, MAX_IDENTIFIER, Device
from storage.objects import LocalObjects, S3Objects
from storage.settings import Settings
from storage.times import rfc3339


async def _session(request: Request) -> AsyncIterator[Session]:
    state, is_read = request.app.state, request.method == "GET"
    route = getattr(request.scope.get("route"), "path", request.url.path)
    session = RequestSession(
        state.reading if is_read else state.engine,
        principal_of(request), f"{request.method} {route}", request.state.request_id,
    )  # fmt: skip
    try:
        yield session
    finally:
        if is_read:
            session.close()  # without a transaction there is nothing to tell the server
        else:  # it may wait for the server, and needs a thread though all others wait for a connection
            await anyio.to_thread.run_sync(session.close, limiter=anyio.CapacityLimiter(1))


# Without a wait these need no thread of their own.
async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _api_settings(request: Request) -> ApiSettings:
    settings: ApiSettings = request.app.state.api_settings
    return settings


async def _outbox(request: Request) -> Outbox:
    outbox: Outbox = request.app.state.outbox
    return outbox


async def _objects(request: Request) -> LocalObjects | S3Objects:
    store: LocalObjects | S3Objects = request.app.state.objects
    return store


async def _dagster(request: Request) -> Dagster:
    client: Dagster = request.app.state.dagster
    return client


async def _principal(request: Request) -> Principal:
    return principal_of(request)


# `function`: the connection goes back before the answer is sent, however slowly a client takes it.
DatabaseSession = Annotated[Session, Depends(_session, scope="function")]
PlatformSettings = Annotated[Settings, Depends(_settings)]
LimitSettings = Annotated[ApiSettings, Depends(_api_settings)]
NotificationOutbox = Annotated[Outbox, Depends(_outbox)]
Objects = Annotated[LocalObjects | S3Objects, Depends(_objects)]
DagsterClient = Annotated[Dagster, Depends(_dagster)]
CurrentPrincipal = Annotated[Principal, Depends(_principal)]


async def _timeline(request: Request, session: DatabaseSession, objects: Objects) -> AsyncIterator[TelemetryReader]:
    tenant_id = principal_of(request).tenant_id

    def permit(device_id: str) -> None:
        if tenant_id is not None and session.get(Device, device_id) is None:
            raise NotFound(f"there is no device {device_id}")

    state = request.app.state
    yield TelemetryReader(session, state.telemetry, objects, permit=permit, cache=state.columns)


# More at once only take turns at the interpreter, which makes each cost twice as much. Who waits needs no thread, and a
# store that is silent does not take them all.
Readings = Annotated[TelemetryReader, Depends(_timeline, scope="function", max_concurrency=4)]


def _keepable(text: str) -> str:
    """PostgreSQL keeps no NUL, and UTF-8 has no lone surrogates."""
    if "\0" in text:
        raise ValueError("contains the character NUL, which cannot be kept")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains half of a surrogate pair, which is no character") from None
    return text


def _written(moment: Any) -> Any:
    """A number or a bare date would be taken as well, and mean what nobody said."""
    if isinstance(moment, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", moment):
        raise ValueError("is no timestamp; write it as 2026-02-12T10:00:00Z or with +01:00")
    if not isinstance(moment, str | datetime):
        raise ValueError("is no text; write it as 2026-02-12T10:00:00Z or with +01:00")  # noqa: TRY004 - a field's wrong value
    return moment


def _is_day(day: Any) -> Any:
    """A number would be taken as well, as seconds since 1970."""
    if isinstance(day, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", day):
        return day
    raise ValueError("is no day; write it as 2026-02-12")


def _is_number(value: Any) -> Any:
    """A text or a truth value would be turned into one."""
    if isinstance(value, bool | str):
        raise ValueError("is no number; true, false and numbers in quotes are none")  # noqa: TRY004 - a field's wrong value
    return value


def _not_null(value: Any) -> Any:
    if value is None:
        raise ValueError("cannot be empty; leave it out to keep it")
    return value


def _in_our_time(moment: datetime) -> datetime:
    if not 1970 <= moment.year <= 2200:
        raise ValueError("lies outside of the years 1970 to 2200")
    return moment.astimezone(UTC)


T = TypeVar("T")
# A field of an update that may be left out, and is not emptied by null.
Kept = Annotated[T | SkipJsonSchema[None], BeforeValidator(_not_null)]
Text = Annotated[str, AfterValidator(_keepable)]
# Of a body's whole numbers (15.0 is one); those of a query are texts. It stands behind their bounds, which else miss in
# the description.
A_NUMBER = BeforeValidator(_is_number)
Day = Annotated[date, BeforeValidator(_is_day)]
DeviceId = Annotated[str, Field(pattern=IDENTIFIER, max_length=MAX_IDENTIFIER, examples=["D1"])]
DevicePath = Annotated[str, Path(pattern=IDENTIFIER, max_length=MAX_IDENTIFIER, examples=["D1"])]
JobPath = Annotated[str, Path(pattern=r"^(job|export|report)-[a-z0-9]{6,32}$", examples=["job-0123456789ab"])]
Moment = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
Instant = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_our_time)]
