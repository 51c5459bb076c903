"""The report's figures as SVG, in one palette. They show what the content says; nothing is measured here.

They are drawn without pyplot, which would keep figures between reports.
"""

import io
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from assets.reports.content import Anomaly, ReportContent, Series
from assets.reports.formatting import day_name, metric_name, plain
from storage.arrays import Indices
from storage.times import EPOCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE = "#24313d", "#66727d", "#d9dfe4"
ACCENT, PALE, SIGNAL = "#2b6591", "#c4d6e4", "#c2571a"
FONTS = Path(__file__).parent / "fonts"
WIDTH, HEIGHT = 6.54, 1.95  # inches; the width is that of the text on A4
MAX_LABELS = 10
MAX_PANELS = 6


def daily_energy(content: ReportContent) -> str | None:
    """A bar per day, as SVG. None if fewer than two days have energy."""
    days = content.daily
    if sum(day.energy_kwh is not None for day in days) < 2:
        return None
    figure, (axis,) = _canvas()
    axis.bar(
        range(len(days)),
        [day.energy_kwh if day.energy_kwh is not None else math.nan for day in days],
        width=0.72 if len(days) <= 62 else 1.0,
        color=[ACCENT if day.is_whole else PALE for day in days],
    )
    step = -(-len(days) // MAX_LABELS)
    ticks = range(0, len(days), step)
    names = [day_name(days[i].day) if len(days) <= 62 else f"{days[i].day.day} {days[i].day:%b}" for i in ticks]
    axis.set_xticks(ticks, names)
    side = max(len(days), 7) / 2 + 0.1
    axis.set_xlim((len(days) - 1) / 2 - side, (len(days) - 1) / 2 + side)
    axis.tick_params(axis="x", length=0)
    _label(axis, "kWh")
    return _svg(figure)


def profile(content: ReportContent, metric: str) -> str | None:
    """One metric over the period with the anomalies shaded, as SVG. None if fewer than two windows have it."""
    series = next((s for s in content.series if s.metric == metric and _is_line(s)), None)
    if series is None:
        return None
    figure, (axis,) = _canvas()
    summary = content.metric(metric)
    _draw(axis, series, summary.band if summary else None, content)
    _mark(axis, content.anomalies, content)
    _legend(axis)
    return _svg(figure)


def other_metrics(content: ReportContent, metrics: Sequence[str]) -> str | None:
    """Small charts of further metrics above each other, at most `MAX_PANELS`, as SVG. None if there are none."""
    chosen = [s for s in content.series if s.metric in metrics and _is_line(s)][:MAX_PANELS]
    if not chosen:
        return None
    figure, axes = _canvas(len(chosen))
    for axis, series in zip(axes, chosen, strict=True):
        _draw(axis, series, None, content)
        unit = axis.get_ylabel()
        title = metric_name(series.metric).capitalize() + (f" in {unit}" if unit else "")
        axis.set_ylabel("")
        axis.set_title(title, loc="left", fontsize=7, color=MUTED, fontfamily=_family(), parse_math=False)
    return _svg(figure)


def expected_values(content: ReportContent) -> str | None:
    """Measured and expected values with the expected ranges, as SVG. None without a forecast."""
    forecast = content.forecast
    if forecast is None:
        return None
    figure, (axis,) = _canvas()
    zone = ZoneInfo(content.period.tz)
    times = [point.timestamp for point in forecast.points]
    since = times[0] - max(3 * (times[-1] - times[0]), timedelta(days=2))
    past = [point for point in forecast.history if point.timestamp >= since]
    values = [point.value for point in forecast.points] + [point.value for point in past]
    factor, unit = _multiple(forecast.unit, values)
    if past:
        axis.plot(
            _dates([p.timestamp for p in past]), [p.value / factor for p in past], color=INK, lw=0.9, label="Measured"
        )
    for low, high, colour, words in (
        ("lower", "upper", "#dbe6ee", "95 % range"),
        ("lower_80", "upper_80", PALE, "80 % range"),
    ):
        bounds = [(getattr(p, low), getattr(p, high)) for p in forecast.points]
        if all(a is not None and b is not None for a, b in bounds):
            lows, highs = ([bound[i] / factor for bound in bounds] for i in (0, 1))
            axis.fill_between(_dates(times), lows, highs, color=colour, lw=0, label=words)
    axis.plot(_dates(times), [p.value / factor for p in forecast.points], color=ACCENT, lw=1.3, label="Expected")
    axis.axvline(_dates(times[:1])[0], color=MUTED, lw=0.6, ls=(0, (3, 3)))
    _time_axis(axis, past[0].timestamp if past else times[0], times[-1], zone)
    _label(axis, unit)
    _legend(axis)
    return _svg(figure)


def _is_line(series: Series) -> bool:
    return sum(value is not None for value in series.mean) > 1


def _draw(axis: "Axes", series: Series, band: tuple[float, float] | None, content: ReportContent) -> None:
    factor, unit = _multiple(series.unit, [v for v in series.max if v is not None])
    middle = timedelta(seconds=series.window_seconds / 2)
    filled = [i for i, value in enumerate(series.mean) if value is not None]
    measured = _dates([series.start[i] + middle for i in filled])
    gaps = _gaps(measured)
    times = np.insert(np.array(measured), gaps, math.nan)
    mean, low, high = (
        np.insert([(values[i] or 0.0) / factor for i in filled], gaps, math.nan)
        for values in (series.mean, series.min, series.max)
    )
    if band is not None:
        for edge, words in zip(band, ("Nominal band", None), strict=True):
            axis.axhline(edge / factor, color=MUTED, lw=0.7, ls=(0, (4, 3)), label=words)
    if (high > low).any():
        axis.fill_between(times, low, high, color=PALE, lw=0, label="Lowest to highest")
    axis.plot(times, mean, color=ACCENT, lw=0.9, label="Mean")
    # A single window between gaps is a dot, since a line would not show it.
    padded = np.concatenate([[math.nan], mean, [math.nan]])
    alone = np.isnan(padded[:-2]) & np.isnan(padded[2:])
    axis.plot(times[alone], mean[alone], ls="", marker=".", ms=3, color=ACCENT)
    _time_axis(axis, content.period.start, content.period.end, ZoneInfo(content.period.tz))
    _label(axis, unit)


def _gaps(times: Sequence[float]) -> Indices:
    """Where the line breaks: before a time that is more than five median steps after the one before, as for energy."""
    steps = np.diff(times)
    return np.flatnonzero(steps > 5 * np.median(steps)) + 1


def _mark(axis: "Axes", anomalies: list[Anomaly], content: ReportContent) -> None:
    start, end = _dates([content.period.start, content.period.end])
    narrowest = (end - start) / 250  # narrower stripes could not be seen on paper
    for i, event in enumerate(anomalies):
        first, last = _dates([event.start, event.end])
        spread = max(narrowest - (last - first), 0) / 2
        axis.axvspan(first - spread, last + spread, color=SIGNAL, alpha=0.3, lw=0, label="Anomaly" if i == 0 else None)


def _multiple(unit: str, values: Sequence[float]) -> tuple[float, str]:
    """The divisor and the name of the unit in which the values read best."""
    largest = max((abs(value) for value in values), default=0)
    if unit == "W" and largest >= 1e6:
        return 1e6, "MW"
    return (1e3, "kW") if unit == "W" and largest >= 2e3 else (1.0, unit)


def _canvas(rows: int = 1) -> tuple["Figure", list["Axes"]]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415 - JSON and Excel need not wait 0.4 s for it
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(WIDTH, HEIGHT if rows == 1 else 1.25 * rows), layout="constrained")
    FigureCanvasSVG(figure)
    axes = list(figure.subplots(rows, 1, sharex=rows > 1, squeeze=False)[:, 0])
    for axis in axes:
        axis.tick_params(labelsize=7, colors=MUTED, labelfontfamily=_family(), length=2.5, width=0.6, color=LINE)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.spines["bottom"].set_color(LINE)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="y", color=LINE, lw=0.5)
        axis.set_axisbelow(True)
        axis.margins(y=0.08)
    return figure, axes


@cache
def _family() -> str:
    from matplotlib.font_manager import fontManager  # noqa: PLC0415

    for file in sorted(FONTS.glob("*.otf")):
        fontManager.addfont(file)
    return "Inter"


def _dates(moments: Sequence[datetime]) -> list[float]:
    """Days since 1970, in which matplotlib counts."""
    return [moment.timestamp() / 86_400 for moment in moments]


def _time_axis(axis: "Axes", start: datetime, end: datetime, zone: ZoneInfo) -> None:
    from matplotlib.dates import AutoDateLocator  # noqa: PLC0415

    axis.set_xlim(*_dates([start, end]))
    axis.xaxis.set_major_locator(AutoDateLocator(tz=zone, minticks=4, maxticks=9))
    axis.xaxis.set_major_formatter(lambda value, _: _time_label(value, end - start, zone))


def _time_label(value: float, length: timedelta, zone: ZoneInfo) -> str:
    local = (EPOCH + timedelta(days=value)).astimezone(zone)
    if length < timedelta(minutes=10):
        return f"{local:%H:%M:%S}"
    if length > timedelta(days=400):
        return f"{local:%b %Y}"
    if length > timedelta(days=20):
        return f"{local.day} {local:%b}"
    return f"{local:%H:%M}" if local.hour or local.minute else day_name(local.date())


def _label(axis: "Axes", unit: str) -> None:
    axis.set_ylabel(unit if unit not in ("", "1") else "", fontsize=7, color=MUTED, fontfamily=_family(), rotation=0)
    axis.yaxis.label.set_parse_math(False)  # a unit is any text in the device's metadata
    axis.yaxis.set_label_coords(0, 1.06)
    axis.yaxis.label.set_horizontalalignment("right")
    axis.yaxis.set_major_formatter(lambda value, _: plain(float(f"{value:.6g}")))


def _legend(axis: "Axes") -> None:
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415

    axis.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=5,
        frameon=False,
        prop=FontProperties(family=_family(), size=7),
        labelcolor=MUTED,
        handlelength=1.4,
        borderaxespad=0.1,
        columnspacing=1.4,
    )


def _svg(figure: "Figure") -> str:
    import matplotlib  # noqa: PLC0415

    sink = io.StringIO()
    # Text stays text in the document's font. A fixed salt gives equal bytes for equal input.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return sink.getvalue()
