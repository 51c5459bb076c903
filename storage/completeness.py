"""How complete each device's days are: what the catalogue and the dirty days know of them, without reading files."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import sqlalchemy
from sqlmodel import Session, col, select

from storage.catalogue import Dataset
from storage.dirty_days import DirtyDay, waits_for_export


@dataclass(frozen=True)
class KnownDay:
    """A device's UTC day with telemetry.

    `rows` and `checks` are those of its file, None without one; `checks` is also None while the day is open. `waiting`:
    telemetry came that is not in the file yet.
    """

    rows: int | None
    checks: Mapping[str, Any] | None
    waiting: bool = False


def known_days(
    session: Session, device_ids: Collection[str], start: date, end: date
) -> dict[tuple[str, date], KnownDay]:
    """The days with telemetry of some devices from start to end, both included."""
    columns: Any = (Dataset.device_id, Dataset.start_date, Dataset.rows, Dataset.checks)
    files = sqlalchemy.select(*columns).where(
        col(Dataset.device_id).in_(device_ids),
        col(Dataset.start_date).between(start, end),
        col(Dataset.superseded_at).is_(None),
        col(Dataset.kind) == "day",
    )
    days = {(device_id, day): KnownDay(rows, checks) for device_id, day, rows, checks in session.execute(files)}
    marks = select(col(DirtyDay.device_id), col(DirtyDay.day)).where(
        col(DirtyDay.device_id).in_(device_ids), col(DirtyDay.day).between(start, end), waits_for_export()
    )
    for device_id, day in session.exec(marks):
        key = device_id, day
        days[key] = replace(days.get(key, KnownDay(None, None)), waiting=True)
    return days
