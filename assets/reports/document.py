"""The report as one Markdown file with its figures beside it, written for Quarto and for pandoc alike."""

from datetime import UTC
from itertools import chain
from pathlib import Path
from zoneinfo import ZoneInfo

from assets.reports import markdown as md, sections_found as found, sections_measured as measured
from assets.reports.content import ReportContent
from assets.reports.formatting import full_clock, period_words

SECTIONS = (
    measured.masthead,
    measured.key_figures,
    measured.in_short,
    measured.energy,
    measured.power,
    measured.voltage,
    found.anomalies,
    found.forecast,
    found.others,
    found.alerts,
    measured.measurements,
    measured.data_quality,
    measured.methods,
)


def write(content: ReportContent, folder: Path) -> Path:
    """Write `report.qmd` and its `figures/` into the folder."""
    (folder / "figures").mkdir()
    parts = chain.from_iterable(section(content, folder) for section in SECTIONS)
    file = folder / "report.qmd"
    file.write_text(md.front_matter(_metadata(content)) + "\n" + "".join(md.join(parts)), "utf-8")
    return file


def _metadata(content: ReportContent) -> dict[str, object]:
    made = content.generated_at.astimezone(UTC)
    device = content.device
    name = device.name if device.name == device.id else f"{md.shorten(device.name, 60)} ({device.id})"
    generated = full_clock(made, ZoneInfo(content.period.tz))
    footer = f"{content.report_id}, generated {generated} by {content.generator.name} {content.generator.version}"
    return {
        "title": md.metadata(f"Energy report: {name}"),
        "device": md.metadata(name),
        "period": md.metadata(period_words(content.period)),
        "footer": md.metadata(footer),
        "report-id": content.report_id,
        "made": {part: getattr(made, part) for part in ("year", "month", "day", "hour", "minute", "second")},
        "lang": "en",
        "filters": ["report.lua"],
        "format": {
            "typst": {
                "papersize": "a4",
                "font-paths": ["fonts"],
                "template-partials": ["typst-template.typ", "typst-show.typ"],
                "shift-heading-level-by": 0,
            }
        },
    }
