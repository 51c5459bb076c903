"""The report as an Excel workbook: typed cells, native charts, every reading.

Times are by the wall clock of the zone that the header names; readings have them in UTC too. Text stays text: nothing
that a device or a user wrote becomes a formula or a link.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.reports.budget import Budget
from assets.reports.content import Kpi, ReportContent
from assets.reports.formatting import SHARES, metric_name, period_words, zone_words

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

MAX_ROWS = 1_048_575  # below the header
MAX_TEXT = 32_767
BATCH = 20_000
# Excel counts days; 1970-01-01 is its day 25,569.
EPOCH_DAY, DAY = 25_569, 86_400_000_000
TIME, DATE, COUNT, NUMBER, SHARE, TEXT = "yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd", "#,##0", "#,##0.00", "0.0%", "@"
ACCENT = "#2b6591"
Column = tuple[str, int, str]


@dataclass(frozen=True)
class Share:
    """A share of one that is read in percent, in a column of other numbers."""

    of_one: float


def workbook(content: ReportContent, readings: pa.Table, folder: Path, budget: Budget) -> bytes:
    """The workbook's bytes; equal for equal input. Memory stays bounded however many readings there are."""
    import xlsxwriter  # noqa: PLC0415

    file = folder / "report.xlsx"
    options = {
        "constant_memory": True,
        "tmpdir": str(folder),
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(file, options) as book:
        book.set_properties(
            {
                "title": f"Energy report {content.report_id}",
                "subject": f"{content.device.id}, {period_words(content.period)}",
                "created": content.generated_at.astimezone(UTC).replace(tzinfo=None),
            }
        )
        pages = _Pages(book, ZoneInfo(content.period.tz))
        budget.step(20, "Writing the summary")
        summary = _summary(pages, content)
        _daily(pages, content)
        if content.daily:
            summary.insert_chart("F2", _energy_chart(book, len(content.daily)))
        for number, part in enumerate(_parts(readings), 1):
            _readings(pages, content, part, number, budget)
        _anomalies(pages, content)
        _forecast(pages, content)
        _alerts(pages, content)
        _data_quality(pages, content)
        budget.step(90, "Packing the workbook")
    return file.read_bytes()


class _Pages:
    """Sheets with a header that stays in sight, and their formats."""

    def __init__(self, book: "Workbook", zone: ZoneInfo) -> None:
        self.book = book
        self.zone = zone
        self._formats: dict[str, Format] = {}
        self.head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        self.bold = book.add_format({"bold": True})

    def format(self, pattern: str) -> "Format":
        if pattern not in self._formats:
            self._formats[pattern] = self.book.add_format({"num_format": pattern, "valign": "top"})
        return self._formats[pattern]

    def sheet(self, name: str, columns: Sequence[Column]) -> "Worksheet":
        """A sheet whose columns are (title, width in characters, number format)."""
        sheet = self.book.add_worksheet(name)
        for i, (_, width, pattern) in enumerate(columns):
            sheet.set_column(i, i, width, self.format(pattern))
        for i, (title, _, _) in enumerate(columns):
            sheet.write_string(0, i, title, self.head)
        sheet.freeze_panes(1, 0)
        return sheet

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> "Worksheet":
        sheet = self.sheet(name, columns)
        for number, row in enumerate(rows, 1):
            self.row(sheet, number, row)
        return sheet

    def row(self, sheet: "Worksheet", number: int, values: Sequence[Any]) -> None:
        for i, value in enumerate(values):
            if isinstance(value, str):
                sheet.write_string(number, i, value[:MAX_TEXT])
            elif isinstance(value, datetime):
                local = value.astimezone(self.zone).replace(tzinfo=UTC)
                sheet.write_number(number, i, EPOCH_DAY + local.timestamp() / 86_400, self.format(TIME))
            elif isinstance(value, date):
                sheet.write_number(number, i, EPOCH_DAY + (value - date(1970, 1, 1)).days, self.format(DATE))
            elif isinstance(value, Share):
                sheet.write_number(number, i, value.of_one, self.format(SHARE))
            elif value is not None:
                sheet.write_number(number, i, value)

    def time(self, what: str) -> Column:
        return (f"{what} ({self.zone.key})", 22, TIME)


def _summary(pages: _Pages, content: ReportContent) -> "Worksheet":
    sheet = pages.sheet("Summary", [("Energy report", 30, TEXT), ("", 24, NUMBER), ("", 8, TEXT), ("", 44, TEXT)])
    device, period = content.device, content.period
    rows: list[Sequence[Any]] = [
        ("Device", device.name),
        ("Device id", device.id),
        ("Type", device.type),
        ("Location", device.location),
        ("Period", period_words(period)),
        ("Time zone", zone_words(period)),
        ("Generated", content.generated_at),
        ("Report", content.report_id),
        (),
        *((k.label, _value(k), k.unit if k.unit != "1" else None, k.note) for k in content.kpis),
        (),
        ("Source of energy", content.energy.rule),
        *((f"Analysis: {a.type}", a.status, None, a.reason or a.model) for a in content.analyses),
        (),
    ]
    for number, row in enumerate(rows, 1):
        pages.row(sheet, number, row)
    number = len(rows) + 1
    titles = ("Measurement", "Mean", "Unit", "Lowest to highest")
    for i, title in enumerate(titles):
        sheet.write_string(number, i, title, pages.head)
    for m in content.metrics:
        number += 1
        pages.row(sheet, number, (metric_name(m.metric), m.mean, m.unit, f"{m.min:,.6g} to {m.max:,.6g}"))
    return sheet


def _value(kpi: Kpi) -> float | Share | None:
    return Share(kpi.value) if kpi.key in SHARES and kpi.value is not None else kpi.value


def _daily(pages: _Pages, content: ReportContent) -> None:
    columns: list[Column] = [
        ("Day", 12, DATE),
        ("Energy (kWh)", 14, NUMBER),
        ("Hours of the day", 10, NUMBER),
        ("Measured (h)", 12, NUMBER),
        ("Highest power (W)", 14, NUMBER),
        pages.time("Highest power at"),
        ("Readings", 12, COUNT),
        ("Complete", 10, SHARE),
    ]
    sheet = pages.table(
        "Daily",
        columns,
        (
            (d.day, d.energy_kwh, d.hours, d.covered_hours, d.peak_power_w, d.peak_at, d.readings, d.completeness)
            for d in content.daily
        ),
    )
    sheet.insert_chart("J2", _energy_chart(pages.book, len(content.daily)))


def _energy_chart(book: "Workbook", days: int) -> Any:
    chart = book.add_chart({"type": "column"})
    chart.add_series(
        {
            "name": "Energy (kWh)",
            "categories": ["Daily", 1, 0, days, 0],
            "values": ["Daily", 1, 1, days, 1],
            "fill": {"color": ACCENT},
            "gap": 40,
        }
    )
    chart.set_title({"name": "Energy per day (kWh)", "name_font": {"size": 11}})
    chart.set_legend({"none": True})
    chart.set_x_axis({"date_axis": True, "num_format": "d mmm"})
    chart.set_y_axis({"major_gridlines": {"visible": True, "line": {"color": "#d9dfe4"}}})
    chart.set_size({"width": 640, "height": 300})
    return chart


def _parts(readings: pa.Table) -> Iterator[pa.Table]:
    """The readings, cut where a sheet is full; one part even where there is none."""
    for start in range(0, max(len(readings), 1), MAX_ROWS):
        yield readings.slice(start, MAX_ROWS)


def _readings(pages: _Pages, content: ReportContent, part: pa.Table, number: int, budget: Budget) -> None:
    columns: list[Column] = [pages.time("Time"), ("Time (UTC)", 22, TIME)]
    for metric in content.metrics:
        unit = f" ({metric.unit})" if metric.unit not in ("", "1") else ""
        columns.append((f"{metric_name(metric.metric)}{unit}", 14, "General"))
    sheet = pages.sheet("Readings" if number == 1 else f"Readings {number}", columns)
    whole = max(content.data_quality.readings, 1)
    row, before = 1, (number - 1) * MAX_ROWS
    write = sheet.write_number
    for start in range(0, len(part), BATCH):
        budget.step(20 + 65 * (before + start) / whole, "Writing the readings")
        batch = part.slice(start, BATCH)
        values = [_serials(batch["timestamp"], pages.zone.key), _serials(batch["timestamp"], "UTC")]
        values += [batch[m.metric].cast(pa.float64()).to_numpy() for m in content.metrics]
        for cells in zip(*(column.tolist() for column in values), strict=True):
            for i, value in enumerate(cells):
                if value - value == 0:  # neither null nor infinite
                    write(row, i, value)
            row += 1


def _serials(times: pa.ChunkedArray, zone: str) -> Any:
    """Excel's count of days by the wall clock of a zone."""
    local = pc.local_timestamp(times.cast(pa.timestamp("us", tz=zone)))
    return local.cast(pa.int64()).to_numpy().astype(np.float64) / DAY + EPOCH_DAY


def _anomalies(pages: _Pages, content: ReportContent) -> None:
    columns: list[Column] = [
        pages.time("Begin"), pages.time("End"), ("Channel", 18, TEXT), ("Score", 12, NUMBER), ("Readings", 12, COUNT)
    ]  # fmt: skip
    pages.table("Anomalies", columns, ((a.start, a.end, a.metric, a.score, a.points) for a in content.anomalies))


def _forecast(pages: _Pages, content: ReportContent) -> None:
    found = content.forecast
    unit = f" ({found.unit})" if found and found.unit else ""
    titles = ("Expected", "Lower 95 %", "Upper 95 %", "Lower 80 %", "Upper 80 %")
    columns: list[Column] = [pages.time("Time"), *((f"{title}{unit}", 16, NUMBER) for title in titles)]
    points = found.points if found else []
    sheet = pages.table(
        "Forecast", columns, ((p.timestamp, p.value, p.lower, p.upper, p.lower_80, p.upper_80) for p in points)
    )
    if not points:
        return
    chart = pages.book.add_chart({"type": "line"})
    for column, colour in ((1, ACCENT), (2, "#9db7ca"), (3, "#9db7ca")):
        chart.add_series(
            {
                "name": ["Forecast", 0, column],
                "categories": ["Forecast", 1, 0, len(points), 0],
                "values": ["Forecast", 1, column, len(points), column],
                "line": {"color": colour, "width": 1.5},
            }
        )
    chart.set_title({"name": f"Forecast{unit}", "name_font": {"size": 11}})
    chart.set_legend({"position": "bottom"})
    chart.set_x_axis({"num_format": "d mmm hh:mm"})
    chart.set_size({"width": 640, "height": 300})
    sheet.insert_chart("H2", chart)


def _alerts(pages: _Pages, content: ReportContent) -> None:
    columns: list[Column] = [
        pages.time("Time"),
        ("Severity", 10, TEXT),
        ("State", 14, TEXT),
        ("Rule", 30, TEXT),
        ("Message", 60, TEXT),
        ("Value", 12, NUMBER),
        ("Threshold", 12, NUMBER),
        ("Alert id", 38, TEXT),
    ]
    pages.table(
        "Alerts",
        columns,
        (
            (a.time, a.severity, a.status, a.rule, a.message, a.actual_value, a.threshold_value, a.alert_id)
            for a in content.alerts
        ),
    )


def _data_quality(pages: _Pages, content: ReportContent) -> None:
    quality = content.data_quality
    sheet = pages.sheet("Data quality", [("Data quality", 34, TEXT), ("", 24, NUMBER), ("", 66, NUMBER)])
    rows: list[Sequence[Any]] = [
        ("Readings", quality.readings),
        ("First", quality.first),
        ("Last", quality.last),
        ("Interval between readings (s)", quality.cadence_seconds, quality.cadence_source),
        ("Completeness", None if quality.completeness is None else Share(quality.completeness)),
        ("Missing (s)", quality.missing_seconds),
        ("Gaps", quality.gaps_total),
        (),
        (f"Gap from ({pages.zone.key})", f"Gap to ({pages.zone.key})", "Length (s)"),
        *((gap.start, gap.end, gap.seconds) for gap in quality.gaps),
        (),
        ("File read", "Rows", "SHA-256"),
        *((file.name, file.rows, file.sha256) for file in content.files),
    ]
    for number, row in enumerate(rows, 1):
        pages.row(sheet, number, row)
