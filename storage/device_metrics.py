"""The names of the metrics that each device has sent, which are bounded, and what was dropped beyond the bound."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import Field, Session, SQLModel, Text, col, select

from storage.database import Timestamp
from storage.devices import NAMED_METRICS
from storage.times import utc_now

# As many names of dropped metrics are kept, to show which they are.
MAX_DROPPED_NAMES = 10


class DeviceMetrics(SQLModel, table=True):
    """A device's metrics, and the values that were dropped because it had too many."""

    __tablename__ = "device_metrics"

    device_id: str = Field(primary_key=True, max_length=50)
    metrics: list[str] = Field(sa_type=ARRAY(Text))
    dropped_values: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    dropped_names: list[str] = Field(
        default_factory=list, sa_type=ARRAY(Text), sa_column_kwargs={"server_default": "{}"}
    )
    last_dropped_at: datetime | None = Timestamp(default=None)


def metric_names(session: Session, device_ids: Collection[str]) -> set[str]:
    """The metrics that any of the devices has sent since the platform counts them."""
    rows = session.exec(select(DeviceMetrics.metrics).where(col(DeviceMetrics.device_id).in_(device_ids)))
    return {name for names in rows for name in names}


def add_metrics(session: Session, new: Mapping[str, Iterable[str]], limit: int) -> dict[str, set[str]]:
    """Add names to devices, up to the limit; several ingesters agree on them. The four named metrics are always added.

    Returns:
        All metrics that the devices have now.

    """
    wanted = {device_id: _within(names, limit) for device_id, names in sorted(new.items())}
    rows = [{"device_id": device_id, "metrics": names} for device_id, names in wanted.items()]
    session.execute(insert(DeviceMetrics).on_conflict_do_nothing(), rows)
    known = select(DeviceMetrics).where(col(DeviceMetrics.device_id).in_(wanted)).order_by(DeviceMetrics.device_id)
    for row in session.exec(known.with_for_update()):
        merged = _within([*row.metrics, *wanted[row.device_id]], max(limit, len(row.metrics)))
        if len(merged) > len(row.metrics):
            row.metrics = merged
        wanted[row.device_id] = row.metrics
    session.flush()
    return {device_id: set(names) for device_id, names in wanted.items()}


def add_dropped(session: Session, dropped: Mapping[str, Mapping[str, int]]) -> None:
    """Count dropped values, by device and name of the metric."""
    known = select(DeviceMetrics).where(col(DeviceMetrics.device_id).in_(dropped)).order_by(DeviceMetrics.device_id)
    for row in session.exec(known.with_for_update()):
        counts = dropped[row.device_id]
        row.dropped_values += sum(counts.values())
        row.dropped_names = list(dict.fromkeys([*row.dropped_names, *counts]))[:MAX_DROPPED_NAMES]
        row.last_dropped_at = utc_now()
    session.flush()


def _within(names: Iterable[str], limit: int) -> list[str]:
    """The first names up to the limit, and the four named metrics in any case."""
    distinct = list(dict.fromkeys(names))
    return distinct[:limit] + [name for name in distinct[limit:] if name in NAMED_METRICS]
