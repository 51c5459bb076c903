"""Which datasets there are: a row for each file that was made, and what is known of it without reading it.

From a day's close on it only grows. What telemetry has touched since a file was made stands in `storage.dirty_days`.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Identity,
    Index,
    and_,
    exists,
    func,
    or_,
    text,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import defer
from sqlmodel import Field, Session, SQLModel, col, select, update

from storage.database import Timestamp
from storage.dirty_days import DirtyDay, waits_for_export
from storage.jobs import AnalyticsJob, ReportJob
from storage.times import utc_now

_JSON = JSONB(none_as_null=True)


class Dataset(SQLModel, table=True):
    """A Parquet file of one device over whole UTC days, both ends inclusive.

    `superseded_at` is when a newer one took its key, or when it was retired; `version_key` is where it is kept since
    then if a result was made from it.

    Of a day's file (hours and quarters are those of the UTC day):
    `first_at`, `last_at`: its first and last reading; null where an older version made it.
    `hourly`: `{metric: {"count": [24], "min": [24], "max": [24], "sum": [24]}}`, null without values.
    `energy`: `{"quarters": [96], "source", "first", "last", "gap", "rollover"}`, see
    `assets.energy.quarters.day_energy`.
    `checks`: `{kind: {"status", "value", "detail"}}`, see `assets.quality.checks`; null while the day is open.
    """

    __tablename__ = "datasets"
    __table_args__ = (
        Index("datasets_current", "key", unique=True, postgresql_where=text("superseded_at IS NULL")),
        Index("datasets_by_device", "device_id", "start_date"),
        Index("datasets_days", "start_date", postgresql_where=text("superseded_at IS NULL AND kind = 'day'")),
        Index(
            "datasets_unchecked",
            "start_date",
            postgresql_where=text("superseded_at IS NULL AND kind = 'day' AND checks IS NULL"),
        ),
    )

    id: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()], primary_key=True)
    key: str = Field(max_length=500)
    kind: str = Field(max_length=10)
    device_id: str = Field(max_length=50)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    start_date: date
    end_date: date
    first_at: datetime | None = Timestamp(default=None)
    last_at: datetime | None = Timestamp(default=None)
    rows: int = Field(sa_type=BigInteger)
    bytes: int = Field(sa_type=BigInteger)
    sha256: str = Field(max_length=64)
    metrics: dict[str, Any] = Field(sa_type=JSONB)
    hourly: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    energy: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    checks: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    run_id: str | None = Field(default=None, max_length=100)
    created_at: datetime = Timestamp(default_factory=utc_now)
    superseded_at: datetime | None = Timestamp(default=None)
    version_key: str | None = Field(default=None, max_length=500)

    @property
    def object_key(self) -> str:
        """Where the file is now."""
        return self.version_key or self.key


def exported_until(session: Session, day: date) -> date:
    """The day itself, or the earliest one before it of which something was not exported yet."""
    made = exists().where(
        col(Dataset.device_id) == DirtyDay.device_id,
        col(Dataset.kind) == "day",
        col(Dataset.start_date) == DirtyDay.day,
    )
    missing = select(func.min(DirtyDay.day)).where(or_(waits_for_export(), ~made), col(DirtyDay.day) < day)
    return session.exec(missing).one() or day


def current(session: Session, key: str) -> Dataset | None:
    """The dataset that stands under a key."""
    return session.exec(select(Dataset).where(Dataset.key == key, col(Dataset.superseded_at).is_(None))).first()


def datasets_of(
    session: Session,
    device_id: str,
    *,
    start: date | None = None,
    end: date | None = None,
    kind: str | None = None,
) -> list[Dataset]:
    """A device's current datasets that lie within the days, both inclusive, in time order."""
    found = select(Dataset).where(Dataset.device_id == device_id, col(Dataset.superseded_at).is_(None))
    if start is not None:
        found = found.where(col(Dataset.start_date) >= start)
    if end is not None:
        found = found.where(col(Dataset.end_date) <= end)
    if kind is not None:
        found = found.where(Dataset.kind == kind)
    return list(session.exec(found.order_by(col(Dataset.start_date), col(Dataset.end_date))))


@dataclass(frozen=True)
class DayFile:
    """The file of a day. `changed_from`: readings from then on may have come, or been replaced, since it was made.

    `is_expired`: the telemetry store may hold no more of the day than what came late.
    """

    dataset: Dataset
    changed_from: datetime | None
    is_expired: bool


def day_files(session: Session, device_id: str, start: date, end: date) -> list[DayFile]:
    """A device's files of days from start to end, both included, in order.

    What is known of their hours and their checks is read when asked for.
    """
    changed_from = func.least(col(DirtyDay.dirty_from), col(DirtyDay.claimed_from))
    of_its_day = and_(col(DirtyDay.device_id) == col(Dataset.device_id), col(DirtyDay.day) == col(Dataset.start_date))
    found = (
        select(Dataset, changed_from, col(DirtyDay.expired_at).is_not(None))
        .join(DirtyDay, of_its_day, isouter=True)
        .where(*_current_days(), Dataset.device_id == device_id, col(Dataset.start_date).between(start, end))
        .order_by(col(Dataset.start_date))
        .options(defer(col(Dataset.hourly)), defer(col(Dataset.checks)))  # type: ignore[arg-type] # as in of_day
    )
    return [DayFile(*row) for row in session.exec(found)]


def of_day(session: Session, day: date) -> list[Dataset]:
    """Every device's file of a day, without what is known of its hours and quarters, which is read when asked for."""
    without = (defer(col(Dataset.hourly)), defer(col(Dataset.energy)))  # type: ignore[arg-type] # columns are mapped
    found = select(Dataset).where(*_current_days(), Dataset.start_date == day).order_by(col(Dataset.device_id))
    return list(session.exec(found.options(*without)))


def devices_of_days(session: Session, start: date, end: date) -> list[str]:
    """Devices with a file of any day from start to end, both included."""
    found = select(Dataset.device_id).where(*_current_days(), col(Dataset.start_date).between(start, end))
    return list(session.exec(found.distinct().order_by(Dataset.device_id)))


def current_day_files(
    session: Session, device_ids: Sequence[str] | None, start: date | None, end: date | None
) -> list[tuple[str, Mapping[str, Any]]]:
    """Keys and metrics of the day files of devices (None: of all), by device and day; both ends are inclusive."""
    query = select(Dataset.key, Dataset.metrics).where(*_current_days())
    if device_ids:
        query = query.where(col(Dataset.device_id).in_(device_ids))
    if start:
        query = query.where(col(Dataset.start_date) >= start)
    if end:
        query = query.where(col(Dataset.end_date) <= end)
    query = query.order_by(col(Dataset.device_id), col(Dataset.start_date))
    return list(session.exec(query).all())


def stored_before(session: Session, day: date, *, limit: int) -> list[Dataset]:
    """The oldest entries whose last day lies before a day and whose file, or a version of it, is still stored."""
    is_stored = or_(col(Dataset.superseded_at).is_(None), col(Dataset.version_key).is_not(None))
    query = select(Dataset).where(is_stored, Dataset.end_date < day).order_by(col(Dataset.id)).limit(limit)
    return list(session.exec(query))


_MONTHS_TO_CLOSE = text("""
SELECT d.month FROM (
    SELECT device_id, date_trunc('month', start_date)::date AS month, max(created_at) AS made FROM datasets
    WHERE kind = 'day' AND superseded_at IS NULL AND start_date >= :first AND start_date < :before GROUP BY 1, 2
) d LEFT JOIN datasets m ON m.device_id = d.device_id AND m.kind = 'month' AND m.superseded_at IS NULL
    AND m.start_date = d.month
WHERE m.created_at IS NULL OR m.created_at < d.made GROUP BY 1 ORDER BY 1
""")


def months_to_close(session: Session, first: date, before: date) -> list[date]:
    """First days of months before a day that have day files but not, or not anew, a month's file for each device."""
    return list(session.execute(_MONTHS_TO_CLOSE, {"first": first, "before": before}).scalars())


def unchecked(session: Session, *, before: date) -> dict[date, int]:
    """Days before a day with files that were last made while their day was open, and how many those are."""
    waiting = select(col(Dataset.start_date), func.count()).where(
        *_current_days(), col(Dataset.checks).is_(None), Dataset.start_date < before
    )
    return dict(session.exec(waiting.group_by(col(Dataset.start_date))).all())


def unchecked_devices(session: Session, day: date) -> list[str]:
    found = select(Dataset.device_id).where(*_current_days(), col(Dataset.checks).is_(None), Dataset.start_date == day)
    return list(session.exec(found))


def _current_days() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return col(Dataset.superseded_at).is_(None), col(Dataset.kind) == "day"


def history_version(session: Session, device_id: str, *, before: date) -> str:
    """A name for the content of all of a device's day files before a day: equal files, equal name."""
    hashes = select(Dataset.sha256).where(
        Dataset.device_id == device_id,
        Dataset.kind == "day",
        col(Dataset.superseded_at).is_(None),
        col(Dataset.end_date) < before,
    )
    parts = session.exec(hashes.order_by(col(Dataset.start_date)))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def is_used(session: Session, dataset: Dataset) -> bool:
    """Whether a result was made from exactly this file, or may just be being made from it."""
    made_from = type_coerce([{"sha256": dataset.sha256}], JSONB)
    for kind in (AnalyticsJob, ReportJob):
        provenance = col(kind.results)["provenance"]["datasets"]
        at_work = and_(col(kind.device_id) == dataset.device_id, col(kind.status) == "running")
        if session.exec(select(kind.id).where(or_(provenance.op("@>")(made_from), at_work)).limit(1)).first():
            return True
    return False


def set_tenant(session: Session, device_ids: Collection[str], tenant_id: str) -> None:
    """Give all files of the devices to a tenant. The caller commits."""
    session.exec(update(Dataset).where(col(Dataset.device_id).in_(device_ids)).values(tenant_id=tenant_id))


def record(session: Session, made: Dataset, standing: Dataset | None, *, version_key: str | None = None) -> Dataset:
    """Enter a file that was written in the place of another; returns the row that stands for it. The caller commits.

    Equal content changes nothing but what is said about it. While its last day is open a file's row is replaced; after
    that, and where `version_key` says that the old file was kept, the catalogue only grows: the old row stays,
    superseded.
    """
    if standing is None:
        session.add(made)
        return made
    if standing.sha256 == made.sha256:
        standing.first_at, standing.last_at = made.first_at, made.last_at
        standing.hourly, standing.energy = made.hourly, made.energy
        if made.kind == "month":
            standing.created_at = made.created_at  # all that its days held until then is in it
        standing.checks = made.checks or standing.checks
        session.add(standing)
        return standing
    if standing.created_at.date() <= standing.end_date and version_key is None:
        made.id = standing.id
        return session.merge(made)
    standing.superseded_at, standing.version_key = made.created_at, version_key
    session.add(standing)
    session.flush()
    session.add(made)
    return made
