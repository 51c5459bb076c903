"""Which counters make up a device's energy: declared roles first, then names."""

from zoneinfo import ZoneInfo

import pytest

from assets.energy.figures import energy_figures
from assets.energy.meters import energy_meters, meters_of
from assets.energy.working import Standby, standby
from assets.reports.look import language
from assets.reports.methods import energy_rule
from storage.devices import DeviceMetadata
from storage.times import DAY, HOUR, QUARTER
from tests.support.energy_days import MemoryDays
from tests.support.plant import START


@pytest.mark.parametrize(
    ("counters", "taken", "fed"),
    [
        ({"energy_total": None}, ["energy_total"], []),
        ({"import_kwh": None, "export_kwh": None}, ["import_kwh"], ["export_kwh"]),
        ({"a_feed_in": None, "b_returned": None, "c": None}, ["c"], ["a_feed_in", "b_returned"]),
        ({"import_t1": None, "import_t2": None}, ["import_t1", "import_t2"], []),
        ({"energy_total": None, "energy_t1": None, "energy_t2": None}, ["energy_total"], []),
        ({"export_total": None, "export_t1": None, "t1": None}, ["t1"], ["export_total"]),
        ({"import_kwh": "export", "export_kwh": "import"}, ["export_kwh"], ["import_kwh"]),
        ({"main": "total", "hall_1": "import", "hall_2": "import"}, ["main"], []),
        ({"day": "part", "night": "part"}, ["day", "night"], []),
        ({"all": "import", "night": "part"}, ["all"], []),
        ({"import_total": None, "energy_total": None, "t1": None}, ["import_total"], []),
        ({"oven_total": None, "press_total": None}, ["oven_total", "press_total"], []),
        ({"main": "total", "energy_total": None, "t1": None}, ["main"], []),
    ],
)
def test_roles(counters: dict[str, str | None], taken: list[str], fed: list[str]) -> None:
    metadata = DeviceMetadata.model_validate({"counters": {n: {"unit": "kWh", "role": r} for n, r in counters.items()}})
    assert energy_meters(meters_of(metadata), metadata, counters) == {"import": taken, "export": fed}


@pytest.mark.parametrize(
    ("counters", "told"),
    [
        ({"import_total": None, "energy_total": None}, "import_total counts"),
        ({"oven_total": None, "press_total": None}, "all of them are added"),
        ({"a": "total", "b": "total"}, "all of them are added"),
        ({"oven_total": "import", "press_total": "import"}, None),
        ({"main": "total", "energy_total": None}, None),
        ({"import_total": None, "export_total": None}, None),
    ],
)
def test_several_totals_are_told(counters: dict[str, str | None], told: str | None) -> None:
    metadata = DeviceMetadata.model_validate({"counters": {n: {"unit": "kWh", "role": r} for n, r in counters.items()}})
    days = MemoryDays({name: [(START, 1.0), (START + HOUR, 2.0)] for name in counters})
    found = energy_figures(days, metadata, START, START + DAY, START + DAY)
    assert [f.kind for f in found.findings] == (["role"] if told else [])
    assert (told or "") in "".join(f.detail for f in found.findings)


def test_a_meter_that_only_feeds_in_takes_nothing_that_is_known() -> None:
    metadata = DeviceMetadata.model_validate({"counters": {"feed": {"unit": "kWh"}}})
    days = MemoryDays({"feed": [(START + i * QUARTER, i / 4) for i in range(97)]})
    found = energy_figures(days, metadata, START, START + DAY, START + DAY)
    assert (found.kwh, found.export_kwh, found.peak_demand) == (None, 24, None)
    assert standby(found, [], ZoneInfo("UTC")) == Standby(None, None, None, 0.0)
    assert "feeds in" in energy_rule(found, language("en"), is_waiting=False)


def test_what_waits_for_its_export_is_not_said_to_be_missing() -> None:
    found = energy_figures(MemoryDays({}), DeviceMetadata(), START, START + DAY, START + DAY)
    assert "sent no power" in energy_rule(found, language("en"), is_waiting=False)
    assert "not in a file yet" in energy_rule(found, language("en"), is_waiting=True)


@pytest.mark.parametrize(
    ("unit", "factor", "is_energy", "scale"),
    [
        ("kWh", None, True, 1.0),
        ("KWH", 10.0, True, 10.0),
        ("Wh", None, True, 0.001),
        ("MWh", None, True, 1000.0),
        ("pulses", 0.01, True, 0.01),
        ("pulses", None, False, 1.0),
        ("kW", None, False, 1.0),
        ("W", None, False, 1.0),
        ("m3", 0.5, False, 0.5),
    ],
)
def test_units(unit: str, factor: float | None, is_energy: bool, scale: float) -> None:
    metadata = DeviceMetadata.model_validate({"counters": {"c": {"unit": unit, "factor": factor}}})
    meter = meters_of(metadata)["c"]
    assert meter.is_energy is is_energy
    assert meter.scale == pytest.approx(scale)
