"""How a report writes numbers, times and names. The template has these functions as its filters."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from assets.reports.content import Kpi, Period

# A unit stays with its number: U+00A0 between them.
SPACE = "\u00a0"
DASH = "\u2013"
# Key figures that are a share from 0 to 1.
SHARES = ("voltage_outside_band", "completeness")
_SCALES = {
    "W": ((1e6, "MW"), (1e3, "kW"), (1.0, "W")),
    "kWh": ((1e4, "MWh"), (1.0, "kWh")),
}


def figure(value: float | None) -> str:
    """A measured number, with as many digits as a person needs. None is a dash."""
    if value is None:
        return DASH
    size = abs(value)
    digits = 0 if size >= 1000 or size == 0 else 1 if size >= 10 else 2 if size >= 1 else 3
    return _signed(f"{value:,.{digits}f}" if size >= 0.001 or size == 0 else f"{value:.2g}")


def plain(value: float | None) -> str:
    """A number that people set or counted, such as a limit, as they would write it. None is a dash."""
    if value is None:
        return DASH
    return _signed(f"{value:,.10g}")


def _signed(written: str) -> str:
    return written.replace("-", "\u2212")


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit. W and kWh take the multiple that suits the value; the unit `1` is left out."""
    if value is None:
        return DASH
    if unit in _SCALES:
        factor, unit = next((f, u) for f, u in _SCALES[unit] if abs(value) >= f or f == 1.0)
        value = value / (1000.0 if unit == "MWh" else factor)
    return figure(value) + (SPACE + unit if unit not in ("", "1") else "")


def percent(share: float | None) -> str:
    """A share (0 to 1) in percent. A share just below one is never rounded up to 100 %."""
    if share is None:
        return DASH
    shown = round(share * 100, 1)
    if share < 1 and shown == 100:
        shown = 99.9
    if share > 0 and shown == 0:
        return f"under 0.1{SPACE}%"
    return f"{shown:.1f}".removesuffix(".0") + f"{SPACE}%"


def kpi_value(kpi: Kpi) -> str:
    """The value of a key figure with its unit."""
    if kpi.value is None:
        return DASH
    if kpi.key in SHARES:
        return percent(kpi.value)
    if kpi.key == "load_factor":
        return _signed(f"{kpi.value:.2f}")
    if kpi.unit == "V":
        return f"{kpi.value:.1f}{SPACE}V"
    return quantity(kpi.value, kpi.unit)


def duration(seconds: float) -> str:
    """A length of time in its two largest units, rounded to the smaller one."""
    exact = round(seconds, 1)
    if exact < 60:
        return f"{plain(exact)}{SPACE}s"
    smaller = next(part for size, part in ((86_400, 3600), (3600, 60), (60, 1)) if exact >= size)
    rest, words = round(exact / smaller) * smaller, []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        if number:
            words.append(f"{number:,}{SPACE}{unit}")
    return " ".join(words)


def interval(seconds: float) -> str:
    """A length of time as it stands after "every": `minute`, `15 min`."""
    one: dict[float, str] = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}
    return one.get(round(seconds, 1)) or duration(seconds)


def count(number: int, thing: str, things: str | None = None) -> str:
    """The number with the noun in its singular or plural."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def tally(counts: Mapping[str, int]) -> str:
    """The numbers by name, such as `5 high, 2 low`."""
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())


def day_name(day: date) -> str:
    """A day without its year, such as `Sat 23 Dec`."""
    return f"{day:%a} {day.day} {day:%b}"


def month_name(day: date) -> str:
    """The month of a day, such as `December 2006`."""
    return f"{day:%B %Y}"


def clock(moment: datetime | None, zone: ZoneInfo) -> str:
    """A time on the zone's wall clock without its year, such as `Sat 23 Dec, 23:36`. None is a dash."""
    if moment is None:
        return DASH
    local = moment.astimezone(zone)
    return f"{day_name(local.date())}, {local:%H:%M}"


def date_time(moment: datetime, zone: ZoneInfo) -> str:
    """A time on the zone's wall clock, such as `23 Dec 2006, 23:36`."""
    local = moment.astimezone(zone)
    return f"{local.day} {local:%b %Y, %H:%M}"


def period_words(period: Period) -> str:
    """The period on the zone's wall clock; whole days are written without hours."""
    zone = ZoneInfo(period.tz)
    # People write 23:59:59 for the end of a day.
    start, end = period.start.astimezone(zone), (period.end + timedelta(seconds=1)).astimezone(zone)
    if f"{start:%H%M%S}" == "000000" and f"{end:%H%M}" == "0000":
        last = end.date() - timedelta(days=1)
        if start.date() == last:
            return f"{start.day} {start:%B %Y}"
        month, year = "" if start.month == last.month else f" {start:%B}", f" {start.year}"
        same_year = start.year == last.year
        begin = f"{start.day}{month}" if same_year else f"{start.day} {start:%B}{year}"
        return f"{begin} {DASH} {last.day} {last:%B %Y}"
    return f"{date_time(period.start, zone)} {DASH} {date_time(period.end, zone)}"


def zone_words(period: Period) -> str:
    """The time zone with its offsets at the start and the end of the period."""
    zone = ZoneInfo(period.tz)
    offsets = {_offset(moment.astimezone(zone)) for moment in (period.start, period.end)}
    names = " and ".join(sorted(offsets))
    return period.tz if period.tz == names else f"{period.tz} ({names})"


def _offset(local: datetime) -> str:
    hours, minutes = f"{local:%z}"[:3], f"{local:%z}"[3:5]
    return "UTC" if hours + minutes == "+0000" else f"UTC{hours}" + ("" if minutes == "00" else f":{minutes}")


def metric_name(metric: str | None) -> str:
    """A metric's name for people. None is a dash."""
    return DASH if metric is None else metric.replace("_", " ")
