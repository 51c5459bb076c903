"""The figure of a report's load as SVG: its mean by weekday and hour, and its duration curve."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from assets.reports.canvas import A4, Pen, family, multiple, svg
from assets.reports.content import ReportContent
from storage.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MONDAY = date(2024, 1, 1)
# With fewer quarter hours, neither a curve nor a week can be seen.
MIN_QUARTER_HOURS = 96


def load_figure(content: ReportContent, pen: Pen) -> str | None:
    """The mean load of each hour of each weekday, and the load that a share of the time exceeds, as SVG.

    None for less than a day of quarter hours.
    """
    load = content.load
    if load is None or load.quarter_hours < MIN_QUARTER_HOURS:
        return None
    if pen.paper is A4:
        figure, (week, curve) = pen.canvas(height=pen.paper.height, widths=(3, 2))
    else:
        figure, (week, curve) = pen.canvas(2, pen.paper.height * 1.9)
    factor, unit = multiple("W", load.duration_curve_w)
    means = [[np.nan if value is None else value / factor for value in day] for day in load.by_hour_w]
    _draw_week(figure, week, np.array(means), unit, pen)
    _draw_curve(curve, np.array(load.duration_curve_w) / factor, unit, pen)
    return svg(figure)


def _draw_week(figure: "Figure", axis: "Axes", means: Floats, unit: str, pen: Pen) -> None:
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 - JSON need not wait for it

    colours = pen.colours
    shades = LinearSegmentedColormap.from_list("load", [colours["wash"], colours["accent"], colours["ink"]])
    axis.grid(visible=False)
    axis.patch.set(hatch="////", edgecolor=colours["line"])
    axis.margins(0)
    bottom, top = min(0.0, float(np.nanmin(means))), max(float(np.nanmax(means)), 1e-9)
    measured = np.ma.masked_invalid(means)
    cells = axis.pcolormesh(
        np.arange(25), np.arange(8), measured, cmap=shades, vmin=bottom, vmax=top, edgecolors="face"
    )
    axis.set_ylim(7, 0)
    axis.set_yticks(
        np.arange(7) + 0.5, [pen.language.dated(MONDAY + timedelta(days=day), "weekday") for day in range(7)]
    )
    axis.set_xticks(range(0, 25, 6))
    axis.spines["bottom"].set_visible(False)
    bar = figure.colorbar(cells, ax=axis, pad=0.015, aspect=18)
    bar.outline.set_visible(False)
    letters = {"fontsize": pen.paper.letters, "color": colours["muted"], "fontfamily": family()}
    bar.ax.tick_params(labelsize=pen.paper.letters, colors=colours["muted"], labelfontfamily=family(), length=0)
    bar.ax.set_title(unit, **letters)
    bar.ax.yaxis.set_major_formatter(lambda value, _: pen.language.plain(float(f"{value:.6g}")))
    axis.set_xlabel(pen.language.say("load.hour"), **letters)


def _draw_curve(axis: "Axes", watts: Floats, unit: str, pen: Pen) -> None:
    axis.fill_between(range(len(watts)), watts, color=pen.colours["paler"], lw=0)
    axis.plot(range(len(watts)), watts, color=pen.colours["accent"], lw=1.2)
    axis.set_xlim(0, len(watts) - 1)
    axis.set_ylim(min(0.0, float(watts.min())), None)
    letters = {"fontsize": pen.paper.letters, "color": pen.colours["muted"], "fontfamily": family()}
    axis.set_xlabel(pen.language.say("load.share"), **letters)
    pen.label(axis, unit)
