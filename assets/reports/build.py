"""Makes a report in one of its formats."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from assets.reports import excel, fleet_excel, html, pdf
from assets.reports.budget import Budget
from assets.reports.compose import compose
from assets.reports.fleet import FleetInput, compose_fleet
from assets.reports.formatting import Language
from assets.reports.inputs import ReportInput
from assets.reports.layout import Content
from assets.reports.look import Look
from assets.reports.measures import Measured
from assets.reports.texts import LanguageCode

Book = Callable[[Path, Budget, Language], bytes]
FORMATS = ("pdf", "excel", "json", "html")


@dataclass(frozen=True)
class Report:
    """The finished file. `facts` has its size, its key figures and, for a PDF, the number of pages."""

    content: bytes
    media_type: str
    suffix: str
    facts: dict[str, Any]


def build_report(
    data: ReportInput | FleetInput,
    format: str,  # noqa: A002 - REST's name of it
    *,
    folder: Path,
    quarto: Path | None,
    language: LanguageCode = "en",
    template: Path | None = None,
    timeout_seconds: float,
    max_bytes: int,
    progress: Callable[[float, str], None],
) -> Report:
    """The report in one of `FORMATS`. Equal input gives equal bytes.

    Args:
        data: what the report is made from.
        format: one of `FORMATS`.
        folder: an empty folder for this report alone. Files stay in it; the caller removes them.
        quarto: the Quarto program that renders the PDF. If None, pandoc and Typst render it.
        language: of its texts, numbers and dates.
        template: a folder whose files restyle it; see `assets.reports.look`.
        timeout_seconds: how long the report may take.
        max_bytes: how large its file may be.
        progress: called with percent and a message. An exception from it ends the work.

    Raises:
        ReportError: the time is over, the file would be too large, or the data cannot be read.
        ValueError: the format is unknown.

    """
    if format not in FORMATS:
        raise ValueError(f"{format!r} is not a report format. Use one of: {', '.join(FORMATS)}.")
    budget = Budget(timeout_seconds, max_bytes, progress)
    budget.step(5, "Measuring")
    look = Look(template)
    words = look.language(language)
    content, book, facts = _fleet(data, words) if isinstance(data, FleetInput) else _device(data, words)
    if format == "json":
        file, media_type, suffix = content.to_json(), "application/json", "json"
    elif format == "excel":
        file = book(folder, budget, words)
        media_type, suffix = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"
    elif format == "html":
        file, media_type, suffix = html.render(content, folder, look, budget), "text/html", "html"
        facts |= {"renderer": html.RENDERER}
    else:
        rendered = pdf.render(content, folder, look, quarto, budget)
        file, media_type, suffix = rendered.content, "application/pdf", "pdf"
        facts |= {"pages": rendered.pages, "renderer": rendered.renderer}
    budget.check_size(len(file))
    budget.step(100, "Report is ready")
    return Report(file, media_type, suffix, {**facts, "size_bytes": len(file)})


def _device(data: ReportInput, words: Language) -> tuple[Content, Book, dict[str, Any]]:
    """The content of a device's report, what writes it as a workbook, and facts about it."""
    measured = Measured.of(data)
    content = compose(measured, words)
    facts = {"kpis": {kpi.key: kpi.value for kpi in content.kpis}, "readings": content.data_quality.readings}
    return content, partial(excel.workbook, content, measured.table), facts


def _fleet(data: FleetInput, words: Language) -> tuple[Content, Book, dict[str, Any]]:
    """The same of a fleet's report."""
    content = compose_fleet(data, words.code)
    return content, partial(fleet_excel.workbook, content), {"kpis": {"energy": content.totals.energy_kwh}}
