"""Numbers, times and names in the words of a report."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from assets.reports.content import Kpi, Period

# A unit stays with its number: U+00A0 between them.
SPACE = "\u00a0"
DASH = "\u2013"
# Key figures that are a share of one.
SHARES = ("voltage_outside_band", "completeness")
_SCALES = {
    "W": ((1e6, "MW"), (1e3, "kW"), (1.0, "W")),
    "kWh": ((1e4, "MWh"), (1.0, "kWh")),
}


def figure(value: float) -> str:
    """A measured number with as many digits as a person needs."""
    size = abs(value)
    digits = 0 if size >= 1000 or size == 0 else 1 if size >= 10 else 2 if size >= 1 else 3
    return _signed(f"{value:,.{digits}f}" if size >= 0.001 or size == 0 else f"{value:.2g}")


def plain(value: float) -> str:
    """A number that people set or counted, such as a limit, as they would write it."""
    return _signed(f"{value:,.10g}")


def _signed(written: str) -> str:
    return written.replace("-", "\u2212")


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit, power and energy in the multiple that suits them; `1` is no unit."""
    if value is None:
        return DASH
    if unit in _SCALES:
        factor, unit = next((f, u) for f, u in _SCALES[unit] if abs(value) >= f or f == 1.0)
        value = value / (1000.0 if unit == "MWh" else factor)
    return figure(value) + (SPACE + unit if unit not in ("", "1") else "")


def percent(share: float | None) -> str:
    """A share of one in percent; what is not quite all is never written as all."""
    if share is None:
        return DASH
    shown = round(share * 100, 1)
    if share < 1 and shown == 100:
        shown = 99.9
    if share > 0 and shown == 0:
        return f"under 0.1{SPACE}%"
    return f"{shown:.1f}".removesuffix(".0") + f"{SPACE}%"


def kpi_value(kpi: Kpi) -> str:
    """A key figure as it is read."""
    if kpi.value is None:
        return DASH
    if kpi.key in SHARES:
        return percent(kpi.value)
    if kpi.key == "load_factor":
        return f"{kpi.value:.2f}"
    if kpi.unit == "V":
        return f"{kpi.value:.1f}{SPACE}V"
    return quantity(kpi.value, kpi.unit)


def duration(seconds: float) -> str:
    """A length of time in its two largest units, rounded to the smaller one."""
    exact = round(seconds, 1)
    if exact < 60:
        return f"{plain(exact)}{SPACE}s"
    smaller = next(part for size, part in ((86_400, 3600), (3600, 60), (60, 1)) if exact >= size)
    left, words = round(exact / smaller) * smaller, []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            words.append(f"{number:,}{SPACE}{unit}")
    return " ".join(words)


def count(number: int, thing: str, things: str | None = None) -> str:
    """How many there are of a thing."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def day_name(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"


def clock(moment: datetime, zone: ZoneInfo) -> str:
    """A moment by the wall clock of the zone, without its year."""
    local = moment.astimezone(zone)
    return f"{day_name(local.date())}, {local:%H:%M}"


def full_clock(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{local.day} {local:%b %Y, %H:%M}"


def period_words(period: Period) -> str:
    """The period by the zone's wall clock; whole days without hours."""
    zone = ZoneInfo(period.tz)
    # An end of 23:59:59 is how people write a day's end.
    start, end = period.start.astimezone(zone), (period.end + timedelta(seconds=1)).astimezone(zone)
    if f"{start:%H%M%S}" == "000000" and f"{end:%H%M}" == "0000":
        last = end.date() - timedelta(days=1)
        if start.date() == last:
            return f"{start.day} {start:%B %Y}"
        month, year = "" if start.month == last.month else f" {start:%B}", f" {start.year}"
        same_year = start.year == last.year
        begin = f"{start.day}{month}" if same_year else f"{start.day} {start:%B}{year}"
        return f"{begin} {DASH} {last.day} {last:%B %Y}"
    return f"{full_clock(period.start, zone)} {DASH} {full_clock(period.end, zone)}"


def zone_words(period: Period) -> str:
    """The zone with the offsets that hold at the period's ends."""
    zone = ZoneInfo(period.tz)
    offsets = {_offset(moment.astimezone(zone)) for moment in (period.start, period.end)}
    written = " and ".join(sorted(offsets))
    return period.tz if period.tz == written else f"{period.tz} ({written})"


def _offset(local: datetime) -> str:
    hours, minutes = f"{local:%z}"[:3], f"{local:%z}"[3:5]
    return "UTC" if hours + minutes == "+0000" else f"UTC{hours}" + ("" if minutes == "00" else f":{minutes}")


def metric_name(metric: str) -> str:
    """A metric's name for people."""
    return metric.replace("_", " ")
