"""Writes the document of a report of either kind, of a device or of a fleet."""

from pathlib import Path

from assets.reports import document, fleet_document
from assets.reports.canvas import SCREEN, Paper
from assets.reports.content import ReportContent
from assets.reports.fleet_content import FleetContent
from assets.reports.formatting import Language
from assets.reports.glyphs import undrawn
from assets.reports.look import Look
from assets.reports.markdown import escape

Content = ReportContent | FleetContent


def write(content: Content, folder: Path, look: Look, paper: Paper) -> Path:
    """Write `report.qmd` and its `figures/` into the folder, and return the document's path."""
    if isinstance(content, FleetContent):
        source = fleet_document.write(content, folder, look, paper)
    else:
        source = document.write(content, folder, look, paper)
    _note_boxes(source, look.language(content.language), is_screen=paper is SCREEN)
    return source


def _note_boxes(source: Path, language: Language, *, is_screen: bool) -> None:
    """Add a note at the end that names texts for which there is no font."""
    text = source.read_text("utf-8")
    if texts := undrawn(text, by_machine=not is_screen):
        note = language.say("glyphs.screen" if is_screen else "glyphs.paper", texts=", ".join(texts))
        source.write_text(f"{text}\n\n::: {{.small}}\n{escape(note)}\n:::\n", "utf-8")
