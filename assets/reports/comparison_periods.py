"""The periods that a report's period is compared with."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from storage.times import midnight

Basis = Literal["period_before", "year_before"]
ONE_DAY = timedelta(days=1)


def earlier_periods(start: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[Basis, datetime, datetime]]:
    """The period before, and the same one a year before, half-open and in UTC.

    Before whole calendar months are as many months, before whole days as many days, else as much time.
    """
    first, last = start.astimezone(zone), end.astimezone(zone)
    before: tuple[datetime, datetime]
    if not (_is_midnight(first) and _is_midnight(last)):
        before = (start - (end - start), start)
    elif first.day == 1 and last.day == 1:
        months = (last.year - first.year) * 12 + last.month - first.month
        before = (midnight(_months_before(first.date(), months), zone), start)
    else:
        before = (midnight(first.date() - (last.date() - first.date()), zone), start)
    year = tuple(_year_before(moment, zone) for moment in (first, last))
    found: list[tuple[Basis, datetime, datetime]] = [("period_before", *before)]
    if year[0] != before[0] and year[0] < year[1]:
        found.append(("year_before", year[0], year[1]))
    return [(basis, since.astimezone(UTC), until.astimezone(UTC)) for basis, since, until in found]


def _is_midnight(local: datetime) -> bool:
    return local.time() == time()


def _months_before(day: date, months: int) -> date:
    count = day.year * 12 + day.month - 1 - months
    return day.replace(year=count // 12, month=count % 12 + 1)


def _year_before(local: datetime, zone: ZoneInfo) -> datetime:
    day = local.date()
    # The 29th of February has no day a year before; what follows it has.
    before = day.replace(year=day.year - 1) if (day.month, day.day) != (2, 29) else date(day.year - 1, 3, 1)
    return datetime.combine(before, local.time(), zone)
