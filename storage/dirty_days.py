"""Device-days that are dirty: telemetry arrived for them after their files were exported.

Exports miss nothing because of this order of steps:

- Ingestion commits telemetry first, and then marks its device-days dirty, in another transaction.
- An export first turns the mark into a claim and commits, and then reads telemetry.

So if an export does not see a reading, the reading's day is marked after the claim, and the next export includes it. If
an export dies, its claim stays, and the day is exported again.

The mark is the time of the earliest reading that arrived (`dirty_from`). The claim keeps it as `claimed_from`. The file
has every reading before that time.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Index, RowMapping, or_, text
from sqlmodel import Field, Session, SQLModel, col, delete, func, select, update
from sqlmodel.sql.expression import SelectOfScalar

from storage.database import Timestamp
from storage.devices import Device
from storage.times import DAY, moment, utc_now

MICROSECOND = timedelta(microseconds=1)


class DirtyDay(SQLModel, table=True):
    """A UTC day of a device's telemetry. It is dirty if `dirty_from` is set, and is being exported since `claimed_at`.

    `first_touched_at` is when it became dirty, `touched_at` when telemetry last marked it. After `expired_at` the
    telemetry store may have deleted its readings, so exports add to its file and never replace it. The table keeps the
    name it was made with.
    """

    __tablename__ = "touched_days"
    __table_args__ = (
        Index("touched_days_waiting", "day", postgresql_where=text("dirty_from IS NOT NULL OR claimed_at IS NOT NULL")),
    )

    device_id: str = Field(primary_key=True, max_length=50)
    day: date = Field(primary_key=True)
    first_touched_at: datetime = Timestamp(default_factory=utc_now)
    touched_at: datetime = Timestamp(default_factory=utc_now)
    claimed_at: datetime | None = Timestamp(default=None)
    dirty_from: datetime | None = Timestamp(default=None)
    claimed_from: datetime | None = Timestamp(default=None)
    expired_at: datetime | None = Timestamp(default=None)

    @property
    def dirty(self) -> bool:
        return self.dirty_from is not None


# A dirty day's row is written only for readings earlier than `dirty_from`, and every half minute, so that `touched_at`
# shows when no more telemetry arrives: then late days are exported.
_MARK_DIRTY = text("""
INSERT INTO touched_days AS t (device_id, day, first_touched_at, touched_at, dirty_from)
SELECT device_id, day, now(), now(), earliest
FROM unnest(CAST(:devices AS text[]), CAST(:days AS date[]), CAST(:earliest AS timestamptz[]))
  AS d (device_id, day, earliest)
WHERE NOT EXISTS (SELECT FROM touched_days k WHERE k.device_id = d.device_id AND k.day = d.day
                  AND k.touched_at > now() - interval '30 seconds' AND k.dirty_from <= d.earliest)
ORDER BY device_id, day
ON CONFLICT (device_id, day) DO UPDATE SET
    touched_at = now(), dirty_from = least(t.dirty_from, excluded.dirty_from),
    first_touched_at = CASE WHEN t.dirty_from IS NULL THEN now() ELSE t.first_touched_at END
""")


def mark_dirty(session: Session, readings: Iterable[tuple[str, int]]) -> None:
    """Mark the days of readings dirty; readings are given as device and time (µs).

    Call it after the telemetry is committed, in another transaction. The caller commits.
    """
    earliest: dict[tuple[str, int], int] = {}
    for device_id, time in readings:
        device_day = device_id, time // DAY
        if time < earliest.get(device_day, time + 1):
            earliest[device_day] = time
    marks = sorted(earliest.items())
    columns = {
        "devices": [device_id for (device_id, _), _ in marks],
        "days": [moment(day * DAY).date() for (_, day), _ in marks],
        "earliest": [moment(time) for _, time in marks],
    }
    session.execute(_MARK_DIRTY, columns)


_MARK_RANGE = text("""
UPDATE touched_days SET
    dirty_from = least(dirty_from, greatest(CAST(:start AS timestamptz), day::timestamp AT TIME ZONE 'UTC')),
    first_touched_at = CASE WHEN dirty_from IS NULL THEN now() ELSE first_touched_at END
WHERE device_id = :device_id AND day BETWEEN :first AND :last
""")


def mark_range(session: Session, device_id: str, start: datetime, end: datetime) -> None:
    """Mark the days of a half-open range dirty that have telemetry, since what is said about it has changed.

    The rows stay locked until the caller commits the change with it: an export that claims a day then sees the change.
    """
    bounds = {"first": start.astimezone(UTC).date(), "last": (end - MICROSECOND).astimezone(UTC).date()}
    session.execute(_MARK_RANGE, {"device_id": device_id, "start": start, **bounds})


def waits_for_export() -> ColumnElement[bool]:
    """The condition for a `DirtyDay` that needs an export: it is dirty, or its last export died."""
    return or_(col(DirtyDay.dirty_from).is_not(None), col(DirtyDay.claimed_at).is_not(None))


def waiting(session: Session, *, day: date | None = None, device_id: str | None = None) -> list[DirtyDay]:
    """Device-days that need an export, oldest first."""
    waiting = select(DirtyDay).where(waits_for_export())
    if day is not None:
        waiting = waiting.where(col(DirtyDay.day) == day)
    if device_id is not None:
        waiting = waiting.where(col(DirtyDay.device_id) == device_id)
    return list(session.exec(waiting.order_by(col(DirtyDay.day), col(DirtyDay.device_id))))


def waiting_days(today: date, *, late: bool | None = None) -> SelectOfScalar[DirtyDay]:
    """Select the device-days that need an export: all, those before today (`late`), or the others."""
    statement = select(DirtyDay).where(waits_for_export())
    if late is not None:
        statement = statement.where(col(DirtyDay.day) < today if late else col(DirtyDay.day) >= today)
    return statement


@dataclass(frozen=True)
class WaitingDay:
    """A day with device-days that wait for an export.

    `first_marked_at` is when the first of them became dirty, `last_marked_at` when telemetry last came for one.
    """

    day: date
    devices: int
    first_marked_at: datetime
    last_marked_at: datetime


def waiting_by_day(session: Session) -> list[WaitingDay]:
    """Return the days with device-days that wait for an export."""
    first, last = func.min(DirtyDay.first_touched_at), func.max(DirtyDay.touched_at)
    by_day = select(col(DirtyDay.day), func.count(), first, last).where(waits_for_export()).group_by(col(DirtyDay.day))
    return [WaitingDay(*row) for row in session.exec(by_day)]


def devices_of_day(session: Session, day: date) -> list[str]:
    """Return the devices that have telemetry of a day."""
    return list(session.exec(select(DirtyDay.device_id).where(DirtyDay.day == day)))


def has_telemetry(session: Session, device_id: str) -> bool:
    """Whether a device, registered or not, has ever sent telemetry."""
    return session.exec(select(col(DirtyDay.day)).where(DirtyDay.device_id == device_id).limit(1)).first() is not None


def unregistered_devices(session: Session, sort: str, offset: int, limit: int) -> tuple[Sequence[RowMapping], int]:
    """Devices that sent something and are not registered or are deleted, and how many there are.

    Each row has `device_id`, `first_day`, `last_day`, `last_received_at` and `deleted`. `sort` is `device_id` or
    `last_received_at`; a leading minus reverses the order.
    """
    last_received_at = func.max(DirtyDay.touched_at)
    columns: Any = (
        DirtyDay.device_id,
        func.min(DirtyDay.day).label("first_day"),
        func.max(DirtyDay.day).label("last_day"),
        last_received_at.label("last_received_at"),
        col(Device.deleted_at).is_not(None).label("deleted"),
    )
    statement = (
        sqlalchemy.select(*columns)
        .join(Device, col(Device.device_id) == col(DirtyDay.device_id), isouter=True)
        .where(or_(col(Device.device_id).is_(None), col(Device.deleted_at).is_not(None)))
        .group_by(col(DirtyDay.device_id), col(Device.deleted_at))
    )
    total = session.exec(select(func.count()).select_from(statement.subquery())).one()
    column: Any = col(DirtyDay.device_id) if sort.endswith("device_id") else last_received_at
    ordered = statement.order_by(column.desc() if sort.startswith("-") else column.asc(), col(DirtyDay.device_id))
    return session.execute(ordered.offset(offset).limit(limit)).mappings().all(), total


def unknown_devices(session: Session, device_ids: Collection[str]) -> list[str]:
    """Those of the devices that are neither registered nor have sent anything."""
    known = set(session.exec(select(Device.device_id).where(col(Device.device_id).in_(device_ids))))
    return [d for d in device_ids if d not in known and not has_telemetry(session, d)]


@dataclass(frozen=True)
class Claim:
    """What is known of a device-day that an export has claimed.

    `expired`: the telemetry store may have deleted readings of the day. `first_day`: the device sent nothing of any
    earlier day.
    """

    expired: bool
    first_day: bool


@contextmanager
def export_lock(session: Session, name: str) -> Iterator[None]:
    """Keep other exports of the same name waiting, in other processes too. A process that dies loses the lock."""
    # The lock has a connection of its own, so it outlasts what the session commits in the block.
    engine = session.get_bind()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:  # type: ignore[union-attr] # sessions here are bound to engines
        key = {"key": f"export/{name}"}
        connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:key, 0))"), key)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))"), key)


_CLAIM = text("""
INSERT INTO touched_days AS t (device_id, day, first_touched_at, touched_at, claimed_at)
VALUES (:device_id, :day, now(), now(), now())
ON CONFLICT (device_id, day) DO UPDATE SET
    dirty_from = NULL, claimed_at = now(), claimed_from = least(t.claimed_from, t.dirty_from)
RETURNING expired_at IS NOT NULL AS expired,
    NOT EXISTS (SELECT FROM touched_days e WHERE e.device_id = :device_id AND e.day < :day) AS first_day
""")


def claim_day(session: Session, device_id: str, day: date) -> Claim:
    """Turn the mark of a device-day into a claim. Commit before you read the day's telemetry."""
    return Claim(*session.execute(_CLAIM, {"device_id": device_id, "day": day}).one())


def release_claim(session: Session, device_id: str, day: date) -> None:
    """Remove the claim of a device-day. Commit it together with the record of the exported file."""
    session.exec(
        update(DirtyDay)
        .where(col(DirtyDay.device_id) == device_id, col(DirtyDay.day) == day)
        .values(claimed_at=None, claimed_from=None)
    )


def forget_day(session: Session, device_id: str, day: date) -> None:
    """Delete the row of a day without readings, unless some arrived meanwhile. The caller commits."""
    session.exec(
        delete(DirtyDay).where(
            col(DirtyDay.device_id) == device_id, col(DirtyDay.day) == day, col(DirtyDay.dirty_from).is_(None)
        )
    )


def expire_days(session: Session, before: date) -> None:
    """Record that the telemetry store may delete the readings of all days before this one. The caller commits."""
    unexpired = update(DirtyDay).where(col(DirtyDay.day) < before, col(DirtyDay.expired_at).is_(None))
    session.exec(unexpired.values(expired_at=utc_now()))


def known_days(
    session: Session, start: date, end: date, device_ids: Collection[str] | None = None
) -> list[tuple[date, str]]:
    """The device-days with telemetry from start to end, both included, in order of day and device."""
    days = select(col(DirtyDay.day), col(DirtyDay.device_id)).where(col(DirtyDay.day).between(start, end))
    if device_ids is not None:
        days = days.where(col(DirtyDay.device_id).in_(device_ids))
    return list(session.exec(days.order_by(col(DirtyDay.day), col(DirtyDay.device_id))).all())


def days_before(session: Session, device_id: str, day: date, count: int) -> list[date]:
    """The nearest days before one for which a device sent something, newest first."""
    found = select(col(DirtyDay.day)).where(DirtyDay.device_id == device_id, col(DirtyDay.day) < day)
    return list(session.exec(found.order_by(col(DirtyDay.day).desc()).limit(count)))


def days_after(session: Session, device_id: str, day: date, count: int) -> list[date]:
    """The nearest days after one for which a device sent something, ascending."""
    found = select(col(DirtyDay.day)).where(DirtyDay.device_id == device_id, col(DirtyDay.day) > day)
    return list(session.exec(found.order_by(col(DirtyDay.day)).limit(count)))
