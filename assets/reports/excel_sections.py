"""Sheets of the workbook for a report's sections beyond its readings: what to do, comparison, load, meters and risk."""

from typing import TYPE_CHECKING, Any

from assets.reports.content import Kpi, ReportContent
from assets.reports.excel_charts import duration_chart
from assets.reports.excel_sheets import COUNT, NUMBER, SHARE, TEXT, Alone, Column, Share, Sheets, number_pattern
from assets.reports.formatting import SHARES
from assets.reports.sections import Compared

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet

# The key figures that tell of the load.
OF_LOAD = (
    "mean_power", "peak_power", "peak_demand_15min", "load_factor", "running_hours", "base_load", "base_load_energy",
    "base_load_share", "outside_working_hours", "outside_working_hours_share",
)  # fmt: skip
POINTS = "+0.0;-0.0;0.0"
SHADES = {"type": "2_color_scale", "min_color": "#f3f6f8", "max_color": "#5f92b8"}


def value_of(kpi: Kpi) -> Alone | Share | None:
    """The value of a key figure as a cell."""
    return None if kpi.value is None else _cell(kpi.key, kpi.value)


def unit_of(unit: str) -> str | None:
    """A unit as a cell: that of plain numbers is left out."""
    return unit if unit not in ("", "1") else None


def advice(sheets: Sheets, content: ReportContent) -> None:
    """What to do, that of the most energy first."""
    say = sheets.language.say
    columns = [
        Column(say("excel.number"), 6, COUNT),
        Column(say("excel.what_to_do"), 30, TEXT),
        Column(say("excel.why"), 70, TEXT),
        Column(say("excel.concerns"), 14, NUMBER),
        Column(say("excel.how_sure"), 12, TEXT),
        Column(say("excel.because"), 40, TEXT),
    ]
    rows = (
        (number, one.title, one.text, one.energy_kwh, sheets.language.name_of("advice", one.confidence), one.reason)
        for number, one in enumerate(content.advice, 1)
    )
    unread = say("excel.not_analysed", reason=say("excel.no_readings"))
    empty = say("excel.no_advice") if content.data_quality.readings else unread
    sheets.table(say("excel.advice"), columns, rows, empty=empty)


def comparison(sheets: Sheets, content: ReportContent) -> None:
    """The key figures beside those of earlier periods, one in each row."""
    say = sheets.language.say
    columns = [
        Column(say("excel.compared_with"), 18, TEXT),
        sheets.time_column(say("excel.start")),
        sheets.time_column(say("excel.end")),
        Column(say("excel.measured"), 12, SHARE),
        Column(say("excel.figure"), 32, TEXT),
        Column(say("excel.unit"), 9, TEXT),
        Column(say("excel.this_period"), 14, NUMBER),
        Column(say("excel.then"), 14, NUMBER),
        Column(say("excel.change"), 11, SHARE),
        Column(say("excel.points"), 14, POINTS),
    ]
    rows = [
        (
            say(f"comparison.{one.basis}"), one.start, one.end, one.coverage, figure.label, unit_of(figure.unit),
            *_compared(figure),
        )
        for one in content.comparisons
        for figure in one.figures
    ]  # fmt: skip
    sheet = sheets.table(say("excel.comparison"), columns, rows, empty=say("excel.no_comparison"))
    _note_left_out(sheets, content, sheet, len(rows))


def _note_left_out(sheets: Sheets, content: ReportContent, sheet: "Worksheet", rows: int) -> None:
    """Say below a table that readings that may be wrong are left out, if any are."""
    if content.readings_left_out:
        sheets.note(sheet, rows, sheets.language.say("excel.left_out_readings"))


def _compared(figure: Compared) -> tuple[Any, ...]:
    """A figure now and before, and its change: of a share in percentage points, else relative."""
    now, before = (None if value is None else _cell(figure.key, value) for value in (figure.value, figure.earlier))
    if figure.key not in SHARES:
        return now, before, figure.change, None
    return now, before, None, None if figure.difference is None else round(figure.difference * 100, 1) + 0.0


def _cell(key: str, value: float) -> Alone | Share:
    return Share(value) if key in SHARES else Alone(value)


def load(sheets: Sheets, content: ReportContent) -> None:
    """How high the load is: its key figures, its mean by weekday and hour, and its duration curve."""
    say, language = sheets.language.say, sheets.language
    columns = [
        Column(say("excel.figure"), 36, TEXT),
        Column(say("excel.amount"), 14, NUMBER),
        Column(say("excel.unit"), 9, TEXT),
        sheets.time_column(say("excel.reached_at")),
        Column(say("excel.note"), 60, TEXT),
    ]
    figures = [content.kpi(key) for key in OF_LOAD]
    rows = ((k.label, value_of(k.shown), unit_of(k.unit), k.shown.at, language.caveat(k)) for k in figures)
    sheets.table(say("excel.loads"), columns, rows)
    unknown = say("excel.not_analysed", reason=say("note.no_quarter_hour"))
    hours = [Column(say("excel.hour"), 14, TEXT)]
    hours += [Column(f"{language.weekday(day)} (W)", 14, NUMBER) for day in range(7)]
    curve = [Column(say("excel.share_of_time"), 16, SHARE), Column(say("excel.load_reached"), 22, NUMBER)]
    known = content.load
    if known is None:
        sheets.table(say("excel.load_by_hour"), hours, (), empty=unknown)
        sheets.table(say("excel.load_duration"), curve, (), empty=unknown)
        return
    pattern = number_pattern(watts for day in known.by_hour_w for watts in day)
    hours = [hours[0], *(column._replace(pattern=pattern) for column in hours[1:])]
    means = ((f"{hour:02}:00", *(known.by_hour_w[day][hour] for day in range(7))) for hour in range(24))
    sheet = sheets.table(say("excel.load_by_hour"), hours, means)
    sheet.conditional_format(1, 1, 24, 7, SHADES)
    _note_left_out(sheets, content, sheet, 24)
    points = len(known.duration_curve_w)
    shares = ((i / (points - 1), watts) for i, watts in enumerate(known.duration_curve_w))
    sheet = sheets.table(say("excel.load_duration"), curve, shares)
    sheet.insert_chart("D2", duration_chart(sheets, points))
    _note_left_out(sheets, content, sheet, points)


def registers(sheets: Sheets, content: ReportContent) -> None:
    """What each meter counted, if there are any."""
    if not content.registers:
        return
    say = sheets.language.say
    columns = [
        Column(say("excel.measurement"), 28, TEXT),
        Column(say("excel.consumption"), 14, NUMBER),
        Column(say("excel.unit"), 9, TEXT),
        Column(say("column.first_reading"), 16, NUMBER),
        sheets.time_column(say("excel.first_at")),
        Column(say("column.last_reading"), 16, NUMBER),
        sheets.time_column(say("excel.last_at")),
    ]
    rows = (
        (sheets.language.title(r.metric), r.consumption, unit_of(r.unit), r.first, r.first_at, r.last, r.last_at)
        for r in content.registers
    )
    sheets.table(say("excel.registers"), columns, rows)
