"""The report of a device as an Excel workbook: what its sheets contain, down to every reading.

Times are on the wall clock of the report's time zone. Readings have them in UTC too, where that differs.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.reports import excel_analyses, excel_quality, excel_sections
from assets.reports.analysed import Analysis
from assets.reports.budget import Budget
from assets.reports.content import ReportContent
from assets.reports.excel_charts import energy_chart
from assets.reports.excel_sections import unit_of, value_of
from assets.reports.excel_sheets import (
    COUNT,
    DATE,
    EPOCH_DAY,
    NUMBER,
    SAFE_OPTIONS,
    SHARE,
    TEXT,
    TIME,
    Column,
    Sheets,
    Wide,
    array_pattern,
)
from assets.reports.formatting import DASH, Language
from assets.reports.wording import Wording
from storage.times import DAY

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet

MAX_ROWS = 1_048_575  # of a sheet, below the header
BATCH_ROWS = 20_000


def workbook(content: ReportContent, readings: pa.Table, folder: Path, budget: Budget, language: Language) -> bytes:
    """The workbook's bytes, equal for equal input. Memory stays bounded for any number of readings."""
    import xlsxwriter  # noqa: PLC0415 - JSON and PDF need not load it

    file = folder / "report.xlsx"
    with xlsxwriter.Workbook(file, {"constant_memory": True, "tmpdir": str(folder), **SAFE_OPTIONS}) as book:
        book.set_properties(
            {
                "title": f"{language.say('excel.report')} {content.device.id}, {language.period(content.period)}",
                "subject": content.report_id,
                "created": content.generated_at.astimezone(UTC).replace(tzinfo=None),
            }
        )
        sheets = Sheets(book, ZoneInfo(content.period.tz), language)
        budget.step(20, "Writing the summary")
        summary = _summary(sheets, content)
        excel_sections.advice(sheets, content)
        excel_sections.comparison(sheets, content)
        _daily(sheets, content)
        _states(sheets, content)
        excel_sections.load(sheets, content)
        excel_sections.registers(sheets, content)
        if content.daily:
            summary.insert_chart("F2", energy_chart(sheets, len(content.daily), _daily_columns(sheets, content)))
        for number, part in enumerate(_parts(readings), 1):
            _readings(sheets, content, part, number, budget)
        excel_analyses.anomalies(sheets, content)
        excel_analyses.forecast(sheets, content)
        excel_analyses.forecast_months(sheets, content)
        excel_analyses.failures(sheets, content)
        excel_analyses.risk(sheets, content)
        _alerts(sheets, content)
        excel_quality.data_quality(sheets, content)
        excel_quality.findings(sheets, content)
        excel_quality.corrections(sheets, content)
        budget.step(90, "Packing the workbook")
    return file.read_bytes()


def _summary(sheets: Sheets, content: ReportContent) -> "Worksheet":
    device, period, language, say = content.device, content.period, sheets.language, sheets.language.say
    sheet = sheets.page(say("excel.summary"), (30, 24, 9, 48))
    sheets.write_header(sheet, 0, (say("excel.report"), "", "", ""))
    sheet.freeze_panes(1, 0)
    rows: list[Sequence[Any]] = [
        (say("excel.device"), device.name),
        (say("excel.device_id"), device.id),
        (say("excel.type"), device.type),
        (say("excel.location"), device.location),
        (say("excel.period"), language.period(period)),
        (say("excel.zone"), language.zone(period)),
        (say("excel.generated"), content.generated_at),
        (say("excel.report_id"), content.report_id),
        (),
        *((k.label, value_of(k.shown), unit_of(k.unit), language.caveat(k)) for k in content.kpis),
        (),
        (say("excel.energy_method"), Wide(content.energy.rule)),
        *(
            (
                say("excel.analysis", analysis=language.name_of("analysis", a.type)),
                say("excel.completed" if a.status == "completed" else "excel.missing"),
                None,
                _how_made(sheets, a) if a.status == "completed" else a.reason,
            )
            for a in content.analyses
        ),
        (),
    ]
    for number, row in enumerate(rows, 1):
        sheets.write_row(sheet, number, row)
    header = len(rows) + 1
    sheets.write_header(sheet, header, [say(f"excel.{name}") for name in ("measurement", "mean", "unit", "range")])
    for number, m in enumerate(content.gauges, header + 1):
        scope = say("kpi.range", low=language.figure(m.min), high=language.figure(m.max))
        sheets.write_row(sheet, number, (language.metric(m.metric), m.mean, unit_of(m.unit), scope))
    return sheet


def _how_made(sheets: Sheets, analysis: Analysis) -> str | None:
    """When an analysis was made, and whether its data have changed since."""
    language = sheets.language
    made = language.date_time(analysis.completed_at, sheets.zone) if analysis.completed_at else None
    if made and analysis.covers_start and analysis.covers_end:
        start, end = (language.clock(moment, sheets.zone) for moment in (analysis.covers_start, analysis.covers_end))
        made = f"{made}; {language.say('excel.covers', start=start, end=end)}"
    if analysis.reason:
        made = f"{made or DASH}; {language.say('excel.not_renewed', reason=analysis.reason)}"
    if not analysis.changed_days:
        return made
    days = language.count(analysis.changed_days, "day_dative")
    return language.say("excel.changed_since", time=made or DASH, days=days)


def _states(sheets: Sheets, content: ReportContent) -> None:
    if content.states:
        language = sheets.language
        columns = [
            Column(language.say("excel.state"), 16, TEXT),
            Column(language.say("excel.time_h"), 12, NUMBER),
            Column(language.say("excel.share"), 10, SHARE),
            Column(language.say("excel.energy"), 14, NUMBER),
        ]
        rows = ((language.name_of("state", s.state), s.hours, s.share, s.energy_kwh) for s in content.states)
        sheets.table(language.say("excel.states"), columns, rows)


def _daily_columns(sheets: Sheets, content: ReportContent) -> list[Column]:
    """The columns of the sheet of days. Two are there only if the device feeds in, or if readings may be wrong."""
    say = sheets.language.say
    return [
        Column(say("excel.day"), 12, DATE),
        Column(say("excel.energy"), 14, NUMBER),
        Column(say("excel.day_length"), 12, NUMBER),
        Column(say("excel.measured_h"), 12, NUMBER),
        Column(say("excel.peak"), 14, NUMBER),
        sheets.time_column(say("excel.peak_at")),
        Column(say("excel.readings_count"), 12, COUNT),
        Column(say("excel.completeness"), 14, SHARE),
        *([Column(say("excel.fed_in"), 14, NUMBER)] if content.kpi("energy_export").value else []),
        *([Column(say("excel.without_doubtful"), 18, NUMBER)] if content.energy_by.total.doubtful_kwh else []),
    ]


def _daily(sheets: Sheets, content: ReportContent) -> None:
    columns = _daily_columns(sheets, content)
    rows = (
        (d.day, d.energy_kwh, d.hours, d.covered_hours, d.peak_power_w, d.peak_at, d.readings, d.completeness)
        + ((d.energy_export_kwh,) if content.kpi("energy_export").value else ())
        + ((d.trusted_kwh,) if content.energy_by.total.doubtful_kwh else ())
        for d in content.daily
    )
    sheet = sheets.table(sheets.language.say("excel.daily"), columns, rows)
    if content.daily:
        sheet.insert_chart("L2", energy_chart(sheets, len(content.daily), columns))


def _parts(readings: pa.Table) -> Iterator[pa.Table]:
    """The readings, a part for each sheet. Without readings there is one empty part."""
    for start in range(0, max(len(readings), 1), MAX_ROWS):
        yield readings.slice(start, MAX_ROWS)


def _readings(sheets: Sheets, content: ReportContent, part: pa.Table, number: int, budget: Budget) -> None:
    language, zones = sheets.language, list(dict.fromkeys((sheets.zone.key, "UTC")))
    columns = [Column(f"{language.say('excel.time')} ({zone})", 20, TIME) for zone in zones]
    for metric in content.metrics:
        unit = f" ({metric.unit})" if metric.unit not in ("", "1") else ""
        pattern = array_pattern(_values(part, metric.metric))
        columns.append(Column(f"{language.metric(metric.metric)}{unit}", 14, pattern))
    name = "excel.readings" if number == 1 else "excel.readings_more"
    sheet = sheets.open_table(language.say(name, n=number), columns, len(part))
    if not len(part):
        sheet.write_string(1, 0, language.say("excel.no_readings"), sheets.format("note"))
    total = max(content.data_quality.readings, 1)
    row, rows_before = 1, (number - 1) * MAX_ROWS
    write = sheet.write_number
    for start in range(0, len(part), BATCH_ROWS):
        budget.step(20 + 65 * (rows_before + start) / total, "Writing the readings")
        batch = part.slice(start, BATCH_ROWS)
        values = [_excel_days(batch["timestamp"], zone) for zone in zones]
        values += [_values(batch, m.metric) for m in content.metrics]
        for cells in zip(*(column.tolist() for column in values), strict=True):
            for i, value in enumerate(cells):
                if value - value == 0:  # neither NaN nor infinite
                    write(row, i, value)
            row += 1


def _values(part: pa.Table, metric: str) -> Any:
    return part[metric].cast(pa.float64()).to_numpy()


def _excel_days(times: pa.ChunkedArray, zone: str) -> Any:
    """The times as Excel's number of days, on the wall clock of a time zone."""
    local = pc.local_timestamp(times.cast(pa.timestamp("us", tz=zone)))
    return local.cast(pa.int64()).to_numpy().astype(np.float64) / DAY + EPOCH_DAY


def _alerts(sheets: Sheets, content: ReportContent) -> None:
    language = sheets.language
    wording = Wording(language, content.metrics)
    columns = [
        sheets.time_column(language.say("excel.time")),
        Column(language.say("excel.severity"), 11, TEXT),
        Column(language.say("excel.status"), 15, TEXT),
        Column(language.say("excel.rule"), 30, TEXT),
        Column(language.say("excel.message"), 60, TEXT),
        Column(language.say("excel.value"), 12, NUMBER),
        Column(language.say("excel.threshold"), 12, NUMBER),
        Column(language.say("excel.alert_id"), 38, TEXT),
    ]
    rows = (
        (
            a.time,
            language.name_of("severity", a.severity),
            language.name_of("status", a.status),
            a.rule,
            wording.alert(a),
            a.actual_value,
            a.threshold_value,
            a.alert_id,
        )
        for a in content.alerts
    )
    sheets.table(language.say("excel.alerts"), columns, rows)
