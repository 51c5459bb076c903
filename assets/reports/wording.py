"""Numbers, times and findings in the words of a report."""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from assets.reports.content import Day, Kpi, Period, ReportContent

# A unit stays with its number: U+00A0 between them.
SPACE = "\u00a0"
DASH = "\u2013"
SEVERITIES = ("critical", "high", "medium", "low")
# Of how many hours and how completely a day must be measured to be called the highest or the lowest.
COMPARABLE = 0.9
_SCALES = {
    "W": ((1e6, "MW"), (1e3, "kW"), (1.0, "W")),
    "kWh": ((1e4, "MWh"), (1.0, "kWh")),
}


def figure(value: float) -> str:
    """A number with as many digits as a person needs."""
    size = abs(value)
    digits = 0 if size >= 1000 or value == int(value) else 1 if size >= 10 else 2 if size >= 1 else 3
    written = f"{value:,.{digits}f}" if size >= 0.001 or value == 0 else f"{value:.2g}"
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
    if kpi.key in ("voltage_outside_band", "completeness"):
        return percent(kpi.value)
    if kpi.key == "load_factor":
        return f"{kpi.value:.2f}"
    if kpi.unit == "V":
        return f"{kpi.value:.1f}{SPACE}V"
    return quantity(kpi.value, kpi.unit)


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    if seconds < 60:
        return f"{figure(round(seconds, 1))}{SPACE}s"
    parts = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    left, words = round(seconds), []
    for unit, size in parts:
        count, left = divmod(left, size)
        if count:
            words.append(f"{count}{SPACE}{unit}")
        if words and (len(words) == 2 or not count):
            break
    return " ".join(words)


def count(number: int, thing: str) -> str:
    """How many there are of a thing."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


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


def energy_rule(source: str | None) -> str:
    """How the energy was worked out."""
    if source is None:
        return "No energy: the device sent neither power nor an energy register that could be read twice."
    if source.startswith("counter:"):
        return (
            f"Energy is the sum of the rises of the register {source.removeprefix('counter:')}, gaps included; a fall"
            " counts as a rollover at the register's declared size, else as a restart from zero."
        )
    return (
        "Energy is the time-weighted integral of power (trapezoids between neighbouring readings). Where readings are"
        " further apart than five times their median interval, and at least 5 minutes, nothing is assumed: that time"
        " counts neither as use nor as rest."
    )


def highlights(content: ReportContent) -> Iterator[str]:
    """The report in a few sentences, the weightiest first."""
    zone = ZoneInfo(content.period.tz)
    if not content.data_quality.readings:
        yield f"No readings of this device arrived in the period. {_about_alerts(content)}"
        return
    yield from _about_energy(content, zone)
    yield from _about_voltage(content)
    yield _about_alerts(content)
    yield from _about_anomalies(content, zone)
    if content.forecast and content.forecast.energy_next_24h_kwh is not None:
        start = clock(content.forecast.points[0].timestamp, zone)
        expected = quantity(content.forecast.energy_next_24h_kwh, "kWh")
        yield f"Expected in the 24 hours from {start}: {expected}."
    yield _about_data(content, zone)


def _about_energy(content: ReportContent, zone: ZoneInfo) -> Iterator[str]:
    energy, mean, peak = (content.kpi(key) for key in ("energy", "mean_power", "peak_power"))
    if energy.value is None:
        yield f"Energy is not known: {energy.note}."
        return
    covered = duration(sum(day.covered_hours for day in content.daily) * 3600)
    on_average = f", on average {kpi_value(mean)}" if mean.value is not None else ""
    yield f"The device used {kpi_value(energy)} in {covered} of measured time{on_average}."
    days = [day for day in content.daily if _comparable(day)]
    if len(days) > 2:
        most, least = max(days, key=_kwh), min(days, key=_kwh)
        yield (
            f"The highest day was {day_name(most.day)} with {quantity(most.energy_kwh, 'kWh')},"
            f" the lowest {day_name(least.day)} with {quantity(least.energy_kwh, 'kWh')}."
        )
    if peak.at is not None:
        demand = content.kpi("peak_demand_15min")
        quarter = (
            f"; the highest quarter hour drew {kpi_value(demand)} from {clock(demand.at, zone)}" if demand.at else ""
        )
        yield f"Power was highest on {clock(peak.at, zone)} with {kpi_value(peak)}{quarter}."


def _comparable(day: Day) -> bool:
    return day.energy_kwh is not None and day.hours > 22 and day.covered_hours >= COMPARABLE * day.hours


def _kwh(day: Day) -> float:
    return day.energy_kwh if day.energy_kwh is not None else math.nan


def _about_voltage(content: ReportContent) -> Iterator[str]:
    low, high, outside = (content.kpi(f"voltage_{key}") for key in ("min", "max", "outside_band"))
    if low.value is None:
        return
    said = f"Voltage lay between {kpi_value(low)} and {kpi_value(high)}"
    band = next((m.band for m in content.metrics if m.metric == "voltage"), None)
    if outside.value is None or band is None:
        yield f"{said}."
        return
    share = "always" if outside.value == 0 else f"except for {percent(outside.value)} of readings"
    yield f"{said}, {share} within its band of {figure(band[0])} to {figure(band[1])}{SPACE}V."


def _about_alerts(content: ReportContent) -> str:
    if not content.alerts:
        return "No alert was raised."
    open_ones = sum(alert.status == "open" for alert in content.alerts)
    raised = f"{count(len(content.alerts), 'alert')} {'was' if len(content.alerts) == 1 else 'were'} raised"
    still = f"{open_ones:,} still open" if open_ones else "none is open any more"
    return f"{raised} ({severities(content)}); {still}."


def severities(content: ReportContent) -> str:
    """How many alerts there are of each severity, the worst first."""
    counted = Counter(alert.severity for alert in content.alerts)
    order = [*(s for s in SEVERITIES if s in counted), *sorted(set(counted) - set(SEVERITIES))]
    return ", ".join(f"{counted[severity]:,} {severity}" for severity in order)


def _about_anomalies(content: ReportContent, zone: ZoneInfo) -> Iterator[str]:
    analysis = content.analysis("anomaly")
    if analysis is None or analysis.status == "missing":
        return
    if not content.anomalies:
        yield "The anomaly analysis found nothing unusual."
        return
    found = "one stretch" if len(content.anomalies) == 1 else f"{len(content.anomalies):,} stretches"
    strongest = max(content.anomalies, key=lambda event: event.score or 0)
    channel = f", in {metric_name(strongest.metric)}" if strongest.metric else ""
    yield (
        f"The anomaly analysis found {found} of unusual behaviour;"
        f" the strongest began on {clock(strongest.start, zone)}{channel}."
    )


def _about_data(content: ReportContent, zone: ZoneInfo) -> str:
    quality = content.data_quality
    said = f"Readings cover {percent(quality.completeness)} of the period" if quality.completeness is not None else (
        f"The period holds {count(quality.readings, 'reading')}"
    )  # fmt: skip
    if not quality.gaps:
        return f"{said}, without a longer gap." if quality.completeness is not None else f"{said}."
    gap = quality.gaps[0]
    return f"{said}; the longest gap lasted {duration(gap.seconds)} from {clock(gap.start, zone)}."


def metric_name(metric: str) -> str:
    """A metric's name for people."""
    return metric.replace("_", " ")
