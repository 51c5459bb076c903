"""The report in a few sentences."""

import math
from collections import Counter
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from assets.reports.content import Day, ReportContent
from assets.reports.formatting import (
    SPACE,
    clock,
    count,
    day_name,
    duration,
    kpi_value,
    metric_name,
    percent,
    plain,
    quantity,
)

SEVERITIES = ("critical", "high", "medium", "low")


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
    days = [day for day in content.daily if day.is_whole]
    if len(days) > 2:
        most, least = max(days, key=_kwh), min(days, key=_kwh)
        yield (
            f"The highest day was {day_name(most.day)} with {quantity(most.energy_kwh, 'kWh')},"
            f" the lowest {day_name(least.day)} with {quantity(least.energy_kwh, 'kWh')}."
        )
    if peak.at is not None:
        demand = content.kpi("peak_demand_15min")
        quarter = (
            f"; the highest quarter hour, from {clock(demand.at, zone)}, drew {kpi_value(demand)}" if demand.at else ""
        )
        yield f"Power was highest on {clock(peak.at, zone)} with {kpi_value(peak)}{quarter}."


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
    yield f"{said}, {share} within its band of {plain(band[0])} to {plain(band[1])}{SPACE}V."


def _about_alerts(content: ReportContent) -> str:
    if not content.alerts:
        return "No alert was raised."
    total, paginate = content.alerts_total, len(content.alerts)
    raised = f"{count(total, 'alert')} {'was' if total == 1 else 'were'} raised"
    if total > paginate:
        raised += f"; of the newest {paginate:,}"
    open_ones = sum(alert.status == "open" for alert in content.alerts)
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
    found = count(len(content.anomalies), "segment", "segments")
    which = "it" if len(content.anomalies) == 1 else "the strongest"
    strongest = max(content.anomalies, key=lambda event: event.score or 0)
    channel = f", in {metric_name(strongest.metric)}" if strongest.metric else ""
    yield (
        f"The anomaly analysis found {found} of unusual behaviour;"
        f" {which} began on {clock(strongest.start, zone)}{channel}."
    )


def _about_data(content: ReportContent, zone: ZoneInfo) -> str:
    quality = content.data_quality
    if quality.completeness is None:
        return f"The period holds {count(quality.readings, 'reading')}."
    said = f"Readings cover {percent(quality.completeness)} of the period"
    if not quality.gaps:
        return f"{said}, without a longer gap."
    gap = quality.gaps[0]
    return f"{said}; the longest gap lasted {duration(gap.seconds)} from {clock(gap.start, zone)}."
