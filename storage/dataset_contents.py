"""What a device's datasets have, by the catalogue: their metrics and their times."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlmodel import Session, col, func, select

from storage.catalogue import Dataset, current_days, without_figures


def newest_day(session: Session, device_id: str, start: date, end: date) -> Dataset | None:
    """The newest of a device's day files from start to end, both inclusive; `hourly` and `energy` load on access."""
    query = select(Dataset).where(*_days(device_id, start, end)).order_by(col(Dataset.start_date).desc()).limit(1)
    return session.exec(query.options(*without_figures())).first()


@dataclass(frozen=True)
class Contents:
    """What datasets have: metrics, rows, and the first and the last reading, None if an older release made them."""

    metrics: frozenset[str]
    rows: int
    first_at: datetime | None
    last_at: datetime | None


def contents(session: Session, device_id: str, start: date, end: date, *, key: str | None = None) -> Contents:
    """What a device's day files from start to end, both inclusive, have; or one dataset, if a key is given."""
    which = _days(device_id, start, end)
    if key is not None:
        which = (Dataset.device_id == device_id, col(Dataset.superseded_at).is_(None), Dataset.key == key)
    names = session.exec(select(func.jsonb_object_keys(Dataset.metrics)).where(*which).distinct())
    figures = select(func.sum(Dataset.rows), func.min(Dataset.first_at), func.max(Dataset.last_at))
    rows, first, last = session.exec(figures.where(*which)).one()
    return Contents(frozenset(names), rows or 0, first, last)


def max_rows_before(session: Session, device_id: str, start: date, moment: datetime) -> int:
    """At most how many rows a device's day files from start on have before a moment, which is known to the hour."""
    day = moment.date()
    whole = select(func.sum(Dataset.rows)).where(*_days(device_id, start, day - timedelta(days=1)))
    rows: int = session.exec(whole).one() or 0
    counts = Dataset.hourly["timestamp"]["count"]  # type: ignore[index] # it is a column
    for all_of_day, by_hour in session.exec(select(Dataset.rows, counts).where(*_days(device_id, day, day))):
        rows += sum(by_hour[: moment.hour + 1]) if by_hour else all_of_day
    return rows


def _days(device_id: str, start: date, end: date) -> tuple[Any, ...]:
    within = (col(Dataset.start_date) >= start, col(Dataset.end_date) <= end)
    return (*current_days(), Dataset.device_id == device_id, *within)
