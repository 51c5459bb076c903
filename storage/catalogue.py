"""Which datasets there are, and which device-days telemetry has touched since they were made.

The ledger's order of steps is what makes an export miss nothing:

- ingestion commits telemetry first, and marks its device-days `dirty` afterwards, in a transaction of its own;
- an export clears `dirty` (keeping `claimed_at`) first, and reads telemetry afterwards.

So a reading that an export did not see is marked after that export cleared the mark, and is exported by the next one.
A mark says from which moment on the readings are that came (`dirty_from`, kept as `claimed_from` while an export is at
work): what lies before it, the file has.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
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
from sqlmodel import Field, Session, SQLModel, col, delete, select, update

from storage.database import Timestamp, utc_now
from storage.devices import Device
from storage.jobs import AnalyticsJob, ReportJob
from storage.telemetry import DAY, moment

_JSON = JSONB(none_as_null=True)


class Dataset(SQLModel, table=True):
    """A Parquet file of one device over whole UTC days, both ends inclusive.

    `superseded_at` is when a newer one took its key, or when it was retired; `version_key` is where it is kept since
    then if a result was made from it.

    Of a day's file (hours and quarters are those of the UTC day):
    `first_at`, `last_at`: its first and last reading; null where an older version made it.
    `hourly`: `{metric: {"count": [24], "min": [24], "max": [24], "sum": [24]}}`, null without values.
    `energy`: `{"quarters": [96], "source", "first", "last", "gap", "rollover"}`, see `assets.energy.day_energy`.
    `checks`: `{kind: {"status", "value", "detail"}}`, see `assets.quality`; null while the day is open.
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


class TouchedDay(SQLModel, table=True):
    """A device's UTC day that telemetry came for; `dirty` since its last export, `claimed_at` while one is at work.

    From `expired_at` on the telemetry store may have given its readings up: its file is added to, never made anew.
    """

    __tablename__ = "touched_days"
    __table_args__ = (Index("touched_days_waiting", "day", postgresql_where=text("dirty OR claimed_at IS NOT NULL")),)

    device_id: str = Field(primary_key=True, max_length=50)
    day: date = Field(primary_key=True)
    dirty: bool = True
    first_touched_at: datetime = Timestamp(default_factory=utc_now)
    touched_at: datetime = Timestamp(default_factory=utc_now)
    claimed_at: datetime | None = Timestamp(default=None)
    dirty_from: datetime | None = Timestamp(default=None)
    claimed_from: datetime | None = Timestamp(default=None)
    expired_at: datetime | None = Timestamp(default=None)


# While a day is dirty its row is left alone, but for readings earlier than any since its export, and a refresh every
# half minute: late days wait until they are quiet.
_TOUCH = text("""
INSERT INTO touched_days AS t (device_id, day, dirty, first_touched_at, touched_at, dirty_from)
SELECT device_id, day, true, now(), now(), earliest
FROM unnest(CAST(:devices AS text[]), CAST(:days AS date[]), CAST(:earliest AS timestamptz[]))
  AS d (device_id, day, earliest)
WHERE NOT EXISTS (SELECT FROM touched_days k WHERE k.device_id = d.device_id AND k.day = d.day AND k.dirty
                  AND k.touched_at > now() - interval '30 seconds' AND k.dirty_from <= d.earliest)
ORDER BY device_id, day
ON CONFLICT (device_id, day) DO UPDATE SET
    dirty = true, touched_at = now(), first_touched_at = CASE WHEN t.dirty THEN t.first_touched_at ELSE now() END,
    dirty_from = least(t.dirty_from, excluded.dirty_from)
""")


def touch(session: Session, readings: Iterable[tuple[str, int]]) -> None:
    """Mark the days of readings, given as device and time (µs), dirty.

    Call it after the telemetry is committed, in another transaction; the caller commits.
    """
    earliest: dict[tuple[str, int], int] = {}
    for device_id, time in readings:
        device_day = device_id, time // DAY
        if time < earliest.get(device_day, time + 1):
            earliest[device_day] = time
    found = sorted(earliest.items())
    columns = {
        "devices": [device_id for (device_id, _), _ in found],
        "days": [moment(day * DAY).date() for (_, day), _ in found],
        "earliest": [moment(time) for _, time in found],
    }
    session.execute(_TOUCH, columns)


def waits_for_export() -> ColumnElement[bool]:
    """Of a `TouchedDay`; one whose export never ended waits as well."""
    return or_(col(TouchedDay.dirty), col(TouchedDay.claimed_at).is_not(None))


def touched(session: Session, *, day: date | None = None, device_id: str | None = None) -> list[TouchedDay]:
    """Device-days that wait for an export, oldest first."""
    waiting = select(TouchedDay).where(waits_for_export())
    if day is not None:
        waiting = waiting.where(col(TouchedDay.day) == day)
    if device_id is not None:
        waiting = waiting.where(col(TouchedDay.device_id) == device_id)
    return list(session.exec(waiting.order_by(col(TouchedDay.day), col(TouchedDay.device_id))))


def has_telemetry(session: Session, device_id: str) -> bool:
    """Whether anything ever came from a device, registered or not."""
    return (
        session.exec(select(col(TouchedDay.day)).where(TouchedDay.device_id == device_id).limit(1)).first() is not None
    )


def unknown_devices(session: Session, device_ids: Collection[str]) -> list[str]:
    """Those that are neither registered nor have sent anything."""
    known = set(session.exec(select(Device.device_id).where(col(Device.device_id).in_(device_ids))))
    return [d for d in device_ids if d not in known and not has_telemetry(session, d)]


@dataclass(frozen=True)
class Claim:
    """What is known of a device-day that is held for an export.

    `expired`: the telemetry store may have given up readings of it. `first_day`: nothing ever came of a day before.
    """

    expired: bool
    first_day: bool


@contextmanager
def writing(session: Session, name: str) -> Iterator[None]:
    """Hold a name against other writers, in other processes too; a writer that dies holds it no longer."""
    # A connection of its own: the lock lives as long as the block, whatever the session commits meanwhile.
    engine = session.get_bind()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:  # type: ignore[union-attr] # sessions here are bound to engines
        key = {"key": f"export/{name}"}
        connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:key, 0))"), key)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))"), key)


_CLAIM = text("""
INSERT INTO touched_days AS t (device_id, day, dirty, first_touched_at, touched_at, claimed_at)
VALUES (:device_id, :day, false, now(), now(), now())
ON CONFLICT (device_id, day) DO UPDATE SET
    dirty = false, dirty_from = NULL, claimed_at = now(), claimed_from = least(t.claimed_from, t.dirty_from)
RETURNING expired_at IS NOT NULL AS expired,
    NOT EXISTS (SELECT FROM touched_days e WHERE e.device_id = :device_id AND e.day < :day) AS first_day
""")


@contextmanager
def exporting(session: Session, device_id: str, day: date) -> Iterator[Claim]:
    """Hold a device-day for an export: one writer at a time, and a mark that stays if this one dies.

    Read telemetry inside only. What the block leaves uncommitted is committed together with the end of the claim.
    """
    with writing(session, f"{device_id}/{day}"):
        try:
            claim = Claim(*session.execute(_CLAIM, {"device_id": device_id, "day": day}).one())
            session.commit()
            yield claim
            session.exec(
                update(TouchedDay)
                .where(col(TouchedDay.device_id) == device_id, col(TouchedDay.day) == day)
                .values(claimed_at=None, claimed_from=None)
            )
            session.commit()
        finally:
            session.rollback()


def forget_day(session: Session, device_id: str, day: date) -> None:
    """Take a day that holds no readings out of the ledger, unless some came meanwhile. The caller commits."""
    session.exec(
        delete(TouchedDay).where(
            col(TouchedDay.device_id) == device_id, col(TouchedDay.day) == day, col(TouchedDay.dirty).is_(False)
        )
    )


def exported_until(session: Session, day: date) -> date:
    """The day itself, or the earliest one before it of which something was not exported yet."""
    made = exists().where(
        col(Dataset.device_id) == TouchedDay.device_id,
        col(Dataset.kind) == "day",
        col(Dataset.start_date) == TouchedDay.day,
    )
    missing = select(func.min(TouchedDay.day)).where(or_(waits_for_export(), ~made), col(TouchedDay.day) < day)
    return session.exec(missing).one() or day


def expire_days(session: Session, before: date) -> None:
    """Note that the telemetry store may give up the readings of days before a day. The caller commits."""
    kept = update(TouchedDay).where(col(TouchedDay.day) < before, col(TouchedDay.expired_at).is_(None))
    session.exec(kept.values(expired_at=utc_now()))


def known_days(
    session: Session, start: date, end: date, device_ids: Collection[str] | None = None
) -> list[tuple[date, str]]:
    """Days from start to end, both included, and devices that sent something of them, in this order."""
    found = select(col(TouchedDay.day), col(TouchedDay.device_id)).where(col(TouchedDay.day).between(start, end))
    if device_ids is not None:
        found = found.where(col(TouchedDay.device_id).in_(device_ids))
    return list(session.exec(found.order_by(col(TouchedDay.day), col(TouchedDay.device_id))).all())


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
    changed_from = func.least(col(TouchedDay.dirty_from), col(TouchedDay.claimed_from))
    of_its_day = and_(
        col(TouchedDay.device_id) == col(Dataset.device_id), col(TouchedDay.day) == col(Dataset.start_date)
    )
    found = (
        select(Dataset, changed_from, col(TouchedDay.expired_at).is_not(None))
        .join(TouchedDay, of_its_day, isouter=True)
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
