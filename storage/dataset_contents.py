"""What a device's datasets have, by the catalogue: their metrics and their times."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlmodel import Session, col, func, select

from storage.catalogue import Dataset


@dataclass(frozen=True)
class Contents:
    """What datasets have: their metrics, and the first and the last reading, None if an older release made them."""

    metrics: frozenset[str]
    first_at: datetime | None
    last_at: datetime | None


def contents(session: Session, device_id: str, start: date, end: date, *, key: str | None = None) -> Contents:
    """What a device's day files from start to end, both inclusive, have; or one dataset, if a key is given."""
    which: tuple[Any, ...] = (Dataset.device_id == device_id, col(Dataset.superseded_at).is_(None))
    if key is not None:
        which += (Dataset.key == key,)
    else:
        which += (Dataset.kind == "day", col(Dataset.start_date).between(start, end))
    names = session.exec(select(func.jsonb_object_keys(Dataset.metrics)).where(*which).distinct())
    first, last = session.exec(select(func.min(Dataset.first_at), func.max(Dataset.last_at)).where(*which)).one()
    return Contents(frozenset(names), first, last)
