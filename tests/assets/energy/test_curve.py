import numpy as np
import pytest
from hypothesis import given, strategies as st

from assets.energy.curve import EnergyCurve, from_counter, from_power
from storage.devices import Counter
from storage.times import HOUR, MINUTE, SECOND

watts = st.floats(-1e6, 1e6)


def curve(*readings: tuple[float, float]) -> EnergyCurve:
    """Of (hour, watts)."""
    times = np.array([round(hour * HOUR) for hour, _ in readings], np.int64)
    return from_power(times, np.array([power for _, power in readings], float))


def register(*values: float, rollover: float | None = None, unit: str = "kWh") -> float:
    """What a register counted, in kWh."""
    times = np.arange(len(values), dtype=np.int64) * HOUR
    found = from_counter(times, np.array(values, float), Counter(unit=unit, rollover=rollover))
    assert found is not None
    return float(found.energy[-1]) / 1000


def test_power_is_integrated_by_trapezoids() -> None:
    ramp = curve((0, 0), (1, 1000), (2, 1000))
    assert ramp.energy.tolist() == [0, 500, 1500]
    energy, covered = ramp.at(np.array([-HOUR, HOUR // 2, HOUR, 5 * HOUR]))
    assert energy.tolist() == [0, 125, 500, 1500]
    assert covered.tolist() == [0, HOUR // 2, HOUR, 2 * HOUR]


def test_a_gap_is_neither_use_nor_rest() -> None:
    found = curve(*((minute / 60, 600) for minute in (0, 1, 2, 62, 63)))
    energy, covered = found.between(np.array([0, 2, 32, 62, 63]) * MINUTE)
    assert energy == pytest.approx([20, 0, 0, 10])
    assert covered.tolist() == [2 * MINUTE, 0, 0, MINUTE]
    assert found.time_above(500) == 180 * SECOND
    assert found.time_above(600) == 0


def test_readings_of_a_few_seconds_bridge_five_minutes() -> None:
    for second, covered in ((302, 302), (303, 2)):
        readings = [(at / 3600, 60) for at in (0, 1, 2, second)]
        assert curve(*readings).covered[-1] == covered * SECOND


def test_nothing_measured_is_no_energy() -> None:
    for found in (curve(), curve((1, 500))):
        energy, covered = found.between(np.array([0, HOUR, 2 * HOUR]))
        assert not energy.any()
        assert not covered.any()


@given(
    st.lists(st.tuples(st.integers(1, 7200), watts), min_size=2, max_size=30),
    st.lists(st.integers(-100, 10**6), max_size=8),
)
def test_parts_of_a_period_add_up_to_the_whole(readings: list[tuple[int, float]], cuts: list[int]) -> None:
    times = np.cumsum([step for step, _ in readings], dtype=np.int64) * SECOND
    found = from_power(times, np.array([power for _, power in readings]))
    edges = np.array(sorted({0, *(cut * SECOND for cut in cuts), int(times[-1])}), np.int64)
    energy, covered = found.between(edges)
    inside = found.between(edges[[0, -1]])
    assert energy.sum() == pytest.approx(inside[0][0], abs=1e-6 * (1 + abs(found.energy).max()))
    assert covered.sum() == inside[1][0]
    assert (covered >= 0).all()
    assert (covered <= np.diff(edges)).all()


@pytest.mark.parametrize(
    ("values", "rollover", "expected"),
    [
        ((10, 12, 12, 20), None, 10),
        ((999_990, 999_999, 4), 1_000_000, 14),  # over the top of the register
        ((5000, 5010, 3, 8), None, 18),  # a new meter, from zero
        ((5000, 5010, 5009.5, 5020), None, 20),  # a correction is not another 5,009 kWh
        ((5000, 5010, 5009.5, 5020), 1_000_000, 20),
    ],
)
def test_a_register_counts_its_rises(values: tuple[float, ...], rollover: float | None, expected: float) -> None:
    assert register(*values, rollover=rollover) == pytest.approx(expected)


def test_units_of_a_register() -> None:
    assert register(0, 2500, unit="Wh") == pytest.approx(2.5)
    assert register(0, 2.5, unit="MWh") == pytest.approx(2500)
    assert from_counter(np.arange(2, dtype=np.int64), np.zeros(2), Counter(unit="m3")) is None


@given(st.lists(st.floats(0, 400), min_size=1, max_size=40), st.floats(0, 999.9))
def test_rollovers_change_no_sum(rises: list[float], begin: float) -> None:
    true = begin + np.cumsum([0.0, *rises])
    assert register(*(true % 1000).tolist(), rollover=1000) == pytest.approx(sum(rises), abs=1e-6)


def test_a_register_spans_gaps() -> None:
    times = np.array([0, 1, 25], np.int64) * HOUR
    found = from_counter(times, np.array([100.0, 101, 125]), Counter(unit="kWh"))
    assert found is not None
    energy, covered = found.between(np.array([0, 13, 25]) * HOUR)
    assert energy == pytest.approx([13_000, 12_000])
    assert covered.tolist() == [13 * HOUR, 12 * HOUR]
