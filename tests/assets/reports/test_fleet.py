"""Reports of fleets: ranking, sums that agree with the parts, and every format."""

import json
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema_rs
import pypdf
import pytest
from hypothesis import given, settings, strategies as st

from assets.energy import EnergyFigures, standby
from assets.energy.figures import energy_figures
from assets.reports import FORMATS, FleetInput, FleetMember, LanguageCode, Report, build_report, fleet_schema
from assets.reports.fleet import compose_fleet
from assets.reports.fleet_content import FleetContent
from assets.reports.fleet_document import markdown_of
from assets.reports.inputs import Earlier
from storage.devices import DeviceMetadata
from storage.times import HOUR, MINUTE, microseconds
from tests.support.energy_days import MemoryDays
from tests.support.report_factories import PARIS, bare, content_of, table

START = datetime(2026, 3, 27, 23, tzinfo=UTC)
# Three days in Paris, of which one has 23 hours.
END = START + timedelta(hours=71)
PARENTS = {"oven": "hall", "press": "hall"}
NOTHING = energy_figures(MemoryDays({}), DeviceMetadata(), 0, HOUR, HOUR)


def energy(watts: float, *, until: float = 1.0) -> EnergyFigures:
    """The energy of a device with this power in the given share of the period."""
    start, end = microseconds(START), microseconds(END)
    last = start + int((end - start) * until)
    days = MemoryDays({"power": [(time, watts) for time in range(start, last + 1, 5 * MINUTE)]})
    return energy_figures(days, DeviceMetadata(), start, end, end)


def member(device_id: str, watts: float, **changes: Any) -> FleetMember:
    figures = energy(watts) if watts else NOTHING
    given: dict[str, Any] = {
        "name": device_id, "type": "machine", "location": None, "energy": figures, "before": NOTHING,
        "standby": standby(figures, (), PARIS), "alerts": 0, "alerts_open": 0, "waiting_days": 0, "files": 3,
        "files_sha256": "ab" * 32,
    }  # fmt: skip
    return FleetMember(device_id=device_id, **(given | changes))


def fleet(*members: FleetMember, **changes: Any) -> FleetInput:
    data = FleetInput(
        report_id="report-0123456789ab", zone=PARIS, start=START, end=END, members=members, parents=PARENTS,
        generated_at=END + timedelta(hours=1), code_version="1.0",
    )  # fmt: skip
    return replace(data, **changes)


HALL = (
    member("hall", 3000, before=energy(2400)),
    member("oven", 1000),
    member("press", 500),
    member("pump", 1500, type="pump"),
)


def test_the_published_schema_is_that_of_the_content() -> None:
    published = Path(build_report.__code__.co_filename).with_name("fleet_schema.json")
    assert json.loads(published.read_text()) == fleet_schema(), "python -m assets.reports"


def test_a_parent_or_its_children_are_in_the_sums(tmp_path: Path) -> None:
    content = compose_fleet(fleet(*HALL), "en")
    assert [device.id for device in content.devices] == ["hall", "pump", "oven", "press"]
    assert [device.id for device in content.counted] == ["hall", "pump"]
    by_id = {device.id: device for device in content.devices}
    assert content.totals.energy_kwh == pytest.approx(4.5 * 71, rel=1e-3)
    assert content.totals.energy_kwh == round(sum(by_id[name].energy_kwh or 0 for name in ("hall", "pump")), 6)
    assert (by_id["oven"].counted_by, by_id["oven"].share) == ("hall", None)
    assert by_id["hall"].share == pytest.approx(2 / 3, rel=1e-3)
    assert sum(device.share or 0 for device in content.counted) == pytest.approx(1)
    assert by_id["hall"].change == pytest.approx(0.25, rel=1e-3)
    assert by_id["hall"].energy_before_kwh == pytest.approx(2.4 * 71, rel=1e-3)
    assert content.totals.change == by_id["hall"].change, "of the devices that have both"
    assert [(group.name, group.devices) for group in content.types] == [("machine", 1), ("pump", 1)]
    peak = content.totals.peak
    assert peak is not None
    assert (peak.watts, peak.share) == pytest.approx((4500, 2 / 3))
    assert peak.device_id == "hall"


def test_a_device_changes_as_in_its_own_report() -> None:
    """Periods of different lengths are compared by the measured day, and those hardly measured are not compared."""
    half = energy(2400, until=0.6)
    content = compose_fleet(
        fleet(member("a", 3000, before=half), member("b", 600, before=energy(600, until=0.4))), "en"
    )
    a, b = content.devices
    start, end = START - (END - START), START
    before = Earlier("period_before", start, end, half, ())
    times = [START + timedelta(minutes=5 * i) for i in range(71 * 12 + 1)]
    own = bare(START, END, table("D1", times, {"power": [3000.0] * len(times)}), earlier=[before])
    compared = content_of(own).comparisons[0].figure("energy_per_day")
    assert compared is not None
    assert compared.change is not None
    assert a.change == pytest.approx(compared.change, rel=1e-3)
    assert a.change == pytest.approx(0.25, rel=1e-3)
    assert (b.change, content.totals.change) == (None, a.change)


def test_days_are_those_of_the_zone_and_add_up() -> None:
    content = compose_fleet(fleet(*HALL), "en")
    assert [(day.end - day.start) / timedelta(hours=1) for day in content.days] == [24, 23, 24]
    assert sum(day.energy_kwh or 0 for day in content.days) == pytest.approx(content.totals.energy_kwh, abs=1e-5)
    for i, day in enumerate(content.days):
        assert day.energy_kwh == pytest.approx(sum(device.daily_kwh[i] or 0 for device in content.counted), abs=1e-5)
    for device in content.devices:
        assert sum(kwh or 0 for kwh in device.daily_kwh) == pytest.approx(device.energy_kwh, abs=1e-5)


@settings(max_examples=20)
@given(st.lists(st.sampled_from([0.0, 250.0, 1000.0]), min_size=1, max_size=5))
def test_whatever_is_measured_the_sum_is_that_of_the_counted_parts(watts: list[float]) -> None:
    members = [member(f"D{i}", power) for i, power in enumerate(watts)]
    content = compose_fleet(fleet(*members, parents={"D1": "D0", "D2": "D1"}), "en")
    known = [device.energy_kwh for device in content.counted if device.energy_kwh is not None]
    assert content.totals.energy_kwh == (round(sum(known), 6) if known else None)
    assert content.totals.devices_counted == len(content.counted)
    ranked = [device.energy_kwh or 0 for device in content.devices]
    assert ranked == sorted(ranked, reverse=True)
    counted = {device.id for device in content.counted}
    assert not ({"D0", "D1"} <= counted)


def build(data: FleetInput, format_: str, folder: Path, language: Any = "en") -> Report:
    folder.mkdir()
    return build_report(
        data, format_, folder=folder, quarto=None, language=language, timeout_seconds=60, max_bytes=10**8,
        progress=lambda *_: None,
    )  # fmt: skip


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("format_", FORMATS)
def test_a_fleet_in_each_format(format_: str, language: str, tmp_path: Path) -> None:
    evil = '`#read("s.txt")`{=typst} {{< env SECRET >}} <b>=1+1'
    data = fleet(*HALL, replace(member("evil", 100), name=evil, type=evil, location=evil), left_out=["gone"])
    report = build(data, format_, tmp_path / "a", language)
    assert report.content == build(data, format_, tmp_path / "b", language).content
    if format_ == "json":
        said = json.loads(report.content)
        jsonschema_rs.validate(fleet_schema(), said)
        assert said["totals"]["devices"] == 5
    elif format_ == "excel":
        with zipfile.ZipFile(BytesIO(report.content)) as archive:
            sheets = "".join(archive.read(name).decode() for name in archive.namelist() if "worksheets/sheet" in name)
        assert "<f>" not in sheets
        assert "<t>hall</t>" in sheets
    elif format_ == "pdf":
        text = " ".join(page.extract_text() for page in pypdf.PdfReader(BytesIO(report.content)).pages)
        assert "hall" in text
        assert "{{< env SECRET >}}" in " ".join(text.split())
    else:
        assert b"<b>=1+1" not in report.content
        assert b"hall" in report.content


def test_what_the_text_says_of_the_devices() -> None:
    incomplete = replace(member("late", 200), energy=energy(200, until=0.5))
    content = compose_fleet(fleet(*HALL, incomplete, member("silent", 0)), "en")
    text = markdown_of(content, set()).replace("\\", "")
    assert "hall used most: 213" in text
    assert "part of hall" in text
    assert "late was measured for 50" in text
    assert content.totals.devices_without_energy == 1


def test_a_change_says_of_which_devices_it_is_and_all_that_were_measured_in_part_are_named() -> None:
    parts = [energy(200, until=0.1 + i / 10) for i in range(5)]
    some = [member(f"part{i}", 200, energy=part, before=energy(100)) for i, part in enumerate(parts)]
    new = replace(some[0], device_id="new", name="new", before=energy(100, until=0.1))
    content = compose_fleet(fleet(*some, new), "en")
    assert content.totals.not_compared == ["new"]
    text = markdown_of(content, set()).replace("\\", "").replace("\u00a0", " ")
    assert "*5 of the 6 devices in the sum compared*" in text
    assert "That compares the 5 devices that were measured well enough in both periods, without new." in text
    for name in ("new", *(one.name for one in some)):
        assert re.search(rf"{name}(?: was measured for| \(measured) \d+", text), name
    assert "of the 5 devices in the sum compared" not in markdown_of(compose_fleet(fleet(*some), "en"), set())


def test_nothing_is_known_of_any(tmp_path: Path) -> None:
    content = compose_fleet(fleet(member("silent", 0)), "en")
    assert isinstance(content, FleetContent)
    assert (content.totals.energy_kwh, content.totals.peak, content.counted) == (None, None, [])
    for format_ in FORMATS:
        assert build(fleet(member("silent", 0)), format_, tmp_path / format_).content


def test_a_peak_of_one_reading_that_may_be_wrong_is_said_to_be(tmp_path: Path) -> None:
    start, end = microseconds(START), microseconds(END)
    readings = [(at, 1000.0 + at // MINUTE % 7) for at in range(start, end, MINUTE)]
    readings[2000] = (readings[2000][0], 9.9e6)
    glitch = energy_figures(MemoryDays({"power": readings}), DeviceMetadata(), start, end, end)
    content = compose_fleet(fleet(member("grinder", 1, energy=glitch), *HALL), "en")
    peak, (reading,) = content.totals.peak, content.doubtful
    assert peak is not None
    assert (peak.device_id, peak.is_doubtful) == ("grinder", True)
    assert (reading.device_id, reading.value_w) == ("grinder", 9.9e6)
    assert reading.energy_kwh == pytest.approx(165, rel=0.01)
    text = markdown_of(content, set()).replace("\\", "").replace("\u00a0", " ")
    assert "It rests on one reading that may be wrong" in text
    sure = content.totals.peak_without_doubtful
    assert sure is not None
    assert (sure.watts < 50_000, sure.is_doubtful) == (True, False)
    ranked = [device.trusted_kwh or 0.0 for device in content.devices]
    assert ranked == sorted(ranked, reverse=True)
    assert "was 9.90 MW" not in text
    assert f"was {sure.watts / 1000:.2f} kW" in text
    assert content.totals.doubtful_kwh == pytest.approx(165, rel=0.01)
    assert "One reading of grinder may be wrong: 9.90 MW on" in text
    assert compose_fleet(fleet(*HALL), "en").doubtful == []
    book = build(fleet(member("grinder", 1, energy=glitch), *HALL), "excel", tmp_path / "excel")
    with zipfile.ZipFile(BytesIO(book.content)) as archive:
        assert "rests on one reading that may be wrong" in archive.read("xl/worksheets/sheet1.xml").decode()


def test_what_sent_nothing_does_not_hide_what_was_measured_in_part() -> None:
    some = [replace(member(f"part{i}", 200), energy=energy(200, until=share)) for i, share in enumerate((0.18, 0.52))]
    none = [member(f"silent{i}", 0, files=0) for i in range(4)]
    content = compose_fleet(fleet(*some, *none, member("odd", 0)), "de")
    text = markdown_of(content, set()).replace("\\", "").replace("\u00a0", " ")
    assert "während 0 %" not in text
    assert "part0 wurde nur während 18" in text
    assert "part1 wurde nur während 52" in text
    assert "nichts gesendet haben: silent0, silent1, silent2 und silent3." in text
    assert "aus denen sich Energie ergibt: odd." in text


@pytest.mark.parametrize(("code", "used"), [("en", "pump used 106.5 kWh."), ("de", "pump hat 106,5 kWh verbraucht.")])
def test_a_fleet_of_one_is_told_as_one_device(code: LanguageCode, used: str) -> None:
    text = markdown_of(compose_fleet(fleet(member("pump", 1500)), code), set()).replace("\\", "").replace("\u00a0", " ")
    assert used in text
    assert not any(words in text for words in ("1 device in the sum", "had 100", "davon hatte", "(1 Gerät)"))


def test_devices_whose_readings_are_in_no_file_yet_are_named() -> None:
    some = [member(f"m{i:02}", 100 + i, waiting_days=1) for i in range(12)]
    text = markdown_of(compose_fleet(fleet(*some, member("pump", 1500)), "en"), set()).replace("\\", "")
    (line,) = [line for line in text.splitlines() if "not in a file yet" in line]
    assert line.startswith("- Some readings of these devices")
    assert line.count("m0") + line.count("m1") == 10
    assert "and 2 others. A later report will include them." in line
    assert "pump" not in line
