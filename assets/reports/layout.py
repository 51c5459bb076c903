"""Writes the document of a report of either kind, of a device or of a fleet."""

from pathlib import Path

from assets.reports import document, fleet_document
from assets.reports.canvas import Paper
from assets.reports.content import ReportContent
from assets.reports.fleet_content import FleetContent
from assets.reports.look import Look

Content = ReportContent | FleetContent


def write(content: Content, folder: Path, look: Look, paper: Paper) -> Path:
    """Write `report.qmd` and its `figures/` into the folder, and return the document's path."""
    if isinstance(content, FleetContent):
        return fleet_document.write(content, folder, look, paper)
    return document.write(content, folder, look, paper)
