"""The report's figures as SVG, in one palette. They show what the content says; nothing is measured here."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from assets.reports.analysed import Anomaly
from assets.reports.canvas import A4, Pen, dates, family, multiple, svg
from assets.reports.content import MetricSummary, ReportContent, Series
from storage.arrays import Indices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_PANELS = 3


def energy_bars(content: ReportContent, pen: Pen) -> str | None:
    """A bar per day, week or month, what is fed in below zero, as SVG. None if fewer than two of them have energy."""
    rows, colours = content.energy_by.rows, pen.colours
    if sum(row.energy_kwh is not None for row in rows) < 2:
        return None
    figure, (axis,) = pen.canvas()
    axis.bar(
        range(len(rows)),
        [row.energy_kwh - row.doubtful_kwh if row.energy_kwh is not None else math.nan for row in rows],
        width=0.72,
        color=[colours["accent"] if row.is_whole else colours["pale"] for row in rows],
    )
    if any(row.doubtful_kwh for row in rows):
        mark_doubtful(axis, [(row.energy_kwh or 0.0, row.doubtful_kwh) for row in rows], pen)
    fed = [row.energy_export_kwh or 0.0 for row in rows]
    if any(fed):
        # Hatched, so that it is told from what is taken in grey too.
        axis.containers[0].set_label(pen.language.say("figure.taken"))
        axis.bar(
            range(len(rows)), [-kwh for kwh in fed], width=0.72, color=colours["paler"], edgecolor=colours["accent"],
            hatch="////", lw=0.6, label=pen.language.say("figure.fed_in"),
        )  # fmt: skip
        axis.axhline(0, color=colours["muted"], lw=0.6)
        pen.legend(axis)
    zone = ZoneInfo(content.period.tz)
    is_month = content.energy_by.unit == "month"
    pattern = "month_name" if is_month else "day" if pen.paper is A4 and content.energy_by.unit == "day" else "short"
    most = 12 if is_month else pen.paper.labels
    ticks = range(0, len(rows), -(-len(rows) // most))
    axis.set_xticks(ticks, [pen.language.dated(rows[i].start.astimezone(zone).date(), pattern) for i in ticks])
    side = max(len(rows), 7) / 2 + 0.1
    axis.set_xlim((len(rows) - 1) / 2 - side, (len(rows) - 1) / 2 + side)
    axis.tick_params(axis="x", length=0)
    pen.label(axis, "kWh")
    return svg(figure)


def mark_doubtful(axis: "Axes", energies: Sequence[tuple[float, float]], pen: Pen) -> None:
    """Draw above each bar, hatched, the part of the energy that stands for readings that may be wrong."""
    shown = [(i, energy, doubtful) for i, (energy, doubtful) in enumerate(energies) if doubtful]
    axis.bar(
        [i for i, _, _ in shown], [doubtful for _, _, doubtful in shown], width=0.72, color="none", hatch="////",
        lw=0.6, bottom=[energy - doubtful for _, energy, doubtful in shown], edgecolor=pen.colours["signal"],
    )  # fmt: skip


def profile(content: ReportContent, metric: str, pen: Pen) -> str | None:
    """One metric over the period with anomalies and alerts, as SVG. None if fewer than two windows have it."""
    series = next((s for s in content.series if s.metric == metric and _is_line(s)), None)
    if series is None:
        return None
    figure, (axis,) = pen.canvas()
    summary = content.metric(metric)
    _draw(axis, series, summary, content, pen)
    _mark(axis, content.anomalies, content, pen)
    _mark_alerts(axis, [alert.time for alert in content.alerts if metric in ("power", alert.metric)], pen)
    pen.legend(axis)
    return svg(figure)


def other_metrics(content: ReportContent, metrics: Sequence[str], pen: Pen) -> str | None:
    """Small charts of further metrics above each other, at most `MAX_PANELS`, as SVG. None if there are none."""
    chosen = [s for s in content.series if s.metric in metrics and _is_line(s)][:MAX_PANELS]
    if not chosen:
        return None
    figure, axes = pen.canvas(len(chosen), pen.paper.panel_height * len(chosen), shares_time=True)
    for axis, series in zip(axes, chosen, strict=True):
        _draw(axis, series, None, content, pen)
        unit = axis.get_ylabel()
        metric = pen.language.title(series.metric)
        title = pen.language.say("figure.titled", metric=metric, unit=unit) if unit else metric
        axis.set_ylabel("")
        axis.set_title(
            title,
            loc="left",
            fontsize=pen.paper.letters,
            color=pen.colours["muted"],
            fontfamily=family(),
            parse_math=False,
        )
    return svg(figure)


def expected_values(content: ReportContent, pen: Pen) -> str | None:
    """Measured and expected values with the expected ranges, as SVG. None without a forecast."""
    forecast = content.forecast
    if forecast is None:
        return None
    figure, (axis,) = pen.canvas()
    colours, say = pen.colours, pen.language.say
    zone = ZoneInfo(content.period.tz)
    times = [point.timestamp for point in forecast.points]
    since = times[0] - max(3 * (times[-1] - times[0]), timedelta(days=2))
    past = [point for point in forecast.history if point.timestamp >= since]
    values = [point.value for point in forecast.points] + [point.value for point in past]
    factor, unit = multiple(forecast.unit, values)
    if past:
        axis.plot(
            dates([p.timestamp for p in past]),
            [p.value / factor for p in past],
            color=colours["ink"],
            lw=0.9,
            label=say("figure.measured"),
        )
    for low, high, colour, words in (
        ("lower", "upper", "paler", "figure.range_95"),
        ("lower_80", "upper_80", "pale", "figure.range_80"),
    ):
        bounds = [(getattr(p, low), getattr(p, high)) for p in forecast.points]
        if all(a is not None and b is not None for a, b in bounds):
            lows, highs = ([bound[i] / factor for bound in bounds] for i in (0, 1))
            axis.fill_between(dates(times), lows, highs, color=colours[colour], lw=0, label=say(words))
    axis.plot(
        dates(times),
        [p.value / factor for p in forecast.points],
        color=colours["accent"],
        lw=1.3,
        label=say("figure.expected"),
    )
    axis.axvline(dates(times[:1])[0], color=colours["muted"], lw=0.6, ls=(0, (3, 3)))
    pen.time_axis(axis, past[0].timestamp if past else times[0], times[-1], zone)
    pen.label(axis, unit)
    pen.legend(axis)
    return svg(figure)


def _is_line(series: Series) -> bool:
    return sum(value is not None for value in series.mean) > 1


def _draw(axis: "Axes", series: Series, summary: MetricSummary | None, content: ReportContent, pen: Pen) -> None:
    colours, say = pen.colours, pen.language.say
    factor, unit = multiple(series.unit, [v for v in series.max if v is not None])
    middle = timedelta(seconds=series.window_seconds / 2)
    filled = [i for i, value in enumerate(series.mean) if value is not None]
    measured = dates([series.start[i] + middle for i in filled])
    gaps = _gaps(measured)
    times = np.insert(np.array(measured), gaps, math.nan)
    mean, low, high = (
        np.insert([(values[i] or 0.0) / factor for i in filled], gaps, math.nan)
        for values in (series.mean, series.min, series.max)
    )
    # The platform's usual bands suit a small device. Only that of the voltage, which is the grid's, suits all.
    band, is_own = (summary.judged_by, summary.band_source == "device") if summary else (None, False)
    if band and (is_own or series.metric == "voltage"):
        label = say("figure.band" if is_own else "figure.usual_band")
        for edge, words in zip(band, (label, None), strict=True):
            axis.axhline(edge / factor, color=colours["muted"], lw=0.7, ls=(0, (4, 3)), label=words)
    if (high > low).any():
        axis.fill_between(times, low, high, color=colours["pale"], lw=0, label=say("figure.range"))
    axis.plot(times, mean, color=colours["accent"], lw=0.9, label=say("figure.mean"))
    # A single window between gaps is a dot, since a line would not show it.
    padded = np.concatenate([[math.nan], mean, [math.nan]])
    alone = np.isnan(padded[:-2]) & np.isnan(padded[2:])
    axis.plot(times[alone], mean[alone], ls="", marker=".", ms=3, color=colours["accent"])
    pen.time_axis(axis, content.period.start, content.period.end, ZoneInfo(content.period.tz))
    pen.label(axis, unit)


def _gaps(times: Sequence[float]) -> Indices:
    """Where the line breaks: before a time that is more than five median steps after the one before, as for energy."""
    steps = np.diff(times)
    return np.flatnonzero(steps > 5 * np.median(steps)) + 1


def _mark(axis: "Axes", anomalies: list[Anomaly], content: ReportContent, pen: Pen) -> None:
    start, end = dates([content.period.start, content.period.end])
    narrowest = (end - start) / 250  # narrower stripes could not be seen on paper
    signal = pen.colours["signal"]
    for i, event in enumerate(anomalies):
        first, last = dates([event.start, event.end])
        spread = max(narrowest - (last - first), 0) / 2
        label = pen.language.say("figure.anomaly") if i == 0 else None
        # Hatched, so that it is told from the range of the readings in grey too.
        axis.axvspan(
            first - spread, last + spread, facecolor=(signal, 0.25), edgecolor=(signal, 0.8), hatch="//////", lw=0,
            label=label,
        )  # fmt: skip


def _mark_alerts(axis: "Axes", times: Sequence[datetime | None], pen: Pen) -> None:
    """A triangle above the curve for each alert; those that lie on one another are one."""
    left, right = axis.get_xlim()
    inside = [date for date in dates([time for time in times if time]) if left <= date <= right]
    at = {round((date - left) / (right - left) * 300): date for date in inside}
    if at:
        axis.plot(
            list(at.values()), [1.0] * len(at), ls="", marker="v", ms=4, color=pen.colours["ink"], clip_on=False,
            transform=axis.get_xaxis_transform(), label=pen.language.say("figure.alert"),
        )  # fmt: skip
