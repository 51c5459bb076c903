"""Time as the platform keeps it: whole microseconds since 1970 in UTC, and aware datetimes at the edges."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# Durations in microseconds.
SECOND = 1_000_000
MINUTE = 60 * SECOND
QUARTER = 15 * MINUTE
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


# ISO 8601's other name of midnight, the end of a day: 24:00, with zeros or nothing after it, and an offset.
_end_of_day = re.compile(r"(\d{4}-?\d\d-?\d\d)[T ]24(?::?00(?::?00(?:[.,]0+)?)?)? ?(Z|[+-][\d:]+)?")


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def midnight(day: date, zone: tzinfo = UTC) -> datetime:
    """The moment at which a day begins, of UTC or of a time zone."""
    return datetime.combine(day, time(), zone)


def known_zone(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: there is no time zone with this name.

    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; give an IANA name such as Europe/Paris") from None
    return name


def microseconds(moment: datetime) -> int:
    """Microseconds from 1970 UTC to an aware datetime.

    Raises:
        ValueError: the datetime has no offset; the platform does not guess one.

    """
    if moment.tzinfo is None:
        raise ValueError("the timestamp has no offset; write it as 2026-02-12T10:00:00Z or with +01:00")
    return (moment - EPOCH) // _MICROSECOND


def iso8601(text: str) -> datetime:
    """The datetime that ISO 8601 text stands for, naive if it has no offset; `24:00` is the next day's 00:00.

    Raises:
        ValueError, OverflowError: it is not ISO 8601, or lies beyond the year 9999.

    """
    if "\0" in text:
        raise ValueError("the text has a NUL")  # `fromisoformat` would ignore what follows it
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        upper = text.upper()
        if match := _end_of_day.fullmatch(upper):
            return datetime.fromisoformat(f"{match[1]}T00{match[2] or ''}") + timedelta(days=1)
        if upper == text:
            raise
        return datetime.fromisoformat(upper)


def moment(time: int) -> datetime:
    """The aware UTC datetime that lies `time` microseconds after 1970."""
    return EPOCH + timedelta(microseconds=time)


def rfc3339(moment: datetime) -> str:
    """An aware datetime as RFC 3339 text; UTC is written as Z."""
    return moment.isoformat().replace("+00:00", "Z")
