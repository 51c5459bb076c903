"""Which datasets there are, and which device-days telemetry has touched since they were made.

The ledger's order of steps is what makes an export miss nothing:

- ingestion commits telemetry first, and marks its device-days `dirty` afterwards, in a transaction of its own;
- an export clears `dirty` (keeping `claimed_at`) first, and reads telemetry afterwards.

So a reading that an export did not see is marked after that export cleared the mark, and is exported by the next one.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Identity, Index, UniqueConstraint, and_, func, or_, text, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import defer
from sqlmodel import Field, Session, SQLModel, Text, col, select, update

from storage.database import Timestamp, utc_now
from storage.jobs import AnalyticsJob, ReportJob

_JSON = JSONB(none_as_null=True)


class Dataset(SQLModel, table=True):
    """A Parquet file of one device over whole UTC days, both ends inclusive.

    `superseded_at` is when a newer one took its key, or when it was retired; `version_key` is where it is kept since
    then if a result was made from it.

    Of a day's file (hours and quarters are those of the UTC day):
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
    expired_at: datetime | None = Timestamp(default=None)


class ExportCheckpoint(SQLModel, table=True):
    """The handover's history of exports, one row per export of a device."""

    __tablename__ = "export_checkpoints"
    __table_args__ = (
        UniqueConstraint("device_id", "last_exported_at", name="uq_checkpoint_device_exported"),
        Index("idx_checkpoint_device_id", "device_id"),
        Index("idx_checkpoint_status", "status"),
        Index("idx_checkpoint_updated", "updated_at"),
    )

    id: int | None = Field(default=None, primary_key=True)
    device_id: str = Field(max_length=50)
    last_exported_at: datetime = Timestamp()
    last_sequence: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    status: str = Field(max_length=50)
    s3_key: str | None = Field(default=None, max_length=500)
    record_count: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    error_message: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Timestamp(default_factory=utc_now, sa_column_kwargs={"server_default": text("now()")})
    updated_at: datetime = Timestamp(default_factory=utc_now, sa_column_kwargs={"server_default": text("now()")})


# While a day is dirty its row is left alone, but for a refresh every half minute: late days wait until they are quiet.
_TOUCH = text("""
INSERT INTO touched_days AS t (device_id, day, dirty, first_touched_at, touched_at)
SELECT device_id, day, true, now(), now()
FROM unnest(CAST(:devices AS text[]), CAST(:days AS date[])) AS d (device_id, day)
WHERE NOT EXISTS (SELECT FROM touched_days k WHERE k.device_id = d.device_id AND k.day = d.day
                  AND k.dirty AND k.touched_at > now() - interval '30 seconds')
ORDER BY device_id, day
ON CONFLICT (device_id, day) DO UPDATE SET
    dirty = true, touched_at = now(), first_touched_at = CASE WHEN t.dirty THEN t.first_touched_at ELSE now() END
""")


def touch(session: Session, device_days: Iterable[tuple[str, date]]) -> None:
    """Mark device-days dirty. Call it after the telemetry is committed, in another transaction; the caller commits."""
    pairs = sorted(set(device_days))
    session.execute(_TOUCH, {"devices": [device_id for device_id, _ in pairs], "days": [day for _, day in pairs]})


def touched(session: Session, *, day: date | None = None, device_id: str | None = None) -> list[TouchedDay]:
    """Device-days that wait for an export, oldest first; one whose export never ended waits as well."""
    waiting = select(TouchedDay).where(or_(col(TouchedDay.dirty), col(TouchedDay.claimed_at).is_not(None)))
    if day is not None:
        waiting = waiting.where(col(TouchedDay.day) == day)
    if device_id is not None:
        waiting = waiting.where(col(TouchedDay.device_id) == device_id)
    return list(session.exec(waiting.order_by(col(TouchedDay.day), col(TouchedDay.device_id))))


def expired_days(session: Session, device_id: str, start: date, end: date) -> set[date]:
    """Days of the range, both ends inclusive, of which the telemetry store may hold no more than what came late."""
    found = select(col(TouchedDay.day)).where(
        TouchedDay.device_id == device_id, col(TouchedDay.expired_at).is_not(None)
    )
    return set(session.exec(found.where(col(TouchedDay.day) >= start, col(TouchedDay.day) <= end)))


def has_telemetry(session: Session, device_id: str) -> bool:
    """Whether anything ever came from a device, registered or not."""
    return (
        session.exec(select(col(TouchedDay.day)).where(TouchedDay.device_id == device_id).limit(1)).first() is not None
    )


def is_first_day(session: Session, device_id: str, day: date) -> bool:
    """Whether nothing ever came from a device of a day before."""
    earlier = select(col(TouchedDay.day)).where(TouchedDay.device_id == device_id, col(TouchedDay.day) < day)
    return session.exec(earlier.limit(1)).first() is None


@contextmanager
def writing(session: Session, name: str) -> Iterator[None]:
    """Hold a name against other writers, in other processes too; a writer that dies holds it no longer."""
    # A connection of its own: the lock lives as long as the block, whatever the session commits meanwhile.
    with session.get_bind().connect() as connection:  # type: ignore[union-attr] # sessions here are bound to engines
        key = {"key": f"export/{name}"}
        connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:key, 0))"), key)
        connection.commit()
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))"), key)
            connection.commit()


@contextmanager
def exporting(session: Session, device_id: str, day: date) -> Iterator[TouchedDay]:
    """Hold a device-day for an export: one writer at a time, and a mark that stays if this one dies.

    Read telemetry inside only; commits.
    """
    with writing(session, f"{device_id}/{day}"):
        try:
            row = session.get(TouchedDay, (device_id, day), populate_existing=True)
            row = row or TouchedDay(device_id=device_id, day=day)
            row.dirty, row.claimed_at = False, utc_now()
            session.add(row)
            session.commit()
            yield row
            session.exec(
                update(TouchedDay)
                .where(col(TouchedDay.device_id) == device_id, col(TouchedDay.day) == day)
                .values(claimed_at=None)
            )
            session.commit()
        finally:
            session.rollback()


def current(session: Session, key: str) -> Dataset | None:
    """The dataset that stands under a key."""
    return session.exec(select(Dataset).where(Dataset.key == key, col(Dataset.superseded_at).is_(None))).first()


def datasets_of(
    session: Session, device_id: str, *, start: date | None = None, end: date | None = None, kind: str | None = None
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


def of_day(session: Session, day: date) -> list[Dataset]:
    """Every device's file of a day, without what is known of its hours and quarters, which is read when asked for."""
    without = (defer(col(Dataset.hourly)), defer(col(Dataset.energy)))  # type: ignore[arg-type] # columns are mapped
    found = select(Dataset).where(*_current_days(), Dataset.start_date == day).order_by(col(Dataset.device_id))
    return list(session.exec(found.options(*without)))


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


def record(session: Session, made: Dataset, *, version_key: str | None = None) -> Dataset:
    """Enter a file that was written; returns the row that stands for it. The caller commits.

    Equal content changes nothing but what is said about it. While its last day is open a file's row is replaced; after
    that, and where `version_key` says that the old file was kept, the catalogue only grows: the old row stays,
    superseded.
    """
    standing = current(session, made.key)
    if standing is None:
        session.add(made)
        return made
    if standing.sha256 == made.sha256:
        standing.hourly, standing.energy = made.hourly, made.energy
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


def checkpoint(session: Session, dataset: Dataset) -> None:
    """Note an export in the handover's history: a row per file, moved on by each export of it. The caller commits."""
    row = _checkpoint(session, dataset.device_id, dataset.key)
    row.last_exported_at = row.updated_at = utc_now()
    row.last_sequence += 1
    row.record_count = dataset.rows
    row.status, row.error_message = "COMPLETED", None
    session.add(row)


def checkpoint_failed(session: Session, device_id: str, key: str, reason: str) -> None:
    """Note there that an export did not come to its end; the next one that does clears it. The caller commits."""
    row = _checkpoint(session, device_id, key)
    row.updated_at = utc_now()
    row.status, row.error_message = "FAILED", reason
    session.add(row)


def _checkpoint(session: Session, device_id: str, key: str) -> ExportCheckpoint:
    newest = (
        select(ExportCheckpoint)
        .where(ExportCheckpoint.device_id == device_id, ExportCheckpoint.s3_key == key)
        .order_by(col(ExportCheckpoint.last_exported_at).desc())
    )
    return session.exec(newest).first() or ExportCheckpoint(
        device_id=device_id, s3_key=key, status="PENDING", last_exported_at=utc_now()
    )
