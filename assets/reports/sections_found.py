"""The report's sections about what analyses and rules found, as Markdown."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from assets.reports import figures, markdown as md
from assets.reports.content import Analysis, Forecast, ReportContent
from assets.reports.formatting import (
    DASH,
    clock,
    count,
    duration,
    figure,
    full_clock,
    metric_name,
    percent,
    plain,
    quantity,
)

MAX_EVENTS, MAX_ALERTS, MAX_SCALARS = 20, 25, 20


def anomalies(content: ReportContent, _: Path) -> Iterator[str]:
    analysis = content.analysis("anomaly")
    if analysis is None:
        return
    yield md.heading("Unusual behaviour")
    if analysis.status == "missing":
        yield _missing(analysis, "anomaly analysis")
        return
    zone = ZoneInfo(content.period.tz)
    elsewhere = content.anomalies_outside_period
    outside = f"Not paginate: {elsewhere:,} outside the period." if elsewhere else ""
    by_whom = _by_whom("Looked for", analysis, zone)
    if content.anomalies:
        segments = count(len(content.anomalies), "segment", "segments")
        yield md.paragraph(
            by_whom,
            f"In {segments} the device did not behave as it usually does. The higher the score, the more unusual; the"
            " channel is the one that showed it most. Unusual is not yet faulty: it is where to look first.",
            outside,
        )
        yield from _events(content, zone)
    else:
        yield md.paragraph(by_whom, "Nothing unusual was found in this period.", outside)
    yield from _quality(analysis.accuracy)


def _events(content: ReportContent, zone: ZoneInfo) -> Iterator[str]:
    strongest = sorted(content.anomalies, key=lambda event: -(event.score or 0))
    rows, more = md.cut(strongest, MAX_EVENTS)
    yield md.table(
        ("Begin", "End", "Length", "Channel", "Readings", "Score"),
        [
            (
                clock(event.start, zone),
                clock(event.end, zone),
                duration((event.end - event.start).total_seconds()),
                metric_name(event.metric) if event.metric else DASH,
                DASH if event.points is None else f"{event.points:,}",
                DASH if event.score is None else figure(event.score),
            )
            for event in rows
        ],
        widths=(22, 22, 15, 17, 12, 12),
        right=(2, 4, 5),
    )
    yield more


def forecast(content: ReportContent, folder: Path) -> Iterator[str]:
    analysis, found = content.analysis("forecast"), content.forecast
    if analysis is None:
        return
    yield md.heading("What to expect")
    if found is None:
        yield _missing(analysis, "forecast")
        return
    zone = ZoneInfo(content.period.tz)
    yield md.paragraph(_by_whom("Forecast", analysis, zone), *_expected(found, zone))
    name = metric_name(found.metric)
    yield md.figure(
        figures.save(figures.forecast(content), folder, "forecast"),
        f"{name.capitalize()} as measured and as expected, with the bounds that should hold it.",
        f"Line of {name}, then its forecast between bounds.",
    )
    yield md.bullets(_accuracy(analysis.accuracy, found.unit))


def others(content: ReportContent, _: Path) -> Iterator[str]:
    """Analyses of other kinds, with the figures that their results name."""
    for analysis in content.analyses:
        if analysis.type in ("anomaly", "forecast"):
            continue
        yield md.heading(_TITLES.get(analysis.type, metric_name(analysis.type).capitalize()))
        if analysis.status == "missing":
            yield _missing(analysis, analysis.type)
            continue
        yield md.paragraph(_by_whom("Worked out", analysis, ZoneInfo(content.period.tz)))
        yield from _scalars("Result", analysis.summary)
        yield from _quality(analysis.accuracy)


_TITLES = {"prediction": "Risk of failure"}


def _missing(analysis: Analysis, name: str) -> str:
    return md.paragraph(f"There is no {name} in this report: {analysis.reason or 'its result holds nothing'}.")


def _by_whom(done: str, analysis: Analysis, zone: ZoneInfo) -> str:
    when = f" on {full_clock(analysis.completed_at, zone)}" if analysis.completed_at else ""
    return f"{done} by the model {metric_name(analysis.model or 'unnamed')}{when}."


def _expected(found: Forecast, zone: ZoneInfo) -> Iterator[str]:
    first, last = found.points[0].timestamp, found.points[-1].timestamp
    yield f"It looks ahead from {clock(first, zone)} to {clock(last, zone)}."
    if found.energy_next_24h_kwh is not None:
        yield f"In the first 24 hours {quantity(found.energy_next_24h_kwh, 'kWh')} are expected."
    highest = max(found.points, key=lambda point: point.value)
    yield f"The highest expected value is {quantity(highest.value, found.unit)} on {clock(highest.timestamp, zone)}."


def _accuracy(accuracy: Mapping[str, Any], unit: str) -> Iterator[str]:
    """The usual figures of a forecast in words; those that the result lacks are left out."""
    if isinstance(mae := accuracy.get("mae"), int | float):
        yield f"On held-back data the forecast was off by {quantity(mae, unit)} on average."
    for key, share in (("coverage_95", 95), ("coverage", 95), ("coverage_80", 80)):
        if isinstance(held := accuracy.get(key), int | float):
            yield f"The band meant to hold {share} % of values held {percent(held)}."
    beats = accuracy.get("beats_baseline")
    if beats is True:
        yield "It is better than simply repeating what was measured one season before."
    elif beats is False:
        yield "It is no better than simply repeating what was measured one season before: plan with care."


def _quality(accuracy: Mapping[str, Any]) -> Iterator[str]:
    known = {key for key, value in accuracy.items() if value is not None}
    if known == {"reason"}:
        yield md.paragraph(f"How good the model is cannot be told: {accuracy['reason']}.")
    else:
        yield from _scalars("What is known of the model", accuracy)


def _scalars(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    """What a result names and knows: null and lists are left to JSON."""
    rows = [(name.capitalize(), value) for name, value in _flat(values)]
    if not rows:
        return
    yield md.heading(title, 2)
    shown, more = md.cut(rows, MAX_SCALARS)
    yield md.table(("Figure", "Value"), shown, widths=(45, 55))
    yield more


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{before}{metric_name(str(key))}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}, ")
        elif isinstance(value, bool):
            yield name, "yes" if value else "no"
        elif isinstance(value, int | float):
            yield name, plain(value) if isinstance(value, int) else figure(value)
        elif isinstance(value, str):
            yield name, value


def alerts(content: ReportContent, _: Path) -> Iterator[str]:
    yield md.heading("Alerts")
    if not content.alerts:
        yield md.paragraph("No rule raised an alert in this period.")
        return
    zone = ZoneInfo(content.period.tz)
    rows, more = md.cut(content.alerts, MAX_ALERTS, content.alerts_total)
    yield md.table(
        ("Time", "Severity", "Rule", "Message", "State"),
        [
            (
                clock(alert.time, zone) if alert.time else DASH,
                alert.severity,
                md.shorten(alert.rule or DASH, 60),
                md.shorten(alert.message.removeprefix(f"Device {content.device.id}: "), 160),
                alert.status,
            )
            for alert in rows
        ],
        widths=(19, 9, 19, 38, 15),
    )
    yield more
