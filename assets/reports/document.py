"""The report as one Markdown file with its figures beside it, written for Quarto and for pandoc alike.

`templates/report.qmd` has the layout, `templates/texts/` the words, `highlights` decides what is singled out, and the
content has all that was measured.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from assets.reports import figures
from assets.reports.canvas import Paper, Pen
from assets.reports.content import ReportContent
from assets.reports.highlights import Highlights
from assets.reports.load_figures import load_figure
from assets.reports.look import Look
from assets.reports.markdown import rendered
from assets.reports.wording import Wording

TEMPLATE = "report.qmd"
# Metrics with a section and a figure of their own.
OWN_SECTION = ("power", "voltage")
DRAWINGS = ("daily", "load", *OWN_SECTION, "forecast", "others", "more_others")


def write(content: ReportContent, folder: Path, look: Look, paper: Paper) -> Path:
    """Write `report.qmd` and its `figures/` into the folder, and return the document's path."""
    pen = Pen(paper, look.colours, look.language(content.language))
    drawings = {
        "daily": figures.energy_bars(content, pen),
        "load": load_figure(content, pen),
        **{metric: figures.profile(content, metric, pen) for metric in OWN_SECTION},
        "forecast": figures.expected_values(content, pen),
        **dict(zip(("others", "more_others"), _others(content, pen), strict=True)),
    }
    return write_files(folder, drawings, lambda drawn: markdown_of(content, drawn, look))


def write_files(folder: Path, drawings: Mapping[str, str | None], markdown: Callable[[Collection[str]], str]) -> Path:
    """Write figures as SVG by their names, and the Markdown with those that there are; the document's path."""
    drawn = {name: svg for name, svg in drawings.items() if svg is not None}
    (folder / "figures").mkdir()
    for name, svg in drawn.items():
        (folder / "figures" / f"{name}.svg").write_text(svg, "utf-8")
    file = folder / TEMPLATE
    file.write_text(markdown(drawn.keys()), "utf-8")
    return file


def markdown_of(content: ReportContent, drawn: Collection[str], look: Look | None = None) -> str:
    """The report as Markdown with the figures in `drawn`: those of `DRAWINGS` that there are."""
    look = look or Look()
    language = look.language(content.language)
    other_metrics = _other_metrics(content)
    values = {
        "report": content,
        "zone": ZoneInfo(content.period.tz),
        "highlights": Highlights.of(content),
        "wording": Wording(language, content.metrics, content.data_quality.cadence_seconds),
        "drawn": drawn,
        "drawn_metrics": other_metrics[: figures.MAX_PANELS],
        "more_drawn_metrics": other_metrics[figures.MAX_PANELS : 2 * figures.MAX_PANELS],
        "table_only_metrics": other_metrics[2 * figures.MAX_PANELS :],
        "windows": {series.metric: series.window_seconds for series in content.series},
    }
    return rendered(look, language, TEMPLATE, values)


def _others(content: ReportContent, pen: Pen) -> tuple[str | None, str | None]:
    """The further metrics in two figures, which pages have room for more easily than for one."""
    names, most = _other_metrics(content), figures.MAX_PANELS
    first, second = (figures.other_metrics(content, names[start : start + most], pen) for start in (0, most))
    return first, second


def _other_metrics(content: ReportContent) -> list[str]:
    return [m.metric for m in content.gauges if m.metric not in OWN_SECTION]
