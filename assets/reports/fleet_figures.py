"""The figures of a fleet report as SVG: the devices with most energy, and the fleet's energy over time."""

import math

from assets.reports.canvas import A4, Pen, family, svg
from assets.reports.figures import mark_doubtful
from assets.reports.fleet_content import FleetContent
from assets.reports.fleet_highlights import MAX_DAYS, by_month

MAX_BARS = 10


def ranking(content: FleetContent, pen: Pen) -> str | None:
    """A bar for each of the devices that took most, as SVG. None if fewer than two took energy."""
    devices = [device for device in content.counted if device.energy_kwh]
    if len(devices) < 2:
        return None
    shown = devices[:MAX_BARS]
    names = [device.id for device in shown]
    values = [device.trusted_kwh or 0.0 for device in shown]
    doubtful = [device.doubtful_kwh for device in shown]
    if rest := devices[MAX_BARS:]:
        names.append(pen.language.count(len(rest), "other_device"))
        values.append(sum(device.trusted_kwh or 0.0 for device in rest))
        doubtful.append(sum(device.doubtful_kwh for device in rest))
    figure, (axis,) = pen.canvas(height=0.4 + 0.2 * len(values))
    colours = [pen.colours["accent"]] * len(shown) + [pen.colours["pale"]] * (len(values) - len(shown))
    axis.barh(range(len(values)), values, height=0.68, color=colours)
    axis.set_yticks(range(len(values)), names, parse_math=False)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set_xticks([])
    axis.spines["bottom"].set_visible(False)
    axis.margins(x=0.16, y=0.02)
    if rows := [row for row, more in enumerate(doubtful) if more]:
        signal, starts = pen.colours["signal"], [values[row] for row in rows]
        widths = [doubtful[row] for row in rows]
        axis.barh(rows, widths, left=starts, height=0.68, color="none", hatch="////", lw=0.6, edgecolor=signal)
    for row, (value, more) in enumerate(zip(values, doubtful, strict=True)):
        axis.annotate(
            pen.language.quantity(value, "kWh"),
            (value + more, row),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=pen.paper.letters,
            color=pen.colours["muted"],
            family=family(),
        )
    return svg(figure)


def energy_over_time(content: FleetContent, pen: Pen) -> str | None:
    """A bar per day, or per month of a long period, as SVG. None if fewer than two have energy."""
    is_long = len(content.days) > MAX_DAYS
    bars = by_month(content.days) if is_long else [(day.day, day.energy_kwh) for day in content.days]
    if sum(kwh is not None for _, kwh in bars) < 2:
        return None
    figure, (axis,) = pen.canvas()
    doubtful = (
        [part or 0.0 for _, part in by_month(content.days, "doubtful_kwh")]
        if is_long
        else [day.doubtful_kwh for day in content.days]
    )
    heights = [math.nan if kwh is None else kwh - part for (_, kwh), part in zip(bars, doubtful, strict=True)]
    axis.bar(range(len(bars)), heights, width=0.72, color=pen.colours["accent"])
    if any(doubtful):
        mark_doubtful(axis, [(kwh or 0.0, part) for (_, kwh), part in zip(bars, doubtful, strict=True)], pen)
    step = -(-len(bars) // pen.paper.labels)
    pattern = "month_short" if is_long else "day" if pen.paper is A4 else "short"
    ticks = range(0, len(bars), step)
    axis.set_xticks(ticks, [pen.language.dated(bars[i][0], pattern) for i in ticks])
    side = max(len(bars), 7) / 2 + 0.1
    axis.set_xlim((len(bars) - 1) / 2 - side, (len(bars) - 1) / 2 + side)
    axis.tick_params(axis="x", length=0)
    pen.label(axis, "kWh")
    return svg(figure)
