"""Time as the platform keeps it: whole microseconds since 1970 in UTC, and aware datetimes at the edges."""

from datetime import UTC, date, datetime, time, timedelta

# Durations in microseconds.
SECOND = 1_000_000
MINUTE = 60 * SECOND
QUARTER = 15 * MINUTE
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def midnight(day: date) -> datetime:
    """The moment at which a UTC day begins."""
    return datetime.combine(day, time(), UTC)


def microseconds(moment: datetime) -> int:
    """Microseconds from 1970 UTC to an aware datetime.

    Raises:
        ValueError: the datetime has no offset; the platform does not guess one.

    """
    if moment.tzinfo is None:
        raise ValueError("the timestamp has no offset; write it as 2026-02-12T10:00:00Z or with +01:00")
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(time: int) -> datetime:
    """The aware UTC datetime that lies `time` microseconds after 1970."""
    return EPOCH + timedelta(microseconds=time)


def rfc3339(moment: datetime) -> str:
    """An aware datetime as RFC 3339 text; UTC is written as Z."""
    return moment.isoformat().replace("+00:00", "Z")
