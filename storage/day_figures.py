"""Day files and their figures in the catalogue: which are current, statistics of hours, what is made again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Text, and_, bindparam, func, literal_column, text, type_coerce, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from storage.catalogue import FIGURES_OUTDATED, Dataset
from storage.dirty_days import DirtyDay
from storage.telemetry import MetricStatistics, Statistics

# Every reading has a timestamp, so its count in `hourly` is the number of readings.
READINGS = "timestamp"
_CURRENT = (col(Dataset.superseded_at).is_(None), col(Dataset.kind) == "day")
# Which transaction wrote the row, and where it stands: PostgreSQL keeps both beside each row.
_VERSION = type_coerce(literal_column("datasets.xmin::text || datasets.ctid::text"), Text)


@dataclass(frozen=True)
class DayFile:
    """The file of a day, and what happened since it was made.

    `changed_from`: readings from this moment on may have come or changed since. `is_expired`: the telemetry store may
    have only late readings of the day. `version` is another one after every change of the row.
    """

    dataset: Dataset
    version: str
    changed_from: datetime | None
    is_expired: bool


def _query() -> Any:
    changed_from = func.least(col(DirtyDay.dirty_from), col(DirtyDay.claimed_from))
    is_same_day = and_(col(DirtyDay.device_id) == col(Dataset.device_id), col(DirtyDay.day) == col(Dataset.start_date))
    figures = (Dataset.metrics, Dataset.energy, Dataset.hourly, Dataset.checks)
    return (
        select(Dataset, _VERSION, changed_from, col(DirtyDay.expired_at).is_not(None))
        .join(DirtyDay, is_same_day, isouter=True)
        .where(
            *_CURRENT,
            col(Dataset.device_id) == bindparam("device_id"),
            col(Dataset.start_date).between(bindparam("start"), bindparam("end")),
        )
        .order_by(col(Dataset.start_date))
        .options(*(defer(col(figure)) for figure in figures))  # type: ignore[arg-type] # columns are mapped
    )


# Built once, since every read of telemetry asks this.
_OF_DEVICE = _query()


def day_files(session: Session, device_id: str, start: date, end: date) -> list[DayFile]:
    """A device's day files from start to end, both inclusive, in order; their figures and checks load on access."""
    found = session.exec(_OF_DEVICE, params={"device_id": device_id, "start": start, "end": end})
    return [DayFile(*row) for row in found]


def load_figures(session: Session, ids: Sequence[int]) -> dict[int, str]:
    """Read these rows anew, with `metrics` and `energy`; returns the version that each one has now."""
    query = (
        select(Dataset, _VERSION)
        .where(col(Dataset.id).in_(ids))
        .options(defer(col(Dataset.hourly)), defer(col(Dataset.checks)))  # type: ignore[arg-type] # columns are mapped
        .execution_options(populate_existing=True)
    )
    return {dataset.id: version for dataset, version in session.exec(query) if dataset.id is not None}


def statistics_of_hours(hourly: Mapping[str, Any] | None, first: int, end: int) -> Statistics | None:
    """Statistics from the hour `first` of the UTC day up to `end` (0 to 24); None if an older version made `hourly`."""
    if hourly is None or READINGS not in hourly:
        return None
    metrics = {}
    for name, hours in hourly.items():
        if name == READINGS or not any(counts := hours["count"][first:end]):
            continue
        low, high = ([value for value in hours[part][first:end] if value is not None] for part in ("min", "max"))
        metrics[name] = MetricStatistics(sum(counts), min(low), max(high), sum(hours["sum"][first:end]))
    return Statistics(sum(hourly[READINGS]["count"][first:end]), metrics)


def count_outdated(session: Session) -> int:
    """How many day files have figures of an older version, or energy by metadata that have changed."""
    found = select(func.count()).select_from(Dataset).where(*_CURRENT, text(FIGURES_OUTDATED))
    return session.exec(found).one()


def outdated_files(session: Session, *, after: int, limit: int) -> list[Dataset]:
    """Day files with such figures, by id from `after` on."""
    found = select(Dataset).where(*_CURRENT, text(FIGURES_OUTDATED), col(Dataset.id) > after)
    return list(session.exec(found.order_by(col(Dataset.id)).limit(limit)))


def replace_figures(
    session: Session, dataset: Dataset, *, energy: dict[str, Any], hourly: dict[str, Any] | None
) -> None:
    """Enter figures that were made again from a file, unless the file was replaced meanwhile. The caller commits."""
    session.exec(
        update(Dataset)
        .where(col(Dataset.id) == dataset.id, col(Dataset.sha256) == dataset.sha256)
        .values(energy=energy, hourly=hourly)
    )


def expire_energy(session: Session, device_id: str) -> None:
    """Note that a device's energy rests on metadata that have changed: its days are made again. The caller commits."""
    outdated = col(Dataset.energy).op("||")(type_coerce({"version": 0}, JSONB))
    days = update(Dataset).where(*_CURRENT, col(Dataset.device_id) == device_id)
    session.exec(days.where(col(Dataset.energy).is_not(None)).values(energy=outdated))


def hours_of_metric(session: Session, ids: Sequence[int], metric: str) -> dict[int, Mapping[str, Any]]:
    """The part of `hourly` about one metric, by the row's id; days without it are left out."""
    of_metric = col(Dataset.hourly)[metric]
    query = select(col(Dataset.id), of_metric).where(col(Dataset.id).in_(ids), of_metric.is_not(None))
    return {row_id: hours for row_id, hours in session.exec(query) if row_id is not None and hours}
