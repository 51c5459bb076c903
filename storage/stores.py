"""The platform's stores, opened by the settings for as long as a piece of work needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlmodel import Session

from storage.database import open_engine
from storage.objects import ObjectStore, open_object_store
from storage.settings import Settings
from storage.telemetry import TelemetryStore


@dataclass(frozen=True)
class Stores:
    """One unit of work's session and stores.

    `zone` is the site's, for devices that name none. `fetch_rows` is about how many readings are fetched at a time.
    `run_id` names the Dagster run, if there is one, in what the work records.
    """

    session: Session
    telemetry: TelemetryStore
    objects: ObjectStore
    zone: ZoneInfo
    run_id: str | None = None
    fetch_rows: int = 1000


@contextmanager
def open_session(settings: Settings) -> Iterator[Session]:
    """A session of its own engine; the caller commits."""
    engine = open_engine(settings, pool_size=2)
    try:
        with Session(engine, expire_on_commit=False) as session:
            yield session
    finally:
        engine.dispose()


@contextmanager
def open_stores(settings: Settings, run_id: str | None = None) -> Iterator[Stores]:
    """The stores that the settings name, closed when the block ends."""
    telemetry = open_telemetry_store(settings)
    try:
        with open_session(settings) as session:
            yield Stores(
                session, telemetry, open_object_store(settings), settings.zone, run_id, settings.export_batch_size
            )
    finally:
        telemetry.close()


def open_telemetry_store(settings: Settings) -> TelemetryStore:
    """The telemetry store that the settings name; its server is not contacted yet."""
    if settings.influxdb_url:
        from storage.telemetry.influx import InfluxTelemetry  # noqa: PLC0415 - its client costs 60 ms and 20 MB

        return InfluxTelemetry(settings)
    from storage.telemetry.postgres import PostgresTelemetry  # noqa: PLC0415 - needed only where it is the store

    return PostgresTelemetry(settings)
