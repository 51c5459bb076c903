"""The report as an Excel workbook: what its sheets contain, down to every reading.

Times are on the wall clock of the report's time zone. Readings have them in UTC too.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.reports.budget import Budget
from assets.reports.content import Kpi, ReportContent
from assets.reports.excel_charts import energy_chart, forecast_chart
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
    Share,
    Sheets,
)
from assets.reports.formatting import SHARES, Language
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
                "title": f"Energy report {content.report_id}",
                "subject": f"{content.device.id}, {language.period(content.period)}",
                "created": content.generated_at.astimezone(UTC).replace(tzinfo=None),
            }
        )
        sheets = Sheets(book, ZoneInfo(content.period.tz), language)
        budget.step(20, "Writing the summary")
        summary = _summary(sheets, content)
        _daily(sheets, content)
        _states(sheets, content)
        if content.daily:
            summary.insert_chart("F2", energy_chart(book, len(content.daily)))
        for number, part in enumerate(_parts(readings), 1):
            _readings(sheets, content, part, number, budget)
        _anomalies(sheets, content)
        _forecast(sheets, content)
        _alerts(sheets, content)
        _data_quality(sheets, content)
        budget.step(90, "Packing the workbook")
    return file.read_bytes()


def _summary(sheets: Sheets, content: ReportContent) -> "Worksheet":
    device, period, language = content.device, content.period, sheets.language
    rows: list[Sequence[Any]] = [
        ("Device", device.name),
        ("Device ID", device.id),
        ("Type", device.type),
        ("Location", device.location),
        ("Period", language.period(period)),
        ("Time zone", language.zone(period)),
        ("Generated", content.generated_at),
        ("Report ID", content.report_id),
        (),
        *((k.label, _value(k), k.unit if k.unit != "1" else None, k.note) for k in content.kpis),
        (),
        ("Energy method", content.energy.rule),
        *((f"Analysis: {a.type}", a.status, None, a.reason or a.model) for a in content.analyses),
        (),
    ]
    columns = [("Energy report", 30, TEXT), ("", 24, NUMBER), ("", 8, TEXT), ("", 44, TEXT)]
    sheet = sheets.add("Summary", columns, rows)
    header = len(rows) + 1
    sheets.write_header(sheet, header, ("Measurement", "Mean", "Unit", "Range"))
    for number, m in enumerate(content.metrics, header + 1):
        sheets.write_row(sheet, number, (language.metric(m.metric), m.mean, m.unit, f"{m.min:,.6g} to {m.max:,.6g}"))
    return sheet


def _value(kpi: Kpi) -> float | Share | None:
    return Share(kpi.value) if kpi.key in SHARES and kpi.value is not None else kpi.value


def _states(sheets: Sheets, content: ReportContent) -> None:
    if content.states:
        columns: list[Column] = [("State", 14, TEXT), ("Time (h)", 12, NUMBER), ("Share", 10, SHARE)]
        columns.append(("Energy (kWh)", 14, NUMBER))
        sheets.add("States", columns, ((s.state, s.hours, s.share, s.energy_kwh) for s in content.states))


def _daily(sheets: Sheets, content: ReportContent) -> None:
    columns: list[Column] = [
        ("Day", 12, DATE),
        ("Energy (kWh)", 14, NUMBER),
        ("Day length (h)", 10, NUMBER),
        ("Measured (h)", 12, NUMBER),
        ("Highest power (W)", 14, NUMBER),
        sheets.time_column("Highest power at"),
        ("Readings", 12, COUNT),
        ("Completeness", 13, SHARE),
    ]
    rows = (
        (d.day, d.energy_kwh, d.hours, d.covered_hours, d.peak_power_w, d.peak_at, d.readings, d.completeness)
        for d in content.daily
    )
    sheet = sheets.add("Daily", columns, rows)
    sheet.insert_chart("J2", energy_chart(sheets.book, len(content.daily)))


def _parts(readings: pa.Table) -> Iterator[pa.Table]:
    """The readings, a part for each sheet. Without readings there is one empty part."""
    for start in range(0, max(len(readings), 1), MAX_ROWS):
        yield readings.slice(start, MAX_ROWS)


def _readings(sheets: Sheets, content: ReportContent, part: pa.Table, number: int, budget: Budget) -> None:
    columns: list[Column] = [sheets.time_column("Time"), ("Time (UTC)", 22, TIME)]
    for metric in content.metrics:
        unit = f" ({metric.unit})" if metric.unit not in ("", "1") else ""
        columns.append((f"{sheets.language.metric(metric.metric)}{unit}", 14, "General"))
    sheet = sheets.add("Readings" if number == 1 else f"Readings {number}", columns)
    total = max(content.data_quality.readings, 1)
    row, rows_before = 1, (number - 1) * MAX_ROWS
    write = sheet.write_number
    for start in range(0, len(part), BATCH_ROWS):
        budget.step(20 + 65 * (rows_before + start) / total, "Writing the readings")
        batch = part.slice(start, BATCH_ROWS)
        values = [_excel_days(batch["timestamp"], sheets.zone.key), _excel_days(batch["timestamp"], "UTC")]
        values += [batch[m.metric].cast(pa.float64()).to_numpy() for m in content.metrics]
        for cells in zip(*(column.tolist() for column in values), strict=True):
            for i, value in enumerate(cells):
                if value - value == 0:  # neither NaN nor infinite
                    write(row, i, value)
            row += 1


def _excel_days(times: pa.ChunkedArray, zone: str) -> Any:
    """The times as Excel's number of days, on the wall clock of a time zone."""
    local = pc.local_timestamp(times.cast(pa.timestamp("us", tz=zone)))
    return local.cast(pa.int64()).to_numpy().astype(np.float64) / DAY + EPOCH_DAY


def _anomalies(sheets: Sheets, content: ReportContent) -> None:
    columns: list[Column] = [
        sheets.time_column("Start"),
        sheets.time_column("End"),
        ("Channel", 18, TEXT),
        ("Score", 12, NUMBER),
        ("Readings", 12, COUNT),
    ]
    sheets.add("Anomalies", columns, ((a.start, a.end, a.metric, a.score, a.points) for a in content.anomalies))


def _forecast(sheets: Sheets, content: ReportContent) -> None:
    forecast = content.forecast
    unit = f" ({forecast.unit})" if forecast and forecast.unit else ""
    titles = ("Expected", "Lower 95 %", "Upper 95 %", "Lower 80 %", "Upper 80 %")
    columns: list[Column] = [sheets.time_column("Time"), *((f"{title}{unit}", 16, NUMBER) for title in titles)]
    points = forecast.points if forecast else []
    sheet = sheets.add(
        "Forecast", columns, ((p.timestamp, p.value, p.lower, p.upper, p.lower_80, p.upper_80) for p in points)
    )
    if points:
        sheet.insert_chart("H2", forecast_chart(sheets.book, len(points), unit))


def _alerts(sheets: Sheets, content: ReportContent) -> None:
    columns: list[Column] = [
        sheets.time_column("Time"),
        ("Severity", 10, TEXT),
        ("Status", 14, TEXT),
        ("Rule", 30, TEXT),
        ("Message", 60, TEXT),
        ("Value", 12, NUMBER),
        ("Threshold", 12, NUMBER),
        ("Alert ID", 38, TEXT),
    ]
    rows = (
        (a.time, a.severity, a.status, a.rule, a.message, a.actual_value, a.threshold_value, a.alert_id)
        for a in content.alerts
    )
    sheets.add("Alerts", columns, rows)


def _data_quality(sheets: Sheets, content: ReportContent) -> None:
    quality = content.data_quality
    zone = sheets.zone.key
    rows: list[Sequence[Any]] = [
        ("Readings", quality.readings),
        ("First reading", quality.first),
        ("Last reading", quality.last),
        ("Interval between readings (s)", quality.cadence_seconds, quality.cadence_source),
        ("Completeness", None if quality.completeness is None else Share(quality.completeness)),
        ("Missing (s)", quality.missing_seconds),
        ("Gaps", quality.gaps_total),
        (),
        (f"Gap start ({zone})", f"Gap end ({zone})", "Duration (s)"),
        *((gap.start, gap.end, gap.seconds) for gap in quality.gaps),
        (),
        ("Source file", "Rows", "SHA-256"),
        *((file.name, file.rows, file.sha256) for file in content.files),
    ]
    sheets.add("Data quality", [("Data quality", 34, TEXT), ("", 24, NUMBER), ("", 66, NUMBER)], rows)
