"""Reports of one device over a period, as PDF, Excel or JSON, from plain data.

The data become a `ReportContent` once (`measures`, `findings`); JSON is that content, PDF and Excel are views of it.
"""

from collections.abc import Callable
from pathlib import Path

from assets.reports.content import FORMATS, Report, ReportError, ReportInput

__all__ = ["FORMATS", "Report", "ReportError", "ReportInput", "build_report"]


def build_report(
    data: ReportInput,
    format: str,  # noqa: A002 - REST's name of it
    *,
    folder: Path,
    quarto: Path | None,
    timeout_seconds: float,
    max_bytes: int,
    progress: Callable[[float, str], None],
) -> Report:
    """The report in one of `FORMATS`.

    `folder` is the job's own, empty one: files are left in it for the caller to remove. `quarto` renders the PDF where
    it is given, else pandoc and Typst do. `progress` is told percent and words; what it raises ends the work.

    Raises:
        ReportError: the time is over, the file would be too large, or a part of the data cannot be read.
        ValueError: there is no such format.

    """
    from assets.reports import excel, pdf  # noqa: PLC0415 - whoever needs only the names pays for no numerics
    from assets.reports.budget import Budget  # noqa: PLC0415
    from assets.reports.compose import compose  # noqa: PLC0415
    from assets.reports.measures import Measured  # noqa: PLC0415

    if format not in FORMATS:
        raise ValueError(f"{format!r} is no format of a report; there are {', '.join(FORMATS)}")
    budget = Budget(timeout_seconds, max_bytes, progress)
    budget.step(5, "Measuring")
    measured = Measured.of(data)
    content = compose(measured)
    facts = {"kpis": {kpi.key: kpi.value for kpi in content.kpis}, "readings": content.data_quality.readings}
    if format == "json":
        made, media_type, suffix = content.to_json(), "application/json", "json"
    elif format == "excel":
        made = excel.workbook(content, measured.table, folder, budget)
        media_type, suffix = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"
    else:
        rendered = pdf.render(content, folder, quarto, budget)
        made, media_type, suffix = rendered.content, "application/pdf", "pdf"
        facts |= {"pages": rendered.pages, "renderer": rendered.renderer}
    budget.check_size(len(made))
    budget.step(100, "Report is ready")
    return Report(made, media_type, suffix, {**facts, "size_bytes": len(made)})
