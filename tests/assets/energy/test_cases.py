"""The cases of registers and of power (`tests/cases`) as functions see them: from readings, and from the catalogue."""

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assets.energy.basis import bases_of
from assets.energy.figures import EnergyFigures, energy_figures
from assets.energy.meters import meters_of
from storage.devices import DeviceMetadata
from storage.times import DAY, microseconds
from tests.support.energy_days import MemoryDays

FOLDER = Path(__file__).parents[2] / "cases"
CASES = {case["name"]: case for case in json.loads((FOLDER / "cases.json").read_text())}


def readings_of(case: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    path = FOLDER / "inputs" / case["input"]
    text = path.read_text()
    rows = list(csv.DictReader(text.splitlines())) if path.suffix == ".csv" else json.loads(text)
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        time = microseconds(datetime.fromisoformat(row.pop("timestamp")))
        for name, value in row.items():
            found.setdefault(name, []).append((time, float(value)))
    return found


def figures(name: str, label: str, *, kept: bool) -> EnergyFigures:
    case = CASES[name]
    metadata = DeviceMetadata.model_validate(case["metadata"])
    source = MemoryDays(readings_of(case))
    if kept:
        source.keep(bases_of(metadata, meters_of(metadata)))
    asked = case["ask"][label]
    start, end = (microseconds(datetime.fromisoformat(moment)) for moment in asked.get("stats") or asked["report"])
    return energy_figures(source, metadata, start, end, end + 30 * DAY)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("name", "label", "kwh", "demand"),
    [
        ("register-dips-to-zero", "day", 1.9, 600),
        ("register-dips-to-zero-with-rollover", "day", 1.9, 600),
        ("register-spikes-threefold", "day", 1.9, 600),
        ("register-of-a-used-meter", "day", 1.8, 600),
        ("register-that-runs-backwards", "day", None, None),
        ("register-that-runs-backwards-net", "day", -10.5, None),
        ("registers-import-and-export", "day", 9.5, 3000),
        ("registers-by-role", "day", 1.9, 600),
        *(("register-read-hourly", f"day-{day}", 24, 1000) for day in (1, 2, 3, 4)),
        ("register-read-hourly", "all", 96, 1000),
        ("register-read-hourly", "half-hour", 0.5, 1000),
        *(("power-every-15-min", f"day-{day}", 24, 1000) for day in (1, 2, 3)),
        ("power-every-15-min", "all", 72, 1000),
        ("power-every-15-min", "part", 1, 1000),
        ("on-change-plug", "day", 45.988, 2000),
    ],
)
def test_energy_and_demand(name: str, label: str, kwh: float | None, demand: float | None, *, kept: bool) -> None:
    found = figures(name, label, kept=kept)
    assert found.kwh == (None if kwh is None else pytest.approx(kwh, abs=0.01))
    if demand is not None:
        assert found.peak_demand is not None
        assert found.peak_demand.watts == pytest.approx(demand, rel=0.01)
    assert found.load_factor is None or 0 <= found.load_factor <= 1


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_fed_in_is_never_use(kept: bool) -> None:
    found = figures("prosumer", "report", kept=kept)
    assert found.kwh == pytest.approx(11.37, abs=0.05)
    assert found.export_kwh == pytest.approx(55.86, abs=0.05)
    assert found.load_factor is None
    pv = figures("feed-in-only", "report", kept=kept)
    assert (pv.kwh, pv.is_feed_in) == (0, True)
    assert pv.export_kwh == pytest.approx(63.8, abs=0.1)
    assert pv.peak_feed_in is not None
    assert pv.peak_feed_in.watts == pytest.approx(5000, rel=0.01)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("name", "label", "kinds"),
    [
        ("register-dips-to-zero", "day", ["outlier"]),
        ("register-spikes-threefold", "day", ["outlier"]),
        ("register-of-a-used-meter", "day", ["meter_change"]),
        ("register-that-runs-backwards", "day", ["pending"]),
        ("one-huge-outlier", "report", ["single_reading"]),
        ("register-read-hourly", "all", []),
    ],
)
def test_findings(name: str, label: str, kinds: list[str], kept: bool) -> None:
    found = figures(name, label, kept=kept)
    assert [finding.kind for finding in found.findings] == kinds
