"""Which counters make up a device's energy: declared roles first, then names."""

import pytest

from assets.energy.meters import energy_meters, meters_of
from storage.devices import DeviceMetadata


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
    ],
)
def test_roles(counters: dict[str, str | None], taken: list[str], fed: list[str]) -> None:
    metadata = DeviceMetadata.model_validate({"counters": {n: {"unit": "kWh", "role": r} for n, r in counters.items()}})
    assert energy_meters(meters_of(metadata), metadata, counters) == {"import": taken, "export": fed}


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
