"""The report as one Markdown file with its figures beside it, written for Quarto and for pandoc alike.

`templates/report.qmd` has the words and the layout, `highlights` decides what is singled out, and the content has all
that was measured.
"""

from collections.abc import Collection
from pathlib import Path
from zoneinfo import ZoneInfo

from assets.reports import figures
from assets.reports.content import ReportContent
from assets.reports.energy_table import EnergyTable
from assets.reports.highlights import Highlights, named_values, unknown_quality
from assets.reports.markdown import environment

TEMPLATE = "report.qmd"
# Metrics with a section and a figure of their own.
OWN_SECTION = ("power", "voltage")


def write(content: ReportContent, folder: Path) -> Path:
    """Write `report.qmd` and its `figures/` into the folder, and return the document's path."""
    drawings = {
        "daily": figures.daily_energy(content),
        **{metric: figures.profile(content, metric) for metric in OWN_SECTION},
        "forecast": figures.expected_values(content),
        "others": figures.other_metrics(content, _other_metrics(content)[: figures.MAX_PANELS]),
    }
    (folder / "figures").mkdir()
    for name, svg in drawings.items():
        if svg is not None:
            (folder / "figures" / f"{name}.svg").write_text(svg, "utf-8")
    file = folder / TEMPLATE
    file.write_text(markdown_of(content, {name for name, svg in drawings.items() if svg is not None}), "utf-8")
    return file


def markdown_of(content: ReportContent, drawn: Collection[str]) -> str:
    """The report as Markdown with the figures in `drawn`, a subset of daily, power, voltage, forecast and others."""
    other_metrics = _other_metrics(content)
    template = environment().get_template(TEMPLATE)
    return template.render(
        report=content,
        zone=ZoneInfo(content.period.tz),
        highlights=Highlights.of(content),
        energy=EnergyTable.of(content),
        drawn=drawn,
        drawn_metrics=other_metrics[: figures.MAX_PANELS],
        table_only_metrics=other_metrics[figures.MAX_PANELS :],
        windows={series.metric: series.window_seconds for series in content.series},
        named_values=named_values,
        unknown_quality=unknown_quality,
    )


def _other_metrics(content: ReportContent) -> list[str]:
    return [m.metric for m in content.metrics if m.metric not in OWN_SECTION]
