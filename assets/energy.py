"""A day's energy in the catalogue, by quarter hour, such that days can be joined over midnight.

A day's figures depend on its own file alone. What passed between the last sample of one day and the first of the next
is worked out from those two samples, which stand beside the figures, when days are put together.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from assets.reports.energy import WH_PER_UNIT, EnergyCurve, Floats, Times, from_counter, from_power, gap_rule
from storage.devices import Counter
from storage.telemetry import DAY, microseconds

QUARTERS = 96
QUARTER = DAY // QUARTERS
POWER = "integral:power"

DayEnergy = Mapping[str, Any]


def day_energy(table: pa.Table, day: date, counters: Mapping[str, Counter]) -> dict[str, Any] | None:
    """Energy of a UTC day from its dataset: from its energy counter if it has one, else from power; None without both.

    `quarters`: 96 figures in kWh, null where nothing was measured. `source`: `integral:power` or `counter:<name>`.
    `first`, `last`: [microseconds, W], of a counter its register in kWh. `gap`: the longest step in microseconds over
    which power counts as measured. `rollover`: the register's size in kWh, where it is declared.
    """
    for name, counter in sorted(counters.items()):
        times, values = _track(table, name)
        curve = from_counter(times, values, counter) if len(times) else None
        if curve is not None:
            factor = WH_PER_UNIT[counter.unit] / 1000
            found = _figures(curve, day, f"counter:{name}", values * factor)
            return found | ({"rollover": counter.rollover * factor} if counter.rollover else {})
    times, power = _track(table, "power")
    return _figures(from_power(times, power), day, POWER, power) if len(times) else None


def quarter_hours(days: Sequence[tuple[date, DayEnergy | None]]) -> list[float | None]:
    """KWh of every quarter hour from the first day's start to the last day's end, joined over midnight.

    Args:
        days: ascending; a day that is missing, or whose energy is not known, is null, unless a counter tells of it.

    """
    if not days:
        return []
    start = days[0][0]
    series = np.full(((days[-1][0] - start).days + 1) * QUARTERS, np.nan)
    origin = _midnight(start)
    known = [(day, energy) for day, energy in days if energy]
    for day, energy in known:
        at = (day - start).days * QUARTERS
        series[at : at + QUARTERS] = [np.nan if kwh is None else kwh for kwh in energy["quarters"]]
    for (_, one), (_, other) in pairwise(known):
        curve = _between(one, other)
        if curve is None:
            continue
        first, last = ((int(t) - origin) // QUARTER for t in curve.times)
        edges = origin + np.arange(first, last + 2) * QUARTER
        joined, covered = curve.between(edges)
        there = series[first : last + 1]
        series[first : last + 1] = np.where(covered > 0, np.nan_to_num(there) + joined / 1000, there)
    return [None if np.isnan(kwh) else kwh for kwh in series.tolist()]


def _between(one: DayEnergy, other: DayEnergy) -> EnergyCurve | None:
    """From the last sample of a day to the first of the next; None where that is a gap, or another way of measuring."""
    (start, before), (end, after) = one["last"], other["first"]
    if one["source"] != other["source"]:
        return None
    times, values = np.array([start, end], np.int64), np.array([before, after], float)
    if one["source"] == POWER:
        return from_power(times, values) if end - start <= max(one["gap"], other["gap"]) else None
    return from_counter(times, values, Counter(unit="kWh", rollover=other.get("rollover")))


def _figures(curve: EnergyCurve, day: date, source: str, values: Floats) -> dict[str, Any]:
    wh, covered = curve.between(_midnight(day) + np.arange(QUARTERS + 1) * QUARTER)
    quarters = [w / 1000 if c else None for w, c in zip(wh.tolist(), covered.tolist(), strict=True)]
    times = curve.times
    return {
        "quarters": quarters,
        "source": source,
        "first": [int(times[0]), float(values[0])],
        "last": [int(times[-1]), float(values[-1])],
        "gap": gap_rule(times),
    }


def _track(table: pa.Table, metric: str) -> tuple[Times, Floats]:
    if metric not in table.column_names:
        return np.zeros(0, np.int64), np.zeros(0)
    values = table[metric].to_numpy()
    there = np.isfinite(values)
    return table["timestamp"].cast(pa.int64()).to_numpy()[there], values[there]


def _midnight(day: date) -> int:
    return microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))
