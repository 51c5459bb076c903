"""A plant for tests: readings of a device around one day, stored as ingestion stores them."""

from datetime import UTC, date, datetime

from sqlalchemy import text

from storage import dirty_days
from storage.stores import Stores
from storage.telemetry import Reading
from storage.times import MINUTE, microseconds

DAY = date(2026, 2, 12)
START = microseconds(datetime(2026, 2, 12, tzinfo=UTC))
DAY_MINUTES = 1440


def reading(minute: float, device_id: str = "D1", /, **metrics: float) -> Reading:
    """A reading so many minutes after the start of `DAY`; of power, where no metrics are given."""
    time = START + int(minute * MINUTE)
    return Reading(
        device_id=device_id,
        time=time,
        metrics={k: float(v) for k, v in metrics.items()} or {"power": 100.0 + minute},
        received_at=time + 1000,
        device_type="pump",
        location="Hall 1",
        enrichment_status="success",
    )


def store(stores: Stores, *readings: Reading) -> None:
    """Telemetry first, the ledger afterwards."""
    stores.telemetry.write(readings)
    dirty_days.mark_dirty(stores.session, ((r.device_id, r.time) for r in readings))
    stores.session.commit()


def telemetry_partitions(stores: Stores) -> list[str]:
    """The months, as `YYYY_MM`, that the telemetry table has partitions for."""
    names = stores.session.execute(
        text(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'device_telemetry'::regclass ORDER BY 1"
        )
    )
    return [str(name)[-7:] for name in names.scalars()]
