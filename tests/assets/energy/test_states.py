"""States partition the range and its energy, working hours follow the clock, and base load is what never stops."""

from datetime import UTC, date, datetime
from itertools import accumulate, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from assets.energy.basis import bases_of
from assets.energy.corrections import NONE, Corrections
from assets.energy.figures import EnergyFigures, energy_figures
from assets.energy.meters import meters_of
from assets.energy.period import DevicePeriods
from assets.energy.register_states import register_states
from assets.energy.settings import SiteSettings
from assets.energy.states import STATES, State, StateFigures, machine_states
from assets.energy.working import merged, standby, working_periods
from storage.corrections import Correction
from storage.devices import DeviceMetadata
from storage.settings import SettingsError
from storage.times import DAY, HOUR, MINUTE, SECOND, microseconds, moment
from tests.support.energy_days import MemoryDays

START = microseconds(datetime(2026, 2, 12, tzinfo=UTC))
END = START + 3 * DAY
BERLIN = ZoneInfo("Europe/Berlin")
THRESHOLDS = {"off_below_w": 10, "idle_below_w": 200}
moments = st.integers(0, 3 * DAY // SECOND).map(lambda second: START + second * SECOND)
windows_of = st.lists(st.tuples(moments, moments).map(sorted).map(tuple).filter(lambda w: w[0] < w[1]), max_size=3)


def states_of(
    readings: list[tuple[int, float]], metadata: DeviceMetadata, start: int, end: int, windows: list[tuple[int, int]]
) -> tuple[StateFigures, int]:
    """The states of a range, and the energy (mWh) that its figures have."""
    days = MemoryDays({"power": readings})
    pieces = DevicePeriods(days, bases_of(metadata, meters_of(metadata)), END).power_segments(start, end)
    energy = energy_figures(days, metadata, start, end, END)
    return machine_states(pieces, metadata, merged(windows), start, end), int(energy.cells.amounts.sum())


@settings(max_examples=150)
@given(st.data(), windows_of, st.lists(moments, min_size=2, max_size=5, unique=True).map(sorted))
def test_states_partition_the_range_and_its_energy_at_any_cut(
    data: st.DataObject, windows: list[tuple[int, int]], cuts: list[int]
) -> None:
    times = sorted(data.draw(st.sets(moments, max_size=40)))
    watts = data.draw(
        st.lists(st.sampled_from([0.0, 5.0, 150.0, 2000.0, -700.0]), min_size=len(times), max_size=len(times))
    )
    declared = data.draw(st.sampled_from([{}, THRESHOLDS, {"off_below_w": 10}, {"idle_below_w": 200}]))
    reporting = data.draw(st.sampled_from([{}, {"reporting": {"power": "on_change"}, "cadence_seconds": 7200}]))
    metadata = DeviceMetadata.model_validate({"cadence_seconds": 14_400} | declared | reporting)
    readings = list(zip(times, watts, strict=True))
    whole, energy = states_of(readings, metadata, cuts[0], cuts[-1], windows)
    assert (whole.spans[0].start, whole.spans[-1].end) == (cuts[0], cuts[-1])
    assert all(one.end == other.start and one.state != other.state for one, other in pairwise(whole.spans))
    assert sum(whole.time.values()) == cuts[-1] - cuts[0]
    assert sum(whole.energy.values()) == energy
    parts = [states_of(readings, metadata, a, b, windows)[0] for a, b in pairwise(cuts)]
    for state in STATES:
        assert sum(part.time[state] for part in parts) == whole.time[state]
        assert sum(part.energy[state] for part in parts) == whole.energy[state]


def states_of_registers(
    readings: dict[str, list[tuple[int, float]]],
    metadata: DeviceMetadata,
    period: tuple[int, int],
    windows: list[tuple[int, int]],
    corrections: Corrections = NONE,
) -> tuple[StateFigures, EnergyFigures]:
    """The states of a range that rest on registers, and the energy of the range."""
    days = MemoryDays(readings)
    found, _ = register_states(days, metadata, merged(windows), period, END, corrections=corrections)
    return found, energy_figures(days, metadata, *period, END, corrections=corrections)


@settings(max_examples=50)
@given(st.data(), windows_of, st.lists(moments, min_size=2, max_size=5, unique=True).map(sorted))
def test_states_of_registers_partition_the_range_and_its_energy_at_any_cut(
    data: st.DataObject, windows: list[tuple[int, int]], cuts: list[int]
) -> None:
    names = data.draw(st.sampled_from([["kwh"], ["kwh_1", "kwh_2"], ["kwh", "feed"]]))
    metadata = DeviceMetadata.model_validate(
        THRESHOLDS | {"counters": {name: {"unit": "kWh"} for name in names}, "cadence_seconds": 1200}
    )
    readings = {}
    for name in names:
        steps = data.draw(st.lists(st.sampled_from([61, 300, 900, 1507, 4 * 3600 + 7]), max_size=60))
        times = list(accumulate([st_time * SECOND for st_time in steps], initial=data.draw(moments)))
        rates = data.draw(st.lists(st.integers(0, 4), min_size=len(times), max_size=len(times)))
        readings[name] = list(zip(times, accumulate(map(float, rates)), strict=True))
    known, whole_energy = states_of_registers(readings, metadata, (cuts[0], cuts[-1]), windows)
    assert sum(known.time.values()) == cuts[-1] - cuts[0]
    assert sum(known.energy.values()) == round((whole_energy.kwh or 0.0) * 1e6)
    if len(names) == 1 and not windows:
        assert known.time["silent"] == cuts[-1] - cuts[0] - whole_energy.covered
    parts = [states_of_registers(readings, metadata, (a, b), windows)[0] for a, b in pairwise(cuts)]
    for state in STATES:
        assert sum(part.time[state] for part in parts) == known.time[state]
        assert sum(part.energy[state] for part in parts) == known.energy[state]


REGISTER: dict[str, Any] = THRESHOLDS | {"counters": {"kwh": {"unit": "kWh"}}, "idle_below_w": 10_000}


def test_states_of_a_register_begin_and_end_with_the_range() -> None:
    readings = {"kwh": [(START + i * 5 * MINUTE, i * 0.6) for i in range(289)]}
    metadata = DeviceMetadata.model_validate(REGISTER)
    start, end = START + 10 * HOUR + 7 * MINUTE, START + 11 * HOUR
    found, energy = states_of_registers(readings, metadata, (start, end), [])
    assert [(span.state, span.start, span.end) for span in found.spans] == [("idle", start, end)]
    assert found.total_kwh == energy.kwh == pytest.approx(53 / 60 * 7.2)


def test_a_register_is_silent_until_its_gap_ends() -> None:
    """What it counted meanwhile is in the energy of the gap."""
    minutes = [*range(0, 24 * 60, 5)]
    readings = {"kwh": [(START + m * MINUTE, m * 0.1) for m in minutes if not 10 < m < 250]}
    metadata = DeviceMetadata.model_validate(REGISTER)
    found, energy = states_of_registers(readings, metadata, (START, START + 5 * HOUR), [])
    assert [(s.state, (s.start - START) // MINUTE, (s.end - START) // MINUTE) for s in found.spans] == [
        ("idle", 0, 10), ("silent", 10, 250), ("idle", 250, 300),
    ]  # fmt: skip
    assert found.kwh("silent") == pytest.approx(24)
    assert found.total_kwh == energy.kwh


def test_states_of_a_register_whose_amount_is_replaced_within_a_quarter_hour() -> None:
    readings = {"kwh": [(START + i * 5 * MINUTE, i * 0.6) for i in range(13)]}
    start, end = START + 2 * HOUR, START + 2 * HOUR + 7 * MINUTE
    given_amount = Correction(
        device_id="D1", metric="kwh", action="replace", value=0.5, unit="kWh", reason="", created_by="",
        starts_at=moment(start), ends_at=moment(end),
    )  # fmt: skip
    metadata, period = DeviceMetadata.model_validate(REGISTER), (START + HOUR, START + 3 * HOUR)
    found, energy = states_of_registers(readings, metadata, period, [], Corrections([given_amount]))
    assert [(s.state, s.start, s.end) for s in found.spans] == [
        ("silent", START + HOUR, start), ("idle", start, end), ("silent", end, START + 3 * HOUR),
    ]  # fmt: skip
    assert found.kwh("idle") == energy.kwh == 0.5


def test_a_machine_through_its_day() -> None:
    """Off, then idle, at work, a gap, and a planned hour of maintenance; by lines each is the mean of its ends."""
    watts: dict[int, float] = {hour: [0.0, 100.0, 1000.0][hour // 4] for hour in range(12)}
    readings = [(START + minute * MINUTE, watts[minute // 60]) for minute in range(12 * 60)]
    readings += [(START + 15 * HOUR + minute * MINUTE, 1000.0) for minute in range(181)]
    metadata = DeviceMetadata.model_validate(THRESHOLDS)
    found, _ = states_of(readings, metadata, START, START + 18 * HOUR, [(START + 9 * HOUR, START + 10 * HOUR)])
    minutes = {span.start: (span.end - span.start) // MINUTE for span in found.spans}
    assert [span.state for span in found.spans] == [
        "off",
        "idle",
        "running",
        "maintenance",
        "running",
        "silent",
        "running",
    ]
    assert list(minutes.values()) == [239, 240, 61, 60, 119, 181, 180]
    assert found.kwh("maintenance") == pytest.approx(1.0)
    assert found.kwh("silent") == 0
    assert found.kwh("off") == 0


@pytest.mark.parametrize(
    ("declared", "state"), [({}, "unknown"), ({"off_below_w": 10}, "running"), (THRESHOLDS, "idle")]
)
def test_without_thresholds_no_state_is_guessed(declared: dict[str, float], state: State) -> None:
    metadata = DeviceMetadata.model_validate(declared)
    found, _ = states_of([(START, 100.0), (START + MINUTE, 100.0)], metadata, START, START + HOUR, [])
    assert {s for s, time in found.time.items() if time} == {state, "silent"}


def test_a_machine_that_feeds_in_is_not_off() -> None:
    metadata = DeviceMetadata.model_validate(THRESHOLDS | {"exports": True})
    found, _ = states_of([(START, -5000.0), (START + MINUTE, -5000.0)], metadata, START, START + MINUTE, [])
    assert found.time["running"] == MINUTE


def periods(metadata: dict[str, object], first: datetime, last: datetime, **site: str) -> list[tuple[str, str]]:
    given = SiteSettings.model_validate(site)
    found = working_periods(
        DeviceMetadata.model_validate(metadata), given, BERLIN, microseconds(first), microseconds(last)
    )
    return [tuple(f"{datetime.fromtimestamp(edge / 1e6, BERLIN):%a %H:%M}" for edge in period) for period in found]  # type: ignore[misc]


def berlin(month: int, day: int) -> datetime:
    return datetime(2026, month, day, tzinfo=BERLIN)


def test_working_hours_of_the_site_and_of_a_device() -> None:
    week = (berlin(2, 12), berlin(2, 17))
    assert periods({}, *week) == [("Thu 06:00", "Thu 22:00"), ("Fri 06:00", "Fri 22:00"), ("Mon 06:00", "Mon 22:00")]
    own: dict[str, object] = {"working_hours": [{"days": [4], "from": "22:00", "to": "06:00"}]}
    assert periods(own, *week) == [("Fri 22:00", "Sat 06:00")]
    assert periods(own, berlin(2, 14), berlin(2, 15)) == [("Sat 00:00", "Sat 06:00")]
    assert periods({}, *week, site_working_hours="Sat\u2013Sun 08:00-12:00, Fri 08:00-24:00") == [
        ("Fri 08:00", "Sat 00:00"), ("Sat 08:00", "Sat 12:00"), ("Sun 08:00", "Sun 12:00"),
    ]  # fmt: skip


@pytest.mark.parametrize(("month", "day", "hours"), [(3, 29, 5), (10, 25, 7), (3, 30, 6)])
def test_working_hours_on_days_of_23_and_25_hours(month: int, day: int, hours: int) -> None:
    found = working_periods(
        DeviceMetadata(), SiteSettings.model_validate({"site_working_hours": "Mon-Sun 00:00-06:00"}), BERLIN,
        microseconds(berlin(month, day)), microseconds(berlin(month, day + 1)),
    )  # fmt: skip
    assert [b - a for a, b in found] == [hours * HOUR]


def test_nobody_works_on_a_holiday() -> None:
    site = SiteSettings.model_validate({"site_holidays": "DE-BY, 2026-02-13"})
    assert [site.is_holiday(date(2026, *day)) for day in ((1, 6), (2, 13), (2, 12))] == [True, True, False]
    assert not SiteSettings().is_holiday(date(2026, 1, 1))
    assert periods({}, berlin(2, 12), berlin(2, 15), site_holidays="2026-02-13") == [("Thu 06:00", "Thu 22:00")]


@pytest.mark.parametrize(
    ("name", "value"),
    [("SITE_WORKING_HOURS", "always"), ("SITE_WORKING_HOURS", "Mon 25:00-26:00"), ("SITE_HOLIDAYS", "Bavaria")],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"{name}={value}: .*such as"):
        SiteSettings.load()


def test_base_load_and_energy_outside_working_hours() -> None:
    """200 W that never stop, 1 kW more while people work; a day of which little is known does not count."""
    metadata, site = DeviceMetadata(), SiteSettings()
    start = microseconds(berlin(2, 12))  # a Thursday
    busy = working_periods(metadata, site, BERLIN, start, start + 4 * DAY)

    def watts(time: int) -> float:
        return 1200.0 if any(a <= time < b for a, b in busy) else 200.0

    times = [*range(start, start + 3 * DAY, MINUTE), *range(start + 3 * DAY + HOUR, start + 3 * DAY + 2 * HOUR, MINUTE)]
    days = MemoryDays({"power": [(time, watts(time)) for time in times]})
    energy = energy_figures(days, metadata, start, start + 4 * DAY, start + 4 * DAY)
    found = standby(energy, busy, BERLIN)
    assert found.base_load == pytest.approx(200, abs=1)
    assert found.outside_kwh == pytest.approx(0.2 * (8 + 8 + 24 + 1), abs=0.05)
    assert found.kwh == energy.kwh
    assert found.share == pytest.approx(8.2 / (8.2 + 2 * 16 * 1.2), abs=0.01)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=80), st.lists(moments, max_size=6).map(sorted))
def test_energy_inside_and_outside_working_hours_adds_up(watts: list[int], edges: list[int]) -> None:
    days = MemoryDays({"power": [(START + i * 7 * MINUTE, float(w)) for i, w in enumerate(watts)]})
    energy = energy_figures(days, DeviceMetadata(), START, END, END)
    inside = merged((a, b) for a, b in zip(edges[::2], edges[1::2], strict=False) if a < b)
    bounds = [START, *(edge for period in inside for edge in period), END]
    outside = [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if a < b]
    one, other = standby(energy, inside, BERLIN), standby(energy, outside, BERLIN)
    assert (one.outside_kwh or 0) + (other.outside_kwh or 0) == pytest.approx(energy.kwh or 0, abs=1e-9)
