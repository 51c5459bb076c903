"""When reports that are made by themselves are due, and which period each covers. Days are those of the site's zone."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)


def next_due(frequency: str, send_at: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first moment after `after` at which a report is due, in UTC.

    Daily reports are due every day at the time of day `send_at`, weekly ones on Mondays, monthly ones on the first of
    the month. A time that the clocks skip is as much later as they are put forward.
    """
    return next(_moments(frequency, send_at, zone, after))


def due_until(frequency: str, send_at: str, zone: ZoneInfo, first: datetime, now: datetime) -> list[datetime]:
    """The moments from `first` up to `now` at which a report is due, `first` among them."""
    later = _moments(frequency, send_at, zone, first)
    return [first, *takewhile(lambda moment: moment <= now, later)]


def reported_period(frequency: str, zone: ZoneInfo, due_at: datetime) -> tuple[datetime, datetime]:
    """The period, [start, end) in UTC, of a report that is due at a moment: the day, week or month that ended last."""
    end = due_at.astimezone(zone).date()
    if frequency == "monthly":
        end = end.replace(day=1)
        start = (end - ONE_DAY).replace(day=1)
    elif frequency == "weekly":
        end -= timedelta(days=end.weekday())
        start = end - timedelta(days=7)
    else:
        start = end - ONE_DAY
    return _moment(start, time(), zone), _moment(end, time(), zone)


def _moments(frequency: str, send_at: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """The moments after `after` at which a report is due, without end."""
    day, at = after.astimezone(zone).date(), time.fromisoformat(send_at)
    while True:
        if _is_due_on(frequency, day) and (moment := _moment(day, at, zone)) > after:
            yield moment
        day += ONE_DAY


def _is_due_on(frequency: str, day: date) -> bool:
    return frequency == "daily" or (day.weekday() == 0 if frequency == "weekly" else day.day == 1)


def _moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)
