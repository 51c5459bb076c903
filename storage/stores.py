"""Opens the platform's stores for a unit of work, as the settings say."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from storage.database import open_engine
from storage.objects import ObjectStore, ObjectStoreUnavailable, open_object_store
from storage.settings import Settings
from storage.telemetry import StoreUnavailable, TelemetryStore

# A store is away: nothing else of the work can succeed either.
STORE_ERRORS = (ObjectStoreUnavailable, OperationalError, StoreUnavailable)


@dataclass(frozen=True)
class Stores:
    """The session and the stores of one unit of work.

    `zone` is the site's time zone, for devices without one of their own. `run_id` is the Dagster run that does the
    work, if there is one. `fetch_rows` is about how many readings to fetch at a time.
    """

    session: Session
    telemetry: TelemetryStore
    objects: ObjectStore
    zone: ZoneInfo
    run_id: str | None = None
    fetch_rows: int = 1000


@contextmanager
def open_session(settings: Settings) -> Iterator[Session]:
    """A session with its own engine. The caller commits."""
    engine = open_engine(settings, pool_size=2)
    try:
        with Session(engine, expire_on_commit=False) as session:
            yield session
    finally:
        engine.dispose()


@contextmanager
def open_stores(settings: Settings, run_id: str | None = None) -> Iterator[Stores]:
    """The stores that the settings name; they are closed when the block ends."""
    telemetry = open_telemetry_store(settings)
    try:
        with open_session(settings) as session:
            yield Stores(
                session, telemetry, open_object_store(settings), settings.zone, run_id, settings.export_batch_size
            )
    finally:
        telemetry.close()


def open_telemetry_store(settings: Settings) -> TelemetryStore:
    """The telemetry store that the settings name. It contacts its server on first use."""
    if settings.influxdb_url:
        from storage.telemetry.influx import InfluxTelemetry  # noqa: PLC0415 - its client takes 60 ms and 20 MB

        return InfluxTelemetry(settings)
    from storage.telemetry.postgres import PostgresTelemetry  # noqa: PLC0415 - its libraries are needed only if it is the store

    return PostgresTelemetry(settings)
