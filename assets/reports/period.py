"""The period that a report may have."""

from datetime import datetime, timedelta

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
