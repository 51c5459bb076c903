"""When devices were last seen, and since when ingesters have listened without a break."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import CheckConstraint, text
from sqlmodel import Field, Session, SQLModel, col, func, select

from storage.database import Timestamp
from storage.times import microseconds, moment


class DeviceLastSeen(SQLModel, table=True):
    """When a device's last reading was received, and the newest time that a reading of it carried.

    The table and the column `heard_at` keep the names they were made with.
    """

    __tablename__ = "device_presence"

    device_id: str = Field(primary_key=True, max_length=50)
    last_seen_at: datetime = Timestamp(sa_column_kwargs={"name": "heard_at"})
    newest_reading: datetime = Timestamp()


class Listening(SQLModel, table=True):
    """The one row that says since when some ingester has taken what devices send, without a break."""

    __tablename__ = "listening"
    __table_args__ = (CheckConstraint("id = 1", name="listening_one_row"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    since: datetime = Timestamp()
    until: datetime = Timestamp()


# Ages instead of times: the database's clock is the one that all ingesters share.
_SAVE = text("""
INSERT INTO device_presence AS p (device_id, heard_at, newest_reading)
SELECT device_id, clock_timestamp() - age * interval '1 microsecond', newest
FROM unnest(CAST(:devices AS text[]), CAST(:ages AS int8[]), CAST(:newest AS timestamptz[]))
  AS d (device_id, age, newest)
ORDER BY device_id
ON CONFLICT (device_id) DO UPDATE SET
    heard_at = greatest(p.heard_at, excluded.heard_at),
    newest_reading = greatest(p.newest_reading, excluded.newest_reading)
""")
# After half a minute without any ingester, listening starts anew.
_LISTEN = text("""
INSERT INTO listening AS l (id, since, until) VALUES (1, clock_timestamp(), clock_timestamp())
ON CONFLICT (id) DO UPDATE SET until = excluded.until,
    since = CASE WHEN l.until < excluded.until - interval '30 seconds' THEN excluded.since ELSE l.since END
RETURNING since, until
""")


def newest_readings(session: Session) -> dict[str, int]:
    """The newest reading's time of each device, in microseconds."""
    rows = session.exec(select(DeviceLastSeen.device_id, DeviceLastSeen.newest_reading))
    return {device_id: microseconds(newest) for device_id, newest in rows}


def last_seen_times(session: Session) -> dict[str, int]:
    """When each device's last reading was received, in microseconds."""
    rows = session.exec(select(DeviceLastSeen.device_id, DeviceLastSeen.last_seen_at))
    return {device_id: microseconds(last_seen_at) for device_id, last_seen_at in rows}


def senders_among(session: Session, device_ids: Sequence[str]) -> set[str]:
    """Those of the ids under which something was ever received."""
    ids = col(DeviceLastSeen.device_id)
    return set(session.exec(select(ids).where(ids.in_(device_ids))))


class Senders(NamedTuple):
    """How many devices have ever sent and how many did so lately, when the last one did, and their usual delay.

    The delay is the median of the time from a device's newest reading until it was received.
    """

    known: int
    lately: int
    last_seen_at: datetime | None
    delay: timedelta | None


def senders(session: Session, since: datetime) -> Senders:
    """The devices that send; `lately` means since this time."""
    seen = col(DeviceLastSeen.last_seen_at)
    delay = func.percentile_cont(0.5).within_group(seen - col(DeviceLastSeen.newest_reading))
    is_late = seen >= since
    query = select(func.count(), func.count().filter(is_late), func.max(seen), delay.filter(is_late))
    return Senders(*session.exec(query.select_from(DeviceLastSeen)).one())


def save_last_seen(session: Session, ages: Mapping[str, int], newest: Mapping[str, int]) -> None:
    """Record how long ago (µs) each device's last reading was received, and the newest time of its readings (µs)."""
    columns = {
        "devices": list(ages),
        "ages": list(ages.values()),
        "newest": [moment(newest[device_id]) for device_id in ages],
    }
    session.execute(_SAVE, columns)


def listen(session: Session) -> tuple[int, int]:
    """Record that an ingester takes what devices send now.

    Returns:
        Since when this has been so without a break, and the database's time, in microseconds.

    """
    since, now = session.execute(_LISTEN).one()
    return microseconds(since), microseconds(now)
