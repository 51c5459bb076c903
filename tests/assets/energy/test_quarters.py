from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from assets.energy.curve import from_counter, from_power
from assets.energy.quarters import POWER, QUARTERS, day_energy, joined, piece_of, piece_of_day, piece_of_part
from storage.devices import Counter
from storage.telemetry import TIME
from storage.times import DAY, HOUR, MINUTE, QUARTER, SECOND, microseconds, midnight

FIRST = date(2026, 2, 12)
START = microseconds(datetime(2026, 2, 12, tzinfo=UTC))


def dataset(times: list[int], **metrics: list[float | None]) -> pa.Table:
    columns = {name: pa.array(values, pa.float64()) for name, values in metrics.items()}
    return pa.table({"timestamp": pa.array(times, pa.int64()).cast(TIME), **columns})


def by_days(table: pa.Table, counters: dict[str, Counter]) -> list[tuple[date, Any]]:
    """As the catalogue has it: each day worked out from its own rows."""
    day = (table["timestamp"].cast(pa.int64()).to_numpy() - START) // DAY
    found = []
    for number in sorted(set(day.tolist())):
        at = FIRST + timedelta(days=number)
        found.append((at, day_energy(table.filter(pa.array(day == number)), at, counters)))
    return found


def quarter_hours(days: list[tuple[date, Any]], counter: Counter | None = None) -> list[float | None]:
    """Amounts of every quarter hour from the first day's start to the last day's end."""
    origin = microseconds(midnight(days[0][0]))
    pieces = [piece_of_day(energy, microseconds(midnight(day)), counter) for day, energy in days]
    starts, amounts = joined(pieces, counter)
    found = dict(zip(((starts - origin) // QUARTER).tolist(), amounts.tolist(), strict=True))
    return [found.get(i) for i in range(((days[-1][0] - days[0][0]).days + 1) * QUARTERS)]


def test_constant_power_is_its_quarter_in_each_quarter() -> None:
    energy = day_energy(dataset([START + i * MINUTE for i in range(1441)], power=[1000.0] * 1441), FIRST, {})
    assert energy is not None
    assert energy["quarters"] == pytest.approx([0.25] * QUARTERS)
    assert (energy["source"], energy["first"]) == ("integral:power", [START, 1000.0])


@given(
    st.lists(st.floats(0, 5000), min_size=2, max_size=300),
    st.integers(60, 300),
    st.integers(0, DAY // SECOND - 1) | st.integers(DAY // SECOND - 600, DAY // SECOND - 1),
)
def test_days_put_together_are_the_integral_over_all(power: list[float], cadence: int, offset: int) -> None:
    times = [START + (offset + i * cadence) * SECOND for i in range(len(power))]
    days = by_days(dataset(times, power=list(power)), {})
    whole, covered = from_power(np.array(times), np.array(power)).between(
        microseconds(midnight(days[0][0])) + np.arange(len(days) * QUARTERS + 1) * QUARTER
    )
    expected = [w / 1000 if c else None for w, c in zip(whole.tolist(), covered.tolist(), strict=True)]
    assert quarter_hours(days) == pytest.approx(expected, nan_ok=True, abs=1e-6)


@given(st.lists(st.floats(0, 50), min_size=2, max_size=100), st.booleans())
def test_a_register_counts_over_midnight_gaps_and_rollovers(rises: list[float], rolls: bool) -> None:
    counter = Counter(unit="kWh", rollover=100.0 if rolls else None)
    register = np.cumsum(rises) % 100.0 if rolls else np.cumsum(rises)
    times = [START + i * 5 * HOUR for i in range(len(rises))]
    days = by_days(dataset(times, kwh=register.tolist()), {"kwh": counter})
    curve = from_counter(np.array(times), register, counter)
    assert curve is not None
    assert sum(kwh or 0 for kwh in quarter_hours(days, counter)) == pytest.approx(curve.energy[-1] / 1000, abs=1e-6)
    assert all(energy["source"] == "counter:kwh" for _, energy in days)


@given(
    # Seconds between readings: of some, of none, and over a gap or several quarter hours.
    st.lists(st.integers(1, 60) | st.sampled_from([300, 900, 1200, 4000]), min_size=1, max_size=60),
    st.integers(0, 1800),
    st.booleans(),
    st.data(),
)
def test_a_part_of_a_day_with_the_days_quarters_is_that_part(
    steps: list[int], offset: int, is_register: bool, data: st.DataObject
) -> None:
    times = START + (offset + np.cumsum(steps)) * SECOND
    values = np.array(data.draw(st.lists(st.floats(0, 100), min_size=len(steps), max_size=len(steps))))
    counter = Counter(unit="kWh", rollover=100.0) if is_register else None
    day = piece_of(times, values, counter)
    assert day is not None
    start = data.draw(st.integers(0, len(steps) - 1))
    end = data.draw(st.integers(start + 1, len(steps)))
    part = piece_of_part(times[start:end], values[start:end], counter, day)
    expected = piece_of(times[start:end], values[start:end], counter, day.gap)
    assert expected is not None
    assert part.starts.tolist() == expected.starts.tolist()
    assert part.amounts.tolist() == pytest.approx(expected.amounts.tolist(), abs=1e-6)
    assert (part.first, part.last, part.gap) == (expected.first, expected.last, expected.gap)


def test_a_gap_over_midnight_is_not_bridged_and_a_missing_day_is_null() -> None:
    times = [START + i * MINUTE for i in (1300, 1301, 1302)] + [START + 2 * DAY + i * MINUTE for i in (0, 1)]
    days = by_days(dataset(times, power=[600.0] * 5), {})
    series = quarter_hours(days)
    assert len(series) == 3 * QUARTERS
    assert [i for i, kwh in enumerate(series) if kwh is not None] == [1300 // 15, 2 * QUARTERS]
    assert sum(kwh for kwh in series if kwh) == pytest.approx(0.6 * 3 / 60)


def test_a_day_without_its_counter_has_its_power_and_no_power_is_no_energy() -> None:
    times = [START + DAY - MINUTE, START + DAY]
    table = dataset(times, power=[60.0, None], kwh=[None, 5.0])
    (_, one), (_, other) = by_days(table, {"kwh": Counter(unit="kWh")})
    assert (one["source"], other["source"]) == (POWER, "counter:kwh")
    assert day_energy(dataset(times, voltage=[1.0, 2.0]), FIRST, {}) is None
    assert day_energy(dataset(times, litres=[1.0, 2.0]), FIRST, {"litres": Counter(unit="l")}) is None
    assert [len(part) for part in joined([], None)] == [0, 0]
