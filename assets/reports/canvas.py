"""What the report's figures are drawn with: paper, pen, axes of time, and SVG.

They are drawn without pyplot, which would keep figures between reports.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from assets.reports.formatting import Language
from storage.times import EPOCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# An axis spans at least this share of its largest value.
MIN_SPAN = 0.004
FONTS = Path(__file__).parent / "fonts"


@dataclass(frozen=True)
class Paper:
    """The size of figures in inches, and of their letters in points; `labels` fit beside each other on an axis."""

    width: float
    height: float
    panel_height: float
    letters: float
    labels: int


A4 = Paper(width=6.54, height=1.9, panel_height=1.0, letters=7, labels=10)
# A phone shows it at about its size, so letters stay legible.
SCREEN = Paper(width=4.6, height=2.5, panel_height=1.5, letters=8.5, labels=6)


@dataclass(frozen=True)
class Pen:
    """Draws figures on a paper, in colours and a language."""

    paper: Paper
    colours: Mapping[str, str]
    language: Language

    def canvas(
        self,
        rows: int = 1,
        height: float | None = None,
        *,
        widths: Sequence[float] = (1.0,),
        shares_time: bool = False,
    ) -> tuple["Figure", list["Axes"]]:
        """A figure with its axes in rows; `widths` are those of the columns, relative to each other."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415 - JSON need not wait 0.4 s for it
        from matplotlib.figure import Figure  # noqa: PLC0415 - as above

        paper, line, muted = self.paper, self.colours["line"], self.colours["muted"]
        figure = Figure(figsize=(paper.width, height or paper.height * rows), layout="constrained")
        FigureCanvasSVG(figure)
        columns = len(widths)
        axes = list(figure.subplots(rows, columns, sharex=shares_time, squeeze=False, width_ratios=widths).flat)
        for axis in axes:
            axis.tick_params(
                labelsize=paper.letters, colors=muted, labelfontfamily=family(), length=2.5, width=0.6, color=line
            )
            axis.spines[["top", "right", "left"]].set_visible(False)
            axis.spines["bottom"].set_color(line)
            axis.tick_params(axis="y", length=0)
            axis.grid(axis="y", color=line, lw=0.5)
            axis.set_axisbelow(True)
            axis.margins(y=0.08)
        return figure, axes

    def time_axis(self, axis: "Axes", start: datetime, end: datetime, zone: ZoneInfo) -> None:
        """Mark times on the wall clock of a zone."""
        from matplotlib.dates import AutoDateLocator  # noqa: PLC0415 - as above

        axis.set_xlim(*dates([start, end]))
        locator = AutoDateLocator(tz=zone, minticks=self.paper.labels // 3 + 1, maxticks=self.paper.labels)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(lambda value, _: self._time_label(value, end - start, zone))

    def _time_label(self, value: float, length: timedelta, zone: ZoneInfo) -> str:
        local = (EPOCH + timedelta(days=value)).astimezone(zone)
        if length < timedelta(minutes=10):
            return f"{local:%H:%M:%S}"
        if length > timedelta(days=400):
            return self.language.dated(local.date(), "month_short")
        if length >= timedelta(days=self.paper.labels) and (local + timedelta(days=1)).day == 1:
            return ""  # every few days from the first of a month are marked: its last day would touch the next first
        if length > timedelta(days=20):
            return self.language.dated(local.date(), "short")
        if local.hour or local.minute:
            return f"{local:%H:%M}"
        return self.language.dated(local.date(), "short" if self.paper.labels < A4.labels else "day")

    def label(self, axis: "Axes", unit: str) -> None:
        """Write the unit above the axis and the numbers beside it.

        Values that hardly differ are drawn as a line that is hardly bent, beside short numbers.
        """
        low, high = axis.get_ylim()
        missing = MIN_SPAN * max(abs(low), abs(high)) - (high - low)
        if missing > 0:
            axis.set_ylim(low - missing / 2, high + missing / 2)
        text = unit if unit not in ("", "1") else ""
        axis.set_ylabel(text, fontsize=self.paper.letters, color=self.colours["muted"], fontfamily=family(), rotation=0)
        axis.yaxis.label.set_parse_math(False)  # a unit is any text in the device's metadata
        axis.yaxis.set_label_coords(0, 1.06)
        axis.yaxis.label.set_horizontalalignment("right")
        axis.yaxis.set_major_formatter(lambda value, _: self.language.plain(rounded(value, axis.get_yticks().tolist())))

    def legend(self, axis: "Axes") -> None:
        """Write the legend above the axis."""
        from matplotlib.font_manager import FontProperties  # noqa: PLC0415 - as above

        axis.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=6 if self.paper is A4 else 3,
            frameon=False,
            prop=FontProperties(family=family(), size=self.paper.letters),
            labelcolor=self.colours["muted"],
            handlelength=1.4,
            borderaxespad=0.1,
            columnspacing=1.4,
        )


def rounded(value: float, ticks: Sequence[float]) -> float:
    """The value of a tick with so many digits that its neighbours have other ones."""
    step = min((b - a for a, b in pairwise(ticks)), default=0.0)
    size = max((abs(tick) for tick in ticks), default=0.0)
    digits = max(math.ceil(math.log10(size / step)) + 2, 6) if step > 0 and size > 0 else 6
    return float(f"{value:.{digits}g}")


@cache
def family() -> str:
    """The name of the reports' font, once matplotlib knows its files."""
    from matplotlib.font_manager import fontManager  # noqa: PLC0415 - as above

    for file in sorted(FONTS.glob("*.otf")):
        fontManager.addfont(file)
    return "Inter"


def dates(moments: Sequence[datetime]) -> list[float]:
    """Days since 1970, in which matplotlib counts."""
    return [moment.timestamp() / 86_400 for moment in moments]


def multiple(unit: str, values: Sequence[float]) -> tuple[float, str]:
    """The divisor and the name of the unit in which the values read best."""
    largest = max((abs(value) for value in values), default=0)
    if unit == "W" and largest >= 1e6:
        return 1e6, "MW"
    return (1e3, "kW") if unit == "W" and largest >= 2e3 else (1.0, unit)


def svg(figure: "Figure") -> str:
    """The figure as SVG."""
    import matplotlib  # noqa: PLC0415 - as above

    sink = io.StringIO()
    # Text stays text in the document's font. A fixed salt gives equal bytes for equal input.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return sink.getvalue()
