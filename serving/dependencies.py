"""What a route asks for by its type: a session, the stores, the settings, checked parameters."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, PlainSerializer
from sqlmodel import Session

from serving.dagster import Dagster
from storage.devices import IDENTIFIER, MAX_IDENTIFIER
from storage.objects import LocalObjects, S3Objects
from storage.settings import Settings
from storage.telemetry import TelemetryStore


def _session(request: Request) -> Iterator[Session]:
    with Session(request.app.state.engine, expire_on_commit=False) as session:
        yield session


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _telemetry(request: Request) -> TelemetryStore:
    store: TelemetryStore = request.app.state.telemetry
    return store


def _objects(request: Request) -> LocalObjects | S3Objects:
    store: LocalObjects | S3Objects = request.app.state.objects
    return store


def _dagster(request: Request) -> Dagster:
    client: Dagster = request.app.state.dagster
    return client


DatabaseSession = Annotated[Session, Depends(_session)]
PlatformSettings = Annotated[Settings, Depends(_settings)]
Telemetry = Annotated[TelemetryStore, Depends(_telemetry)]
Objects = Annotated[LocalObjects | S3Objects, Depends(_objects)]
DagsterClient = Annotated[Dagster, Depends(_dagster)]


def _keepable(text: str) -> str:
    """PostgreSQL keeps no NUL, and UTF-8 has no lone surrogates."""
    if "\0" in text:
        raise ValueError("contains the character NUL, which cannot be kept")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains half of a surrogate pair, which is no character") from None
    return text


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


Text = Annotated[str, AfterValidator(_keepable)]
DeviceId = Annotated[str, Field(pattern=IDENTIFIER, max_length=MAX_IDENTIFIER, examples=["D1"])]
DevicePath = Annotated[str, Path(pattern=IDENTIFIER, max_length=MAX_IDENTIFIER, examples=["D1"])]
JobPath = Annotated[str, Path(pattern=r"^(job|export|report)-[a-z0-9]{6,32}$", examples=["job-0123456789ab"])]
Moment = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]
Past = AwareDatetime


class Page(BaseModel):
    """Which part of a list: pages count from 1."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 20

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.page_size


PageQuery = Annotated[Page, Query()]
