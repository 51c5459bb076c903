"""The period that a report may have, its days, and the name of a report's file, which tells device and period."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from assets.reports.errors import ReportError
from storage.times import utc_now

MAX_PERIOD = timedelta(days=366)


class WrongPeriod(ReportError):
    """A report cannot have the period; `field` is the end of it that is wrong."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def check_period(start: datetime, end: datetime) -> None:
    """Check a report's period.

    Raises:
        WrongPeriod: it is reversed, empty or too long, or begins in the future.

    """
    if start >= end:
        raise WrongPeriod("date_range_start is not before date_range_end", "date_range_start")
    if start > utc_now():
        raise WrongPeriod("date_range_start is in the future", "date_range_start")
    if end - start > MAX_PERIOD:
        raise WrongPeriod(f"the range is longer than {MAX_PERIOD.days} days, the limit of a report", "date_range_end")


def midnights(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """The start of a period, each midnight of the time zone within it, and its end, in UTC."""
    yield start.astimezone(UTC)
    day = start.astimezone(zone).date()
    while True:
        day += timedelta(days=1)
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        if midnight >= end:
            break
        yield midnight
    yield end.astimezone(UTC)


def file_name(subject: str, start: datetime, end: datetime, zone: ZoneInfo, suffix: str) -> str:
    """The name of a report's file, such as `COMPRESSOR-1_2026-10-01_2026-10-31.pdf`, with its first and last day."""
    first, last = start.astimezone(zone).date(), (end - timedelta(microseconds=1)).astimezone(zone).date()
    return f"{subject}_{first}_{last}.{suffix}"
