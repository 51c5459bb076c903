"""Registers as plants have them: what happens to them, what is counted, and what is said about it."""

import math
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, strategies as st

from assets.energy.basis import bases_of
from assets.energy.corrections import Corrections
from assets.energy.figures import EnergyFigures, energy_figures
from assets.energy.meters import meters_of
from storage.corrections import Correction
from storage.devices import DeviceMetadata
from storage.times import DAY, HOUR, MINUTE, SECOND, moment
from tests.support.energy_days import MemoryDays
from tests.support.plant import START

Readings = list[tuple[int, float]]


def register(count: int = 145, step: int = 10 * MINUTE, per_hour: float = 0.6, first: float = 7000.0) -> Readings:
    return [(START + i * step, first + per_hour * i * step / HOUR) for i in range(count)]


def ticking(step: int, per_hour: float) -> Readings:
    return [(time, math.floor(value)) for time, value in register(DAY // step + 1, step, per_hour, 1000.0)]


def changed(readings: Readings, where: Iterable[int], change: Callable[[float], float] | float) -> Readings:
    numbers = set(where)
    return [
        (time, (change(value) if callable(change) else change) if i in numbers else value)
        for i, (time, value) in enumerate(readings)
    ]


def daily(step: int) -> Readings:
    return [(START + t, t % DAY / HOUR) for t in range(0, 3 * DAY + 1, step)]


AFTER = range(70, 145)
IDLE = [(START + i * 10 * MINUTE, 500.0) for i in range(145)]
SECONDS = register(7200, SECOND, 5.0)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("readings", "kwh", "kinds"),
    [
        (register(), 14.4, []),
        (changed(register(), [50, 51, 52], 0.0), 14.4, ["outlier"]),
        (changed(register(), [0], 0.0), 14.3, ["outlier"]),
        (changed(register(), [0], 9000.0), 14.3, ["outlier"]),
        (changed(register(), [0, 1], 9000.0), 14.2, ["outlier"]),
        (changed(register(), range(30), lambda v: v + 900), 14.3, ["meter_change"]),
        (changed(register(), [5], 1e13), 14.4, ["beyond_range"]),
        (changed(register(), [1], 0.0), 14.4, ["outlier"]),
        (changed(register(), [50], 3500.0), 14.4, ["outlier"]),
        (changed(register(), [50, 90], 0.0), 14.4, ["outlier"] * 2),
        (changed(register(), [50, 52], 0.0), 14.4, ["outlier"] * 2),
        (changed(register(), range(50, 55), 0.0), 14.4, ["outlier"]),
        (changed(register(), [50, 51, 52], 9e4), 14.4, ["outlier"]),
        (changed(register(), [50], lambda v: v + 5), 14.4, ["outlier"]),
        (changed(register(), [50], lambda v: v - 5), 14.4, ["outlier"]),
        (changed(changed(register(), [50], 9e4), [51], 0.0), 14.4, ["outlier"] * 2),
        (changed(SECONDS, range(3000, 3040), 0.0), 5 * 7199 / 3600, ["outlier"]),
        (changed(SECONDS, range(100, 7000, 500), 0.0), 5 * 7199 / 3600, ["outlier"] * 14),
        ([r for i, r in enumerate(register(25, HOUR, 1.0)) if not 8 <= i <= 12], 24, ["gap"]),
        (changed(register(25, HOUR, 1.0), [12], 0.0), 24, ["outlier"]),
        (changed(register(), AFTER, lambda v: v - 7007), 14.3, ["reset"]),
        (changed(register(), AFTER, lambda v: v + 2000), 14.3, ["jump"]),
        (changed(register(), AFTER, lambda v: v - 2000), 14.3, ["meter_change"]),
        (changed(register(), AFTER, lambda v: v - 6995), 14.3, ["meter_change"]),
        (changed(register(20), range(17, 20), lambda v: v - 7001.7), 1.6, ["pending"]),
        (changed(register(6), [3], 0.0), 0.5, ["outlier"]),
        (changed(register(4), [2], 0.0), 0.3, ["outlier"]),
        (ticking(MINUTE, 2.3), 55, []),
        (changed(ticking(MINUTE, 2.3), [700], 0.0), 55, ["outlier"]),
        (ticking(10 * SECOND, 0.3), 7, []),
        (changed(ticking(10 * SECOND, 0.3), [4000, 4001], 0.0), 7, ["outlier"]),
        (changed(ticking(10 * SECOND, 0.3), [4000], 99_999.0), 7, ["outlier"]),
        (IDLE, 0, []),
        (changed(IDLE, [70], 0.0), 0, ["outlier"]),
        (changed(IDLE, [70], 900.0), 0, ["outlier"]),
    ],
)
def test_what_a_register_does(readings: Readings, kwh: float, kinds: list[str], kept: bool) -> None:
    found = asked(readings, {"unit": "kWh"}, kept=kept)
    assert found.kwh == pytest.approx(kwh, abs=0.001)
    assert [finding.kind for finding in found.findings] == kinds
    assert found.load_factor is None or 0 <= found.load_factor <= 1


@pytest.mark.parametrize("step", [10 * MINUTE, HOUR])
def test_a_register_that_restarts_each_day(step: int) -> None:
    """What it counted between the last reading of a day and its restart is not known, and not covered."""
    found = asked(daily(step), {"unit": "kWh"}, end=START + 3 * DAY)
    assert found.kwh == pytest.approx(72 - 3 * step / HOUR, abs=0.001)
    assert [finding.kind for finding in found.findings] == ["reset"] * 2
    assert found.peak_demand is not None
    assert found.peak_demand.watts == pytest.approx(1000)


@pytest.mark.parametrize(
    ("readings", "counter", "kwh", "kinds"),
    [
        ([(t, (v + 92_998) % 1e5) for t, v in register()], {"rollover": 1e5}, 14.4, ["rollover"]),
        ([(t, (v + 92_998) % 1e5) for t, v in register()], {}, 14.3, ["reset"]),
        (register(per_hour=-0.6), {"net": True}, -14.4, []),
        (changed(register(per_hour=-0.6), [70], 9e4), {"net": True}, -14.4, ["outlier"]),
        (register(1), {"net": True}, None, []),
    ],
)
def test_declared_registers(readings: Readings, counter: dict[str, Any], kwh: float | None, kinds: list[str]) -> None:
    found = asked(readings, {"unit": "kWh", **counter})
    assert found.kwh == (None if kwh is None else pytest.approx(kwh, abs=0.001))
    assert [finding.kind for finding in found.findings] == kinds


@given(st.lists(st.sampled_from([1.0, 1.0, 1.0, 1.2, 2.0, -0.6, -30.0, -699.0, 40.0]), min_size=20, max_size=80))
def test_to_confirm_what_is_counted_only_takes_the_finding_away(rises: list[float]) -> None:
    values = accumulate(rises, lambda value, rise: max(value + rise, 0.0), initial=700.0)
    readings = [(START + i * 10 * MINUTE, value) for i, value in enumerate(values)]
    days, metadata = (
        MemoryDays({"kwh": readings}),
        DeviceMetadata.model_validate({"counters": {"kwh": {"unit": "kWh"}}}),
    )
    before = energy_figures(days, metadata, START, START + DAY, START + 30 * DAY)
    for finding in before.findings:
        if not finding.counted or finding.correction is None:
            continue
        row = Correction(
            device_id="D1", metric="kwh", action="confirm", reason="", created_by="",
            starts_at=moment(finding.correction.start), ends_at=moment(finding.correction.end),
        )  # fmt: skip
        after = energy_figures(days, metadata, START, START + DAY, START + 30 * DAY, corrections=Corrections([row]))
        assert after.cells.amounts.tolist() == before.cells.amounts.tolist()
        assert (after.lumps, after.kwh) == (before.lumps, before.kwh)
        assert [f for f in after.findings if f.alike == 1] == [
            f for f in before.findings if f.alike == 1 and not (f.at == finding.at and f.until == finding.until)
        ]


@pytest.mark.parametrize("step", [1, 5, 15])
def test_a_register_that_falls_steadily_is_not_a_counter_at_any_cadence(step: int) -> None:
    """Undeclared, a meter that counts what is taken minus what the sun feeds in; a bus that hiccups is a counter."""
    minutes = range(0, 1440, step)
    net = [(START + m * MINUTE, 7000 + m / 600 - (max(0, min(m - 480, 480)) / 120)) for m in minutes]
    [finding] = asked(net, {"unit": "kWh"}).findings
    assert (finding.kind, '"net": true' in finding.detail) == ("not_a_counter", True)
    assert asked(net, {"unit": "kWh", "net": True}).findings == ()
    hiccups = changed([(time, 7000 + i * step / 60) for i, (time, _) in enumerate(net)], range(3, 90, 7), 6000.0)
    assert {f.kind for f in asked(hiccups, {"unit": "kWh"}).findings} == {"outlier"}


def asked(readings: Readings, counter: dict[str, Any], *, kept: bool = False, end: int = START + DAY) -> EnergyFigures:
    metadata = DeviceMetadata.model_validate({"counters": {"kwh": counter}})
    days = MemoryDays({"kwh": readings})
    if kept:
        days.keep(bases_of(metadata, meters_of(metadata)))
    return energy_figures(days, metadata, START, end, START + 30 * DAY)


@pytest.mark.parametrize("kept", [False, True])
def test_a_register_that_flips_between_two_values_says_so_once(kept: bool) -> None:
    readings = changed(register(), range(1, 140, 2), 0.0)
    found = asked(readings, {"unit": "kWh"}, kept=kept)
    first, between, last = found.findings
    assert (first.at, last.at) == (readings[1][0], readings[139][0])
    assert (between.at, between.until) == (readings[3][0], readings[137][0])
    assert "68 more of this kind" in between.detail
    assert [f.effect for f in (first, last)] == [-7000.0, -7013.8]


@pytest.mark.parametrize(
    ("counter", "says"),
    [
        ({"unit": "kW"}, "not a unit of an amount"),
        ({"unit": "pulses"}, "kWh of one pulse"),
        ({"unit": "m3"}, None),
        ({"unit": "kVArh"}, None),
        ({"unit": "pulses", "factor": 0.01}, None),
    ],
)
def test_a_counter_whose_unit_cannot_be_meant(counter: dict[str, Any], says: str | None) -> None:
    """Homes of earlier releases may have one: it counts no energy, and the answer says why."""
    found = asked(register(), counter)
    told = [finding for finding in found.findings if finding.kind == "unit"]
    assert [says in finding.detail for finding in told if says] == ([True] if says else [])
    assert len(told) == (says is not None)


def test_effects_are_whole_milliwatt_hours() -> None:
    found = asked(changed(register(first=0.1), AFTER, lambda v: v + 2000 / 3), {"unit": "kWh"})
    (effect,) = (finding.effect for finding in found.findings if finding.effect is not None)
    assert effect == 666.766667
