"""The fleet report as one Markdown file with its figures beside it; `templates/fleet.qmd` has its layout."""

from collections.abc import Collection
from pathlib import Path
from zoneinfo import ZoneInfo

from assets.reports import fleet_figures
from assets.reports.canvas import Paper, Pen
from assets.reports.document import write_files
from assets.reports.fleet_content import FleetContent, FleetDevice
from assets.reports.fleet_highlights import FleetHighlights
from assets.reports.formatting import Language
from assets.reports.look import Look
from assets.reports.markdown import rendered, shorten

TEMPLATE = "fleet.qmd"
MAX_NAMES = 10


def write(content: FleetContent, folder: Path, look: Look, paper: Paper) -> Path:
    """Write `report.qmd` and its `figures/` into the folder, and return the document's path."""
    pen = Pen(paper, look.colours, look.language(content.language))
    drawings = {
        "ranking": fleet_figures.ranking(content, pen),
        "energy": fleet_figures.energy_over_time(content, pen),
    }
    return write_files(folder, drawings, lambda drawn: markdown_of(content, drawn, look))


def markdown_of(content: FleetContent, drawn: Collection[str], look: Look | None = None) -> str:
    """The report as Markdown with the figures in `drawn`, a subset of ranking and energy."""
    look = look or Look()
    highlights = FleetHighlights.of(content)
    named = {device.id: _named(device) for device in content.devices}
    language = look.language(content.language)
    values = {
        "report": content,
        "zone": ZoneInfo(content.period.tz),
        "drawn": drawn,
        "highlights": highlights,
        "named": named,
        "not_compared": [named[device_id] for device_id in content.totals.not_compared],
        "more_incomplete": [
            language.say("fleet.part_measured", device=named[device.id], share=language.percent(device.coverage))
            for device in highlights.more_incomplete
        ],
        "waiting": _first_of([named[device.id] for device in highlights.waiting], language),
        "silent": [named[device.id] for device in highlights.silent],
        "unknown": [named[device.id] for device in highlights.unknown],
    }
    return rendered(look, language, TEMPLATE, values)


def _first_of(names: list[str], language: Language) -> list[str]:
    """The first names, and how many others there are."""
    more = len(names) - MAX_NAMES
    return names if more <= 0 else [*names[:MAX_NAMES], language.count(more, "other_device")]


def _named(device: FleetDevice) -> str:
    """The name of a device, with its id beside it if that is another one."""
    name = shorten(device.name, 60)
    return name if name == device.id else f"{name} ({device.id})"
