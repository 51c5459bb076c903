"""Parts of any range add up to the whole, from readings and from the catalogue alike."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from assets.energy.basis import bases_of
from assets.energy.figures import EnergyFigures, energy_figures
from assets.energy.meters import meters_of
from storage.devices import DeviceMetadata
from storage.times import DAY, HOUR, MINUTE, SECOND, microseconds
from tests.support.energy_days import MemoryDays

START = microseconds(datetime(2026, 2, 12, tzinfo=UTC))
END = START + 4 * DAY


def metadata_of(**metadata: Any) -> DeviceMetadata:
    return DeviceMetadata.model_validate(metadata)


def figures_of(
    readings: dict[str, list[tuple[int, float]]], metadata: DeviceMetadata, *, kept: bool = False
) -> Callable[[int, int], EnergyFigures]:
    source = MemoryDays(readings)
    if kept:
        source.keep(bases_of(metadata, meters_of(metadata)))
    return lambda start, end: energy_figures(source, metadata, start, end, END + 365 * DAY)


# Steps between readings in seconds: of one cadence, in bursts, over gaps short and long.
steps = st.lists(
    st.integers(1, 900) | st.sampled_from([300, 900, 3600]) | st.integers(3600, 20 * 3600), min_size=2, max_size=60
)
offsets = st.integers(0, DAY // SECOND)
cuts_of = st.lists(st.integers(0, 4 * DAY // SECOND), max_size=6)


def times_of(gaps: list[int], offset: int) -> list[int]:
    found, at = [], START + offset * SECOND
    for gap in gaps:
        found.append(at)
        at += gap * SECOND
    return [time for time in found if time < END]


def whole_and_parts(ask: Callable[[int, int], EnergyFigures], cuts: list[int]) -> tuple[list[int], list[int]]:
    edges = sorted({START, END, *(START + cut * SECOND for cut in cuts)})

    def totals(found: EnergyFigures) -> list[int]:
        micro = [found.kwh or 0.0, found.export_kwh or 0.0, *(value for value, _ in found.consumption.values())]
        return [round(value * 1e6) for value in micro[:2]] + [found.covered]

    whole = totals(ask(START, END))
    parts = [totals(ask(a, b)) for a, b in pairwise(edges)]
    return whole, [sum(column) for column in zip(*parts, strict=True)]


@settings(max_examples=150)
@given(
    gaps=steps,
    offset=offsets,
    data=st.data(),
    cuts=cuts_of,
    kept=st.booleans(),
    mode=st.sampled_from(["lines", "steps"]),
)
def test_power_adds_up_at_any_cut(
    gaps: list[int], offset: int, data: st.DataObject, cuts: list[int], *, kept: bool, mode: str
) -> None:
    times = times_of(gaps, offset)
    watts = data.draw(st.lists(st.integers(-5000, 5000), min_size=len(times), max_size=len(times)))
    metadata = metadata_of(**({"reporting": {"power": "on_change"}} if mode == "steps" else {}))
    ask = figures_of({"power": list(zip(times, map(float, watts), strict=True))}, metadata, kept=kept)
    whole, parts = whole_and_parts(ask, cuts)
    assert whole == parts


@settings(max_examples=150)
@given(steps, offsets, st.data(), cuts_of, st.booleans())
def test_a_register_adds_up_whatever_happens_to_it(
    gaps: list[int], offset: int, data: st.DataObject, cuts: list[int], kept: bool
) -> None:
    times = times_of(gaps, offset)
    value, values = 700.0, []
    for time, before in zip(times, [times[0], *times], strict=False):
        value += 2.0 * (time - before) / HOUR
        happens = data.draw(st.integers(0, 20))
        value = 0.0 if happens == 20 else 300.0 if happens == 19 else value
        values.append({18: 0.0, 17: 90_000.0}.get(happens, value))
    metadata = metadata_of(counters={"kwh": {"unit": "kWh"}})
    ask = figures_of({"kwh": list(zip(times, values, strict=True))}, metadata, kept=kept)
    whole, parts = whole_and_parts(ask, cuts)
    assert whole == parts


@settings(max_examples=150)
@given(
    gaps=steps | st.lists(st.integers(1, 300), min_size=10, max_size=60),
    offset=offsets,
    seconds=st.lists(st.integers(0, 4 * DAY // SECOND), min_size=2, max_size=2, unique=True),
    data=st.data(),
)
def test_the_catalogue_and_newer_readings_give_what_all_readings_give(
    gaps: list[int], offset: int, seconds: list[int], data: st.DataObject
) -> None:
    times = times_of(gaps, offset)

    def values_of(number: st.SearchStrategy[float]) -> list[float]:
        return data.draw(st.lists(number, min_size=len(times), max_size=len(times)))

    watts = values_of(st.integers(-5000, 5000).map(float))
    rises = values_of(st.sampled_from([0.0, 0.5, 2.0, 2.0, -1.0, 500.0]))
    register = [700 + sum(rises[:i]) for i in range(len(times))]
    declared: dict[str, Any] = data.draw(
        st.sampled_from([{}, {"counters": {"kwh": {"unit": "kWh"}}}, {"max_power_w": 4000}])
    )
    mode: dict[str, Any] = data.draw(st.sampled_from([{}, {"reporting": {"power": "on_change"}}]))
    metadata = metadata_of(**declared, **mode)
    exported = data.draw(st.sampled_from(times)) + 1 if times else START
    start, end = (START + second * SECOND for second in sorted(seconds))
    source = MemoryDays({"power": list(zip(times, watts, strict=True)), "kwh": list(zip(times, register, strict=True))})
    expected = energy_figures(source, metadata, start, end + 1, END)
    source.keep(bases_of(metadata, meters_of(metadata)), exported)
    found = energy_figures(source, metadata, start, end + 1, END)
    for name in ("starts", "amounts", "out", "covered"):
        assert getattr(found.cells, name).tolist() == getattr(expected.cells, name).tolist(), name
    assert (found.lumps, found.findings, found.consumption) == (expected.lumps, expected.findings, expected.consumption)


def steady(step: int, per_hour: float, start: int = START, end: int = END) -> list[tuple[int, float]]:
    return [(time, 1000 + per_hour * (time - START) / HOUR) for time in range(start, end + 1, step)]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize(("month", "day"), [(3, 8), (3, 29), (10, 25), (11, 1)])
def test_days_of_23_and_25_hours(zone: str, month: int, day: int) -> None:
    first = datetime(2026, month, day, tzinfo=ZoneInfo(zone))
    midnights = [microseconds(first + timedelta(days=n)) for n in range(-1, 3)]
    readings = [(t, float((t - midnights[0]) // HOUR)) for t in range(midnights[0] - HOUR, midnights[-1] + HOUR, HOUR)]
    ask = figures_of({"kwh": readings}, metadata_of(counters={"kwh": {"unit": "kWh"}}), kept=True)
    for a, b in pairwise(midnights):
        assert ask(a, b).kwh == pytest.approx((b - a) / HOUR)
        assert ask(a, b).coverage == 1


def test_late_data_changes_the_total_and_nothing_else() -> None:
    readings = steady(10 * MINUTE, 1.0)
    metadata = metadata_of(counters={"kwh": {"unit": "kWh"}})
    without = [r for r in readings if not START + DAY + HOUR < r[0] < START + DAY + 6 * HOUR]
    before, after = figures_of({"kwh": without}, metadata), figures_of({"kwh": readings}, metadata)
    assert (before(START, END).kwh, after(START, END).kwh) == (96, 96)
    assert (before(START + DAY, START + 2 * DAY).coverage, after(START, END).coverage) == (19 / 24, 1)
    assert [f.kind for f in before(START, END).findings] == ["gap"]


@pytest.mark.parametrize("outage", [(23, 25), (20, 34), (22, 37)])
def test_a_register_that_restarts_each_day_with_an_outage_over_midnight(outage: tuple[int, int]) -> None:
    times = range(START, START + 2 * DAY + 1, 10 * MINUTE)
    hidden = range(START + outage[0] * HOUR + 1, START + outage[1] * HOUR)
    readings = [(t, (t - START) % DAY / HOUR) for t in times if t not in hidden]
    ask = figures_of({"kwh": readings}, metadata_of(counters={"kwh": {"unit": "kWh"}}))
    assert ask(START, START + 2 * DAY).kwh == pytest.approx(outage[0] + 24, abs=0.2)
    assert "reset" in [f.kind for f in ask(START, START + 2 * DAY).findings]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("at_midnight", [0, 1, 3])
@pytest.mark.parametrize("value", [0.0, 5000.0, 1e6])
def test_an_outlier_over_midnight(value: float, at_midnight: int, kept: bool) -> None:
    readings = steady(10 * MINUTE, 0.6)
    first = 144 * 2 - at_midnight
    for i in range(first, first + 3):
        readings[i] = (readings[i][0], value)
    ask = figures_of({"kwh": readings}, metadata_of(counters={"kwh": {"unit": "kWh"}}), kept=kept)
    assert ask(START, END).kwh == pytest.approx(0.6 * 96)
    for n in range(4):
        found = ask(START + n * DAY, START + (n + 1) * DAY)
        assert found.kwh == pytest.approx(0.6 * 24)
        assert found.peak_demand is not None
        assert found.peak_demand.watts == pytest.approx(600, rel=0.01)
    assert [f.kind for f in ask(START, END).findings] == ["outlier"]


def test_a_declared_change_of_the_meter() -> None:
    at = START + DAY + 10 * HOUR
    readings = [(t, v if t < at else v - 990) for t, v in steady(10 * MINUTE, 1.0)]
    counters = {"kwh": {"unit": "kWh"}}
    change = {"counter": "kwh", "at": "2026-02-13T09:55:00Z", "last_old": 1033 + 55 / 60, "first_new": 43 + 55 / 60}
    ask = figures_of({"kwh": readings}, metadata_of(counters=counters, meter_changes=[change]))
    assert ask(START, END).kwh == pytest.approx(96)
    undeclared = figures_of({"kwh": readings}, metadata_of(counters=counters))
    assert undeclared(START, END).kwh == pytest.approx(96 - 1 / 6)
    assert [f.kind for f in undeclared(START, END).findings] == ["meter_change"]


@pytest.mark.parametrize(("given", "missing"), [("last_old", "give first_new"), ("first_new", "give last_old")])
def test_of_a_change_with_one_value_the_finding_says_what_is_missing(given: str, missing: str) -> None:
    at = START + DAY + 10 * HOUR
    readings = [(t, v if t < at else v - 990) for t, v in steady(10 * MINUTE, 1.0)]
    values = {"last_old": 1033 + 55 / 60, "first_new": 43 + 55 / 60}
    change = {"counter": "kwh", "at": "2026-02-13T09:55:00Z", given: values[given]}
    metadata = metadata_of(counters={"kwh": {"unit": "kWh"}}, meter_changes=[change])
    found = figures_of({"kwh": readings}, metadata)(START, END)
    assert found.kwh == pytest.approx(96 - 1 / 12)
    (finding,) = found.findings
    assert (finding.kind, finding.counted) == ("meter_change", True)
    assert missing in finding.detail


def test_a_jump_beyond_what_the_device_can_use() -> None:
    readings = [(t, v if t < START + DAY else v + 400) for t, v in steady(10 * MINUTE, 1.0)]
    counters = {"kwh": {"unit": "kWh"}}
    found = figures_of({"kwh": readings}, metadata_of(counters=counters))(START, END)
    assert found.kwh == pytest.approx(96 - 1 / 6)
    assert [(f.kind, f.counted) for f in found.findings] == [("jump", False)]
    assert found.findings[0].effect == pytest.approx(400 + 1 / 6)
    small = [(t, v if t < START + DAY else v + 8) for t, v in steady(10 * MINUTE, 1.0)]
    assert figures_of({"kwh": small}, metadata_of(counters=counters))(START, END).kwh == pytest.approx(96 - 1 / 6)
    usable = metadata_of(counters=counters, max_power_w=50_000)
    assert figures_of({"kwh": small}, usable)(START, END).kwh == pytest.approx(96 + 8)


def test_a_register_of_whole_kwh_ticks_faster_than_its_device_draws() -> None:
    readings = [(t, float(int(v))) for t, v in steady(10 * SECOND, 5.0, end=START + 6 * HOUR)]
    metadata = metadata_of(counters={"kwh": {"unit": "kWh"}}, max_power_w=10_000)
    assert figures_of({"kwh": readings}, metadata)(START, START + 6 * HOUR).kwh == pytest.approx(30)
    jumped = [(t, v if t < START + 3 * HOUR else v + 500) for t, v in readings]
    assert figures_of({"kwh": jumped}, metadata)(START, START + 6 * HOUR).kwh == pytest.approx(30, abs=1)


def test_a_machine_that_starts_is_not_a_jump() -> None:
    """On standby for days, then at work: what it used before in its past tells."""
    used = [0.01] * 24 + [10.0] * 6 + [0.01] * 30 + [10.0] + [0.01] * 36
    readings, value = [], 0.0
    for hour, kwh in enumerate(used):
        readings.append((START + hour * HOUR, value))
        value += kwh
    ask = figures_of({"kwh": readings}, metadata_of(counters={"kwh": {"unit": "kWh"}}))
    assert ask(START, END).kwh == pytest.approx(sum(used[:-1]))


@pytest.mark.parametrize(
    ("counter", "values", "kwh"),
    [
        ({"unit": "Wh"}, [0, 500, 1000, 1500], 1.5),
        ({"unit": "MWh"}, [0, 0.001, 0.002, 0.003], 3),
        ({"unit": "pulses", "factor": 0.01}, [0, 100, 200, 300], 3),
        ({"unit": "kWh", "factor": 10}, [0, 0.1, 0.2, 0.3], 3),
        ({"unit": "kWh", "rollover": 1000}, [999, 999.5, 0, 0.5], 1.5),
        ({"unit": "kWh", "factor": 10, "rollover": 1000}, [999, 999.5, 0, 0.5], 15),
    ],
)
def test_units_factors_and_rollovers(counter: dict[str, Any], values: list[float], kwh: float) -> None:
    readings = [(START + i * 20 * MINUTE, float(value)) for i, value in enumerate(values)]
    ask = figures_of({"kwh": readings}, metadata_of(counters={"kwh": counter}))
    assert ask(START, START + HOUR).kwh == pytest.approx(kwh)


def test_a_counter_of_water_is_not_energy() -> None:
    readings = [(START + i * 20 * MINUTE, float(i)) for i in range(4)]
    power = [(START + i * MINUTE, 600.0) for i in range(61)]
    ask = figures_of({"water": readings, "power": power}, metadata_of(counters={"water": {"unit": "m3"}}))
    found = ask(START, START + HOUR)
    assert (found.kwh, found.source) == (0.6, "integral:power")
    assert found.consumption == {"water": (3.0, "m3")}


def test_power_beyond_what_the_device_can_use_is_left_out() -> None:
    readings = [(START + i * 5 * MINUTE, 300.0) for i in range(289)]
    readings[100] = (readings[100][0], 9.9e6)
    found = figures_of({"power": readings}, metadata_of())(START, START + DAY)
    assert [f.kind for f in found.findings] == ["single_reading"]
    assert found.findings[0].effect == pytest.approx((found.kwh or 0) - 7.2, rel=1e-6)
    declared = figures_of({"power": readings}, metadata_of(max_power_w=5000))(START, START + DAY)
    assert declared.kwh == pytest.approx(7.2)
    assert [f.kind for f in declared.findings] == ["beyond_max_power"]


def test_a_reading_that_holds_until_the_next() -> None:
    readings = [(START, 2000.0), (START + 10 * HOUR, 0.0), (START + 11 * HOUR, 500.0)]
    metadata = metadata_of(reporting={"power": "on_change"}, cadence_seconds=4 * 3600)
    found = figures_of({"power": readings}, metadata)(START, START + DAY)
    assert found.kwh == pytest.approx(2 * 10 + 0.5 * 12)
    assert found.coverage == pytest.approx(23 / 24)
    assert found.findings == ()


@pytest.mark.parametrize("kept", [False, True])
def test_steps_that_end_before_the_next_reading_are_told(kept: bool) -> None:
    """Without a declared cadence that of these readings is 40 minutes: nothing is known beyond 2 hours."""
    times = [START + i * 40 * MINUTE for i in range(20)] + [START + t * HOUR for t in (16, 20, 26)]
    metadata = metadata_of(reporting={"power": "on_change"})
    found = figures_of({"power": [(time, 600.0) for time in times]}, metadata, kept=kept)(START, START + DAY)
    assert found.coverage < 1
    (finding,) = found.findings
    assert finding.kind == "step_ended"
    assert finding.detail.startswith("3 times no reading followed within 120 minutes")
    assert "cadence_seconds" in finding.detail


@pytest.mark.parametrize("offset", [0, 433 * SECOND])
@pytest.mark.parametrize("metric", ["power", "energy_total"])
def test_intervals_add_up_to_the_total_wherever_the_range_begins(metric: str, offset: int) -> None:
    """A range may begin and end within a quarter hour, and within one and the same."""
    metadata = metadata_of(counters={"energy_total": {"unit": "kWh"}} if metric == "energy_total" else {})
    readings = [(START + i * MINUTE, 6000.0 if metric == "power" else 100 + i / 10) for i in range(200)]
    ask = figures_of({metric: readings}, metadata)
    for length in (2 * MINUTE, 30 * MINUTE, 95 * MINUTE):
        start, end = START + HOUR + offset, START + HOUR + offset + length
        whole = ask(start, end)
        edges = [start, *range(start // (15 * MINUTE) * 15 * MINUTE + 15 * MINUTE, end, 15 * MINUTE), end]
        parts = [whole.part(a, b) for a, b in pairwise(edges)]
        assert whole.kwh == pytest.approx(length / HOUR * 6)
        assert sum(round((part.kwh or 0) * 1e6) for part in parts) == round((whole.kwh or 0) * 1e6)
        assert all(part.coverage == pytest.approx(1) for part in parts)


@pytest.mark.parametrize("value", [1e13, -1e13, 1e300])
def test_readings_beyond_any_machine_overflow_nothing(value: float) -> None:
    day = [(START + i * MINUTE, 100.0) for i in range(600)]
    odd = [(START + 600 * MINUTE + i * MINUTE, value) for i in range(10)]
    power = figures_of({"power": [*day, *odd]}, metadata_of())(START, END)
    assert power.kwh == pytest.approx(0.1 * 599 / 60, abs=1e-6)
    assert {finding.kind for finding in power.findings} == {"beyond_max_power"}
    counter = metadata_of(counters={"energy_total": {"unit": "MWh"}})
    register = figures_of({"energy_total": odd}, counter)(START, END)
    assert register.kwh is None
    assert {finding.kind for finding in register.findings} <= {"beyond_range"}
    assert figures_of({"power": []}, metadata_of())(START, END).export_kwh is None
