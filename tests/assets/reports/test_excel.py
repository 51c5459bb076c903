import io
import re
import zipfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from assets.reports import Missing, Report, ReportError, ReportInput, build_report, excel
from tests.support.report_factories import DAY, HOUR, MINUTE, PARIS, START, bare, content_of, house, steady, table
from tests.support.report_pictures import everything

NAMESPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
EVIL = '=HYPERLINK("http://x.test","click")'
NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)


def workbook(data: ReportInput, folder: Path, **budget: Any) -> Report:
    folder.mkdir(exist_ok=True)
    limits: dict[str, Any] = {"timeout_seconds": 60, "max_bytes": 10**8, "progress": lambda *_: None} | budget
    return build_report(data, "excel", folder=folder, quarto=None, **limits)


@dataclass
class Book:
    """A workbook as its XML has it."""

    files: dict[str, str]

    @classmethod
    def of(cls, report: Report) -> "Book":
        with zipfile.ZipFile(io.BytesIO(report.content)) as archive:
            assert archive.testzip() is None
            return cls({name: archive.read(name).decode() for name in archive.namelist()})

    @property
    def sheets(self) -> list[str]:
        return [
            sheet.attrib["name"]
            for sheet in ElementTree.fromstring(self.files["xl/workbook.xml"]).iter(f"{NAMESPACE}sheet")
        ]

    def rows(self, sheet: str) -> list[list[str | float | None]]:
        xml = ElementTree.fromstring(self.files[f"xl/worksheets/sheet{self.sheets.index(sheet) + 1}.xml"])
        found = []
        for row in xml.iter(f"{NAMESPACE}row"):
            cells: list[str | float | None] = []
            for cell in row:
                column = ord(cell.attrib["r"][0]) - ord("A")
                cells += [None] * (column - len(cells))
                value, text = cell.find(f"{NAMESPACE}v"), "".join(t.text or "" for t in cell.iter(f"{NAMESPACE}t"))
                cells.append(
                    text if cell.get("t") == "inlineStr" else None if value is None else float(value.text or "")
                )
            found.append(cells)
        return found


def excel_time(moment: datetime) -> float:
    """Excel's count of days by the clock that the moment shows."""
    return (moment.replace(tzinfo=None) - datetime(1899, 12, 30)) / DAY  # noqa: DTZ001 - Excel knows no zones


def test_the_house_for_a_week(tmp_path: Path) -> None:
    report = workbook(house(), tmp_path)
    book = Book.of(report)
    assert book.sheets == [
        "Summary", "What to do", "Comparison", "Daily", "Load", "Load by hour", "Load duration", "Readings",
        "Anomalies", "Forecast", "Alerts", "Data quality", "Findings", "Corrections",
    ]  # fmt: skip
    summary = {row[0]: row[1:] for row in book.rows("Summary") if row}
    assert summary["Device ID"] == ["HOUSE-A"]
    assert str(summary["Period"][0]).startswith("17 ")
    assert summary["Energy"][:2] == [pytest.approx(301.7, abs=0.05), "kWh"]
    assert str(summary["Energy method"][0]).startswith("Energy is the integral of power over time")
    daily = book.rows("Daily")
    assert [row[1] for row in daily[1:]] == pytest.approx([58.1, 35.6, 28.9, 35.1, 30.7, 36.9, 76.4], abs=0.05)
    assert daily[1][0] == excel_time(datetime(2006, 12, 17, tzinfo=PARIS))
    readings = book.rows("Readings")
    assert readings[0][:4] == ["Time (Europe/Paris)", "Time (UTC)", "voltage (V)", "current (A)"]
    assert readings[0][4:] == ["power (W)", "power factor", "reactive power (var)"]
    assert len(readings) == 1 + 7 * 1440
    first = house().readings.slice(0, 1).to_pylist()[0]
    assert readings[1][:2] == pytest.approx([excel_time(START), excel_time(START.astimezone(UTC))])
    assert readings[1][2:5] == [first["voltage"], first["current"], first["power"]]
    assert [row[2] for row in book.rows("Anomalies")[1:]] == ["voltage"]
    assert len(book.rows("Forecast")) == 1 + 24
    assert [row[1] for row in book.rows("Alerts")[1:]] == ["high"] * 5
    assert len([name for name in book.files if re.match(r"xl/charts/chart\d", name)]) == 4


def test_equal_input_is_an_equal_file(tmp_path: Path) -> None:
    data = house(START, START + DAY)
    assert workbook(data, tmp_path / "a").content == workbook(data, tmp_path / "b").content


def test_what_users_wrote_is_neither_a_formula_nor_a_link(tmp_path: Path) -> None:
    alert = {**house().alerts[0], "message": EVIL, "rule": {"rule_name": "+1+1"}, "status": "http://x.test"}
    data = replace(house(START, START + HOUR), device_name=EVIL, location="@SUM(A1)\x07\x00", alerts=[alert])
    book = Book.of(workbook(data, tmp_path))
    for name, xml in book.files.items():
        if name.startswith("xl/worksheets/"):
            assert "<f>" not in xml, name
            assert "<hyperlink" not in xml, name
        assert "TargetMode" not in xml, name
    assert ["Device", EVIL] in book.rows("Summary")
    assert ["Location", "@SUM(A1)"] in book.rows("Summary")
    assert book.rows("Alerts")[1][2:5] == ["http://x.test", "+1+1", EVIL]


def test_more_readings_than_a_sheet_holds_go_on_in_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel, "MAX_ROWS", 50)
    monkeypatch.setattr(excel, "BATCH_ROWS", 20)
    book = Book.of(workbook(bare(NOON, NOON + 2 * HOUR, steady(NOON, NOON + 2 * HOUR)), tmp_path))
    assert [name for name in book.sheets if name.startswith("Readings")] == ["Readings", "Readings 2", "Readings 3"]
    parts = [book.rows(name)[1:] for name in ("Readings", "Readings 2", "Readings 3")]
    assert [len(part) for part in parts] == [50, 50, 20]
    times = [row[1] for part in parts for row in part]
    assert times == pytest.approx([excel_time(NOON + i * MINUTE) for i in range(120)])


def test_missing_values_are_empty_cells(tmp_path: Path) -> None:
    readings = table(
        "D1", [NOON, NOON + MINUTE], {"power": [1.0, None], "voltage": [None, 230.0], "odd": [float("nan"), 2.0]}
    )
    rows = Book.of(workbook(bare(NOON, NOON + HOUR, readings), tmp_path)).rows("Readings")
    assert rows[0][2:] == ["voltage (V)", "power (W)", "odd"]
    assert rows[1][2:] == [None, 1.0]
    assert rows[2][2:] == [230.0, None, 2.0]


def test_the_repeated_hour_of_a_clock_change_has_its_utc_beside_it(tmp_path: Path) -> None:
    start = datetime(2026, 10, 25, tzinfo=PARIS)
    end = start.astimezone(UTC) + timedelta(hours=25)
    rows = Book.of(workbook(bare(start, end, steady(start, end, step=HOUR)), tmp_path)).rows("Readings")[1:]
    local, utc = ([row[i] for row in rows] for i in (0, 1))
    assert (len(set(local)), len(set(utc))) == (24, 25)


def test_a_report_without_readings(tmp_path: Path) -> None:
    book = Book.of(workbook(bare(NOON, NOON + DAY), tmp_path))
    assert book.rows("Readings") == [["Time (Europe/Paris)", "Time (UTC)"], ["no readings in this period"]]
    assert ["Readings", 0.0] in book.rows("Data quality")


def test_a_timeout_or_a_cancellation_ends_the_work(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="not ready after 0 s"):
        workbook(house(), tmp_path / "a", timeout_seconds=0)

    def cancelled(_: float, message: str) -> None:
        if message == "Writing the readings":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        workbook(house(), tmp_path / "b", progress=cancelled)


def sheet_xml(book: Book, sheet: str) -> str:
    return book.files[f"xl/worksheets/sheet{book.sheets.index(sheet) + 1}.xml"]


def formats(book: Book, sheet: str, row: int) -> list[str]:
    """The number formats of a row's cells."""
    styles = ElementTree.fromstring(book.files["xl/styles.xml"])
    named = {f.attrib["numFmtId"]: f.attrib["formatCode"] for f in styles.iter(f"{NAMESPACE}numFmt")}
    builtin = {"0": "General", "3": "#,##0", "49": "@"}
    (cell_formats,) = styles.iter(f"{NAMESPACE}cellXfs")
    codes = [(named | builtin)[xf.attrib["numFmtId"]] for xf in cell_formats]
    xml = ElementTree.fromstring(sheet_xml(book, sheet))
    (cells,) = (r for r in xml.iter(f"{NAMESPACE}row") if r.attrib["r"] == str(row))
    return [codes[int(cell.get("s", "0"))] for cell in cells]


def test_sheets_are_tables_with_filters_and_print_a_page_wide(tmp_path: Path) -> None:
    book = Book.of(workbook(house(), tmp_path))
    tables = [xml for name, xml in book.files.items() if name.startswith("xl/tables/")]
    assert len(tables) == 9, "advice, days, three of the load, readings, anomalies, forecast, alerts"
    readings = next(xml for xml in tables if "reactive power (var)" in xml)
    assert f'ref="A1:G{1 + 7 * 1440}"' in readings
    assert "<autoFilter" in readings
    for sheet in book.sheets:
        xml = sheet_xml(book, sheet)
        setup = next(ElementTree.fromstring(xml).iter(f"{NAMESPACE}pageSetup")).attrib
        assert (setup["paperSize"], setup["orientation"], setup["fitToHeight"]) == ("9", "landscape", "0"), sheet
        assert '<pageSetUpPr fitToPage="1"/>' in xml
        assert 'state="frozen"' in xml
    assert 'wrapText="1"' in book.files["xl/styles.xml"]
    assert "_xlnm.Print_Titles" in book.files["xl/workbook.xml"], "headers come again on each page"


def test_numbers_have_the_digits_that_they_need(tmp_path: Path) -> None:
    times = [NOON + i * MINUTE for i in range(3)]
    readings = table(
        "D1", times, {"power": [1234.5, 20_000.25, 3.0], "voltage": [229.61, 230.2, 231.0], "n": [1.0, 2.0, 3.0]}
    )
    book = Book.of(workbook(bare(NOON, NOON + HOUR, readings), tmp_path))
    assert book.rows("Readings")[0][2:] == ["voltage (V)", "power (W)", "n"]
    assert formats(book, "Readings", 2)[2:] == ["#,##0.0", "#,##0", "#,##0"]
    counts = next(i for i, row in enumerate(book.rows("Data quality"), 1) if row[:1] == ["Readings"])
    assert formats(book, "Data quality", counts)[1] == "#,##0"


def test_a_time_stands_once_where_both_zones_are_the_same(tmp_path: Path) -> None:
    data = replace(bare(NOON, NOON + HOUR, steady(NOON, NOON + HOUR)), zone=ZoneInfo("UTC"))
    assert Book.of(workbook(data, tmp_path)).rows("Readings")[0][:2] == ["Time (UTC)", "voltage (V)"]


def test_an_empty_sheet_says_none_or_why(tmp_path: Path) -> None:
    analyses: dict[str, dict[str, Any]] = {
        "anomaly": {"results": {"events": []}},
        "forecast": {"missing": "too few days"},
    }
    book = Book.of(workbook(replace(bare(NOON, NOON + HOUR), analyses=analyses), tmp_path / "a"))
    said = {sheet: book.rows(sheet)[1:] for sheet in ("Anomalies", "Forecast", "Alerts")}
    assert said == {"Anomalies": [["none"]], "Forecast": [["not analysed: too few days"]], "Alerts": [["none"]]}
    book = Book.of(workbook(bare(NOON, NOON + HOUR), tmp_path / "b"))
    assert book.rows("Anomalies")[1] == ["not analysed: this report was asked for without it"]


def test_what_to_do_how_it_compares_and_the_load(tmp_path: Path) -> None:
    data = everything()
    content, book = content_of(data), Book.of(workbook(data, tmp_path))
    advised = book.rows("What to do")
    assert advised[0] == ["No.", "What to do", "Why", "Concerns (kWh)", "How sure", "Because"]
    assert [row[1] for row in advised[1:]] == [one.title for one in content.advice]
    assert [row[3] for row in advised[1:]] == pytest.approx([one.energy_kwh for one in content.advice])
    compared = book.rows("Comparison")
    assert [row[0] for row in compared[1:]] == ["Period before"] * 5 + ["Year before"] * 5
    per_day, share = compared[1], compared[5]
    figures = {figure.key: figure for figure in content.comparisons[0].figures}
    assert per_day[4:8] == [
        "Energy per day", "kWh", pytest.approx(figures["energy_per_day"].value),
        pytest.approx(figures["energy_per_day"].earlier),
    ]  # fmt: skip
    assert per_day[8:] == [pytest.approx(figures["energy_per_day"].change)]
    difference = figures["outside_working_hours_share"].difference
    assert difference is not None
    assert share[8:] == [None, pytest.approx(difference * 100, abs=0.05)]
    load = content.load
    assert load is not None
    hours = book.rows("Load by hour")
    assert hours[0] == ["Hour from", *(f"{day}day (W)" for day in
                        ("Mon", "Tues", "Wednes", "Thurs", "Fri", "Satur", "Sun"))]  # fmt: skip
    assert hours[13] == ["12:00", *(pytest.approx(day[12]) for day in load.by_hour_w)]
    assert 'type="colorScale"' in sheet_xml(book, "Load by hour")
    assert [row[1] for row in book.rows("Load duration")[1:]] == pytest.approx(load.duration_curve_w)
    told = {row[0]: row[1] for row in book.rows("Load")[1:]}
    assert told["Base load"] == pytest.approx(content.kpi("base_load").value)
    assert told["Running time"] == 330
    assert [row[0] for row in book.rows("Meters")[1:]] == ["Energy total"]
    assert book.rows("Risk of failure")[1][1] == 0.18
    assert "On 3 days of 3" in " ".join(str(cell) for row in book.rows("Data quality") for cell in row)
    assert [row[3:5] for row in book.rows("Corrections")[1:]] == [["replace", 700.0]]
    summary = {row[0]: row for row in book.rows("Summary") if row}
    assert "the readings of 2 days of it have changed since then" in str(summary["Analysis: anomaly"][3])
    assert not any("isolation_forest" in str(cell) for row in book.rows("Summary") for cell in row)


def test_sheets_of_what_is_unknown_say_so(tmp_path: Path) -> None:
    book = Book.of(workbook(bare(NOON, NOON + DAY), tmp_path))
    unknown = "not analysed: no quarter hour was measured well enough"
    (advice,) = book.rows("What to do")[1:]
    assert advice[1:3] == ["Repair the data", advice[2]]
    assert str(advice[2]).startswith("No reading of this period has arrived.")
    assert book.rows("Comparison")[1:] == [["none: less than half of each earlier period was measured"]]
    assert book.rows("Load by hour")[1:] == book.rows("Load duration")[1:] == [[unknown]]
    assert book.rows("Findings")[1:] == book.rows("Corrections")[1:] == [["none"]]


def test_a_workbook_in_german(tmp_path: Path) -> None:
    book = Book.of(workbook(house(START, START + DAY), tmp_path, language="de"))
    assert book.sheets[0] == "Übersicht"
    assert book.sheets[-3:] == ["Datenqualität", "Befunde", "Korrekturen"]
    assert book.rows("Messwerte")[0][0] == "Zeit (Europe/Paris)"
    assert "'Messwerte'" not in book.files["xl/charts/chart1.xml"]
    assert "Tage!" in book.files["xl/charts/chart1.xml"]


def test_an_analysis_that_could_not_be_renewed_says_why(tmp_path: Path) -> None:
    data = everything()
    anomaly = {**data.analyses["anomaly"], "not_renewed": Missing("unfit", "It failed.")}
    book = Book.of(workbook(replace(data, analyses={**data.analyses, "anomaly": anomaly}), tmp_path))
    summary = {row[0]: row for row in book.rows("Summary") if row}
    assert "a newer one could not be made: the readings of all its days failed" in str(summary["Analysis: anomaly"][3])


@pytest.mark.parametrize("watts", [5000.0, 250_000.0])
def test_the_chart_of_energy_shows_the_column_that_its_title_names(watts: float, tmp_path: Path) -> None:
    readings = steady(START, START + 3 * DAY, watts=2000.0)
    power = readings["power"].to_pylist()
    power[2000] = watts  # far above all others of its day, it may be wrong
    index = readings.schema.get_field_index("power")
    field = readings.schema.field(index)
    data = bare(START, START + 3 * DAY, readings.set_column(index, field, pa.array(power, pa.float64())))
    book = Book.of(workbook(data, tmp_path))
    chart = next(text for name, text in book.files.items() if "charts/chart" in name and "Daily!" in text)
    (column,) = set(re.findall(r"<c:val>.*?Daily!\$([A-Z])\$2", chart))
    titles = dict(zip("ABCDEFGHIJ", book.rows("Daily")[0], strict=False))
    expected = "Energy (kWh)" if watts == 5000.0 else "Energy without readings that may be wrong (kWh)"
    assert titles[column] == expected
    assert ("Energy without readings" in chart) == (watts > 5000.0)


@pytest.mark.parametrize(("language", "message"), [("en", "Device HOUSE-A"), ("de", "Spannung")])
def test_messages_of_alerts_are_those_of_the_other_formats(language: str, message: str, tmp_path: Path) -> None:
    book = Book.of(workbook(house(), tmp_path, language=language))
    rows = book.rows("Alerts" if language == "en" else "Alarme")[1:]
    assert rows
    assert all(any(str(cell).startswith(message) for cell in row) for row in rows), rows[0]
