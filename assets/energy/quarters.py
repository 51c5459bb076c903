"""Energy by the clock quarter hour, in pieces that depend on their own readings alone and can be joined.

A closed day's piece stands in the catalogue. What passed between the last sample of one piece and the first of the next
is worked out from these two samples, which stand beside the amounts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from assets.energy.curve import WH_PER_UNIT, EnergyCurve, from_counter, from_power, gap_rule
from storage.arrays import Floats, Times
from storage.devices import Counter
from storage.times import DAY, QUARTER, microseconds, midnight

QUARTERS = DAY // QUARTER
POWER = "integral:power"

DayEnergy = Mapping[str, Any]


@dataclass(frozen=True)
class Piece:
    """Amounts with the start of their quarter hour (µs), and the first and the last sample, (µs, value).

    Of power the amounts are kWh and values W, of a counter both are in its own unit. `gap` is the longest step (µs)
    over which power counts as measured.
    """

    starts: Times
    amounts: Floats
    first: tuple[int, float]
    last: tuple[int, float]
    gap: int


def piece_of(times: Times, values: Floats, counter: Counter | None, gap: int | None = None) -> Piece | None:
    """Of samples of power, or of a counter, ascending in time; None of none. `gap` is the piece's, else by the rule."""
    if not len(times):
        return None
    return _piece(times, values, counter, gap_rule(times) if gap is None else gap)


def piece_of_part(times: Times, values: Floats, counter: Counter | None, day: Piece) -> Piece:
    """The same of samples that are neighbours in the day of `day`, whose `gap` is theirs.

    Between the first and the last sample the day's whole quarter hours hold the same steps, and are taken from it.
    """
    whole, end = -(-times[0] // QUARTER) * QUARTER, times[-1] // QUARTER * QUARTER
    until, since = times.searchsorted(whole) + 1, times.searchsorted(end, "right") - 1
    if until > since:
        return _piece(times, values, counter, day.gap)
    head = _piece(times[:until], values[:until], counter, day.gap)
    tail = _piece(times[since:], values[since:], counter, day.gap)
    kept = (
        (head, head.starts < whole),
        (day, (day.starts >= whole) & (day.starts < end)),
        (tail, tail.starts >= end),
    )
    starts = np.concatenate([piece.starts[there] for piece, there in kept])
    amounts = np.concatenate([piece.amounts[there] for piece, there in kept])
    return Piece(starts, amounts, head.first, tail.last, day.gap)


def piece_of_day(energy: DayEnergy, start: int, counter: Counter | None) -> Piece:
    """Of what the catalogue knows of the day that begins then (µs), `counter` being its source; None is power."""
    per_kwh = 1.0 if counter is None else 1000 / WH_PER_UNIT[counter.unit]
    quarters = np.array(energy["quarters"], np.float64)  # null becomes NaN
    there = ~np.isnan(quarters)
    starts = start + np.flatnonzero(there) * QUARTER
    (start, before), (end, after) = energy["first"], energy["last"]
    first, last = (int(start), before * per_kwh), (int(end), after * per_kwh)
    return Piece(starts, quarters[there] * per_kwh, first, last, int(energy["gap"]))


def joined(pieces: Sequence[Piece], counter: Counter | None) -> tuple[Times, Floats]:
    """The starts of the quarter hours that were measured, ascending, and their amounts; `pieces` ascend."""
    starts = [piece.starts for piece in pieces]
    amounts = [piece.amounts for piece in pieces]
    ends = [
        sample
        for one, other in pairwise(pieces)
        if counter is not None or other.first[0] - one.last[0] <= max(one.gap, other.gap)
        for sample in (one.last, other.first)
    ]
    if ends:
        times, values = np.array([t for t, _ in ends], np.int64), np.array([v for _, v in ends], np.float64)
        # Every other step leads from one piece to the next; those between are within a piece, which has counted them.
        curve = _curve(times, values, counter, gap=int(times[-1] - times[0]))
        between = _quarters(curve.only(np.arange(len(times) - 1) % 2 == 0), counter)
        starts.append(between[0])
        amounts.append(between[1])
    if not starts:
        return np.zeros(0, np.int64), np.zeros(0)
    found, which = np.unique(np.concatenate(starts), return_inverse=True)
    return found, np.bincount(which, np.concatenate(amounts), len(found)).astype(np.float64)


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


def _piece(times: Times, values: Floats, counter: Counter | None, gap: int) -> Piece:
    first, last = (int(times[0]), float(values[0])), (int(times[-1]), float(values[-1]))
    return Piece(*_quarters(_curve(times, values, counter, gap), counter), first, last, gap)


def _curve(times: Times, values: Floats, counter: Counter | None, gap: int) -> EnergyCurve:
    if counter is None:
        return from_power(times, values, gap)
    # Counted as if in Wh, so that amounts come out in the counter's own unit.
    curve = from_counter(times, values, Counter(unit="Wh", rollover=counter.rollover))
    assert curve is not None  # noqa: S101 - Wh is a unit of energy
    return curve


def _quarters(curve: EnergyCurve, counter: Counter | None) -> tuple[Times, Floats]:
    """Starts and amounts of the quarter hours that the curve covers."""
    edges = np.arange(curve.times[0] // QUARTER, curve.times[-1] // QUARTER + 2) * QUARTER
    amounts, covered = curve.between(edges)
    there = covered > 0
    return edges[:-1][there], amounts[there] / (1000 if counter is None else 1)


def _figures(curve: EnergyCurve, day: date, source: str, values: Floats) -> dict[str, Any]:
    start = microseconds(midnight(day))
    wh, covered = curve.between(start + np.arange(QUARTERS + 1) * QUARTER)
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
