"""What routes get by type, beside the principal and the session: settings, stores, clients, telemetry."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from assets.datasets import TelemetryReader
from assets.energy import SiteSettings
from ingest.notify import NotifySettings, Outbox
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.http.errors import NotFound
from serving.http.slots import FairSlots
from serving.jobs.launcher import Launcher
from serving.settings import ApiSettings
from storage.devices import Device
from storage.objects import LocalObjects, S3Objects
from storage.settings import Settings


# Coroutines, since these need no thread.
async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _api_settings(request: Request) -> ApiSettings:
    settings: ApiSettings = request.app.state.api_settings
    return settings


async def _site_settings(request: Request) -> SiteSettings:
    settings: SiteSettings = request.app.state.site
    return settings


async def _outbox(request: Request) -> Outbox:
    outbox: Outbox = request.app.state.outbox
    return outbox


async def _notify_settings(request: Request) -> NotifySettings:
    settings: NotifySettings = request.app.state.notify
    return settings


async def _objects(request: Request) -> LocalObjects | S3Objects:
    objects: LocalObjects | S3Objects = request.app.state.objects
    return objects


async def _launcher(request: Request) -> Launcher:
    launcher: Launcher = request.app.state.launcher
    return launcher


PlatformSettings = Annotated[Settings, Depends(_settings)]
LimitSettings = Annotated[ApiSettings, Depends(_api_settings)]
WorkingSite = Annotated[SiteSettings, Depends(_site_settings)]
NotificationOutbox = Annotated[Outbox, Depends(_outbox)]
NotificationSettings = Annotated[NotifySettings, Depends(_notify_settings)]
Objects = Annotated[LocalObjects | S3Objects, Depends(_objects)]
JobLauncher = Annotated[Launcher, Depends(_launcher)]


async def _telemetry_reader(
    request: Request, session: DatabaseSession, objects: Objects, principal: CurrentPrincipal
) -> AsyncIterator[TelemetryReader]:
    def permit(device_id: str) -> None:
        if principal.tenant_id is not None and session.get(Device, device_id) is None:
            raise NotFound(f"there is no device {device_id}")

    state = request.app.state
    slots: FairSlots = state.read_slots
    async with slots.hold(principal.tenant_id):
        yield TelemetryReader(
            session, state.telemetry, objects, permit=permit, cache=state.columns, figures=state.figures
        )


Readings = Annotated[TelemetryReader, Depends(_telemetry_reader, scope="function")]
