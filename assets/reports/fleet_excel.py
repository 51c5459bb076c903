"""The fleet report as an Excel workbook: the devices ranked, and the energy of each by day."""

from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from assets.reports.budget import Budget
from assets.reports.excel_charts import energy_chart, ranking_chart
from assets.reports.excel_sheets import COUNT, DATE, NUMBER, SAFE_OPTIONS, SHARE, TEXT, Column, Share, Sheets
from assets.reports.fleet_content import FleetContent, FleetReading
from assets.reports.formatting import Language

MAX_BARS = 20


def workbook(content: FleetContent, folder: Path, budget: Budget, language: Language) -> bytes:
    """The workbook's bytes, equal for equal input."""
    import xlsxwriter  # noqa: PLC0415 - JSON and PDF need not load it

    file = folder / "report.xlsx"
    with xlsxwriter.Workbook(file, {"constant_memory": True, "tmpdir": str(folder), **SAFE_OPTIONS}) as book:
        book.set_properties(
            {
                "title": language.say("fleet.title", n=language.count(len(content.devices), "device")),
                "subject": content.report_id,
                "created": content.generated_at.astimezone(UTC).replace(tzinfo=None),
            }
        )
        sheets = Sheets(book, ZoneInfo(content.period.tz), language)
        budget.step(30, "Writing the ranking")
        _summary(sheets, content)
        _devices(sheets, content)
        _loads(sheets, content)
        _types(sheets, content)
        budget.step(60, "Writing the days")
        _days(sheets, content)
        budget.step(90, "Packing the workbook")
    return file.read_bytes()


def _summary(sheets: Sheets, content: FleetContent) -> None:
    totals, language, say = content.totals, sheets.language, sheets.language.say
    sheet = sheets.page(say("excel.summary"), (34, 24, 30))
    sheets.write_header(sheet, 0, (say("excel.report"), "", ""))
    sheet.freeze_panes(1, 0)
    peak, caveat = totals.peak, None
    if totals.peak and totals.peak_without_doubtful:
        peak, counted = totals.peak_without_doubtful, language.quantity(totals.peak.watts, "W")
        caveat = f"{say('note.left_out', counted=counted)} ({say('note.doubtful')})"
    compared = None
    if totals.not_compared:
        number = totals.devices_counted - len(totals.not_compared)
        compared = say("fleet.compared", n=number, all=totals.devices_counted)
    rows: list[Sequence[Any]] = [
        (say("excel.period"), language.period(content.period)),
        (say("excel.zone"), language.zone(content.period)),
        (say("excel.generated"), content.generated_at),
        (say("excel.report_id"), content.report_id),
        (),
        (say("excel.devices"), totals.devices),
        (say("excel.counted"), totals.devices_counted),
        (say("excel.without_energy"), totals.devices_without_energy),
        (say("excel.energy"), totals.energy_kwh),
        *([(say("excel.without_doubtful"), totals.trusted_kwh)] if totals.doubtful_kwh else []),
        (say("excel.fed_in"), totals.energy_export_kwh),
        (say("excel.before"), totals.energy_before_kwh),
        (say("excel.change"), _share(totals.change), compared),
        (say("excel.outside"), totals.outside_hours_kwh),
        (say("excel.demand"), peak and peak.watts, peak and peak.device_id),
        (say("excel.demand_at"), peak and peak.at, caveat),
        *((say("excel.doubtful"), reading.at, _doubtful(language, reading)) for reading in content.doubtful),
        (say("excel.alerts"), totals.alerts),
        *((say("excel.left_out"), device_id) for device_id in content.left_out),
    ]
    for number, row in enumerate(rows, 1):
        sheets.write_row(sheet, number, row)
    ranked = min(sum(device.energy_kwh is not None for device in content.devices), MAX_BARS)
    if ranked:
        sheet.insert_chart("E2", ranking_chart(sheets, ranked, _device_columns(sheets, content)))


def _doubtful(language: Language, reading: FleetReading) -> str:
    energy = language.quantity(reading.energy_kwh, "kWh")
    return f"{reading.device_id}: {language.quantity(reading.value_w, 'W')}, {energy}"


def _device_columns(sheets: Sheets, content: FleetContent) -> list[Column]:
    """The columns of the sheet of devices."""
    say = sheets.language.say
    return [
        Column(say("excel.device_id"), 20, TEXT),
        Column(say("excel.device"), 24, TEXT),
        Column(say("excel.in_sum"), 16, TEXT),
        Column(say("excel.energy"), 13, NUMBER),
        Column(say("excel.share"), 10, SHARE),
        Column(say("excel.before"), 13, NUMBER),
        Column(say("excel.change"), 11, SHARE),
        Column(say("excel.measured"), 12, SHARE),
        Column(say("excel.type"), 16, TEXT),
        Column(say("excel.location"), 18, TEXT),
        *_without_doubtful(sheets, content),
    ]


def _devices(sheets: Sheets, content: FleetContent) -> None:
    say = sheets.language.say
    rows = (
        (
            d.id,
            d.name,
            say("excel.yes") if d.counted else say("excel.part_of", device=d.counted_by) if d.counted_by else None,
            d.energy_kwh,
            d.share,
            d.energy_before_kwh,
            d.change,
            d.coverage,
            d.type,
            d.location,
            *([d.trusted_kwh] if content.totals.doubtful_kwh else []),
        )
        for d in content.devices
    )
    sheets.table(say("excel.devices"), _device_columns(sheets, content), rows)


def _loads(sheets: Sheets, content: FleetContent) -> None:
    say = sheets.language.say
    columns = [
        Column(say("excel.device_id"), 20, TEXT),
        Column(say("excel.mean_power"), 13, NUMBER),
        Column(say("excel.demand"), 16, NUMBER),
        sheets.time_column(say("excel.demand_at")),
        Column(say("excel.load_factor"), 11, NUMBER),
        Column(say("excel.base_load"), 12, NUMBER),
        Column(say("excel.outside"), 16, NUMBER),
        Column(say("excel.outside_share"), 12, SHARE),
        Column(say("excel.fed_in"), 13, NUMBER),
        Column(say("excel.alerts"), 10, COUNT),
        Column(say("excel.alerts_open"), 10, COUNT),
    ]
    rows = (
        (
            d.id,
            d.mean_power_w,
            d.peak_demand_w,
            d.peak_demand_at,
            d.load_factor,
            d.base_load_w,
            d.outside_hours_kwh,
            d.outside_hours_share,
            d.energy_export_kwh,
            d.alerts,
            d.alerts_open,
        )
        for d in content.devices
    )
    sheet = sheets.table(say("excel.loads"), columns, rows)
    if content.totals.doubtful_kwh:
        sheets.note(sheet, len(content.devices), say("excel.left_out_readings"))


def _types(sheets: Sheets, content: FleetContent) -> None:
    say = sheets.language.say
    columns = [
        Column(say("excel.type"), 26, TEXT),
        Column(say("excel.devices"), 12, COUNT),
        Column(say("excel.energy"), 14, NUMBER),
        Column(say("excel.share"), 10, SHARE),
        *_without_doubtful(sheets, content),
    ]
    has_doubtful = content.totals.doubtful_kwh > 0
    rows = (
        (group.name, group.devices, group.energy_kwh, group.share)
        + (((group.energy_kwh or 0.0) - group.doubtful_kwh,) if has_doubtful else ())
        for group in content.types
    )
    sheets.table(say("excel.types"), columns, rows)


def _days(sheets: Sheets, content: FleetContent) -> None:
    """The energy of the fleet by day, and in a sheet of its own that of each device."""
    say = sheets.language.say
    day = Column(say("excel.day"), 14, DATE)
    energy, fed_in = Column(say("excel.energy"), 16, NUMBER), Column(say("excel.fed_in"), 16, NUMBER)
    more = _without_doubtful(sheets, content)
    totals = (
        (day.day, day.energy_kwh, day.energy_export_kwh)
        + ((None if day.energy_kwh is None else day.energy_kwh - day.doubtful_kwh,) if more else ())
        for day in content.days
    )
    columns = [day, energy, fed_in, *more]
    sheet = sheets.table(say("excel.daily"), columns, totals)
    sheet.insert_chart("F2", energy_chart(sheets, len(content.days), columns))
    parts = (
        (day.day, device.id, kwh)
        for i, day in enumerate(content.days)
        for device in content.devices
        if (kwh := device.daily_kwh[i]) is not None
    )
    sheets.table(say("excel.days_of_devices"), [day, Column(say("excel.device_id"), 24, TEXT), energy], parts)


def _without_doubtful(sheets: Sheets, content: FleetContent) -> list[Column]:
    """A further column, if readings that may be wrong are part of the energy."""
    return [Column(sheets.language.say("excel.without_doubtful"), 18, NUMBER)] if content.totals.doubtful_kwh else []


def _share(value: float | None) -> Share | None:
    return None if value is None else Share(value)
