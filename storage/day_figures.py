"""Figures of day files in the catalogue: statistics of whole hours, and what is outdated and made again."""

from typing import Any

from sqlalchemy import func, text, type_coerce, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Session, col, select

from storage.catalogue import FIGURES_OUTDATED, Dataset
from storage.telemetry import MetricStatistics, Statistics

# Every reading has a timestamp, so its count in `hourly` is the number of readings.
READINGS = "timestamp"
_DAY_FILES = (col(Dataset.superseded_at).is_(None), col(Dataset.kind) == "day")


def statistics_of_hours(dataset: Dataset, first: int, end: int) -> Statistics | None:
    """Statistics from the hour `first` of the UTC day up to `end` (0 to 24); None if an older version made `hourly`."""
    hourly = dataset.hourly
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
    found = select(func.count()).select_from(Dataset).where(*_DAY_FILES, text(FIGURES_OUTDATED))
    return session.exec(found).one()


def outdated_files(session: Session, *, after: int, limit: int) -> list[Dataset]:
    """Day files with such figures, by id from `after` on."""
    found = select(Dataset).where(*_DAY_FILES, text(FIGURES_OUTDATED), col(Dataset.id) > after)
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
    days = update(Dataset).where(*_DAY_FILES, col(Dataset.device_id) == device_id)
    session.exec(days.where(col(Dataset.energy).is_not(None)).values(energy=outdated))
