"""What a device used over a range: energy, the highest demand, and what each of its counters counted.

A range is put together from pieces, each worked out from its own readings alone: a closed day's is in the catalogue.
What passed between the last sample of one piece and the first of the next is worked out from these two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from assets.reports.energy import WH_PER_UNIT, EnergyCurve, Floats, Times, from_counter, from_power, gap_rule
from assets.timeline import Stretch, Timeline, by_day
from storage.devices import Counter
from storage.telemetry import DAY

QUARTER = DAY // 96
POWER = "power"


@dataclass(frozen=True)
class EnergyFigures:
    """Energy in kWh with its source (`integral:power` or `counter:<name>`), and by the same source the highest demand.

    The demand is the mean power (W) of the clock quarter hour with the most energy, whose start is in µs. What was not
    measured is None. `consumption` has what each counter counted, with its unit.
    """

    kwh: float | None
    source: str | None
    peak_demand: float | None
    peak_demand_at: int | None
    consumption: Mapping[str, tuple[float, str]]


@dataclass(frozen=True)
class Piece:
    """Amounts by the start of their clock quarter hour (µs), and the first and the last sample, (µs, value).

    Of power the amounts are kWh and values W, of a counter both are in its own unit. `gap` is the longest step (µs)
    over which power counts as measured.
    """

    quarters: Mapping[int, float]
    first: tuple[int, float]
    last: tuple[int, float]
    gap: int


def energy_figures(
    timeline: Timeline, device_id: str, start: int, end: int, counters: Mapping[str, Counter]
) -> EnergyFigures:
    """Of a device with these counters over the half-open range in microseconds."""
    stretches = by_day(timeline.stretches(device_id, start, end))
    amounts = {name: _amounts(timeline, device_id, stretches, name, counter) for name, counter in counters.items()}
    consumption = {name: (sum(q.values()), counters[name].unit) for name, (q, _) in amounts.items() if q}
    source = next((name for name in sorted(consumption) if counters[name].unit in WH_PER_UNIT), None)
    if source is None:
        quarters, gap = _amounts(timeline, device_id, stretches, POWER, None)
    else:
        factor = WH_PER_UNIT[counters[source].unit] / 1000
        quarters, gap = {at: amount * factor for at, amount in amounts[source][0].items()}, amounts[source][1]
    if not quarters:
        return EnergyFigures(None, None, None, None, consumption)
    highest = max(quarters, key=lambda at: (quarters[at], -at))
    # Readings further apart than a quarter hour say nothing of one.
    is_fine = gap <= 5 * QUARTER
    return EnergyFigures(
        kwh=sum(quarters.values()),
        source=f"counter:{source}" if source else "integral:power",
        peak_demand=quarters[highest] * 4000 if is_fine else None,
        peak_demand_at=highest if is_fine else None,
        consumption=consumption,
    )


def joined(pieces: Sequence[Piece], counter: Counter | None) -> dict[int, float]:
    """The amount of every quarter hour that was measured, by its start; `pieces` ascend."""
    found: dict[int, float] = {}
    for piece in pieces:
        _add(found, piece.quarters)
    for one, other in pairwise(pieces):
        if counter is None and other.first[0] - one.last[0] > max(one.gap, other.gap):
            continue
        times, values = zip(one.last, other.first, strict=True)
        _add(found, _quarters(np.array(times, np.int64), np.array(values, np.float64), counter))
    return found


def piece_of(times: Times, values: Floats, counter: Counter | None) -> Piece | None:
    """Of samples of power, or of a counter, ascending in time; None of none."""
    if not len(times):
        return None
    first, last = (int(times[0]), float(values[0])), (int(times[-1]), float(values[-1]))
    return Piece(_quarters(times, values, counter), first, last, gap_rule(times))


def _amounts(
    timeline: Timeline, device_id: str, stretches: Sequence[Stretch], metric: str, counter: Counter | None
) -> tuple[dict[int, float], int]:
    pieces = []
    for stretch in stretches:
        piece = _of_catalogue(stretch, metric, counter)
        if piece is None:
            rows = timeline.rows(device_id, stretch, [metric])
            piece = piece_of(rows["time"].cast(pa.int64()).to_numpy(), rows[metric].to_numpy(), counter)
        if piece is not None:
            pieces.append(piece)
    return joined(pieces, counter), max((piece.gap for piece in pieces), default=0)


def _of_catalogue(stretch: Stretch, metric: str, counter: Counter | None) -> Piece | None:
    """What the catalogue knows of a whole day, if its energy has this source; there amounts and registers are kWh."""
    energy = stretch.file.energy if stretch.file and stretch.is_whole_day and not stretch.is_behind else None
    source = "integral:power" if counter is None else f"counter:{metric}"
    if energy is None or energy["source"] != source:
        return None
    per_kwh = 1.0 if counter is None else 1000 / WH_PER_UNIT[counter.unit]
    quarters = {
        stretch.start + i * QUARTER: kwh * per_kwh for i, kwh in enumerate(energy["quarters"]) if kwh is not None
    }
    value = 1.0 if counter is None else per_kwh
    (start, before), (end, after) = energy["first"], energy["last"]
    return Piece(quarters, (int(start), before * value), (int(end), after * value), int(energy["gap"]))


def _quarters(times: Times, values: Floats, counter: Counter | None) -> dict[int, float]:
    """Amounts by clock quarter hour; those that the samples do not cover are absent."""
    curve: EnergyCurve | None
    if counter is None:
        curve, per_amount = from_power(times, values), 1000.0
    else:
        # Counted as if in Wh, so that amounts come out in the counter's own unit.
        curve, per_amount = from_counter(times, values, Counter(unit="Wh", rollover=counter.rollover)), 1.0
    if curve is None:
        return {}
    edges = np.arange(times[0] // QUARTER, times[-1] // QUARTER + 2) * QUARTER
    amounts, covered = curve.between(edges)
    there = covered > 0
    return dict(zip(edges[:-1][there].tolist(), (amounts[there] / per_amount).tolist(), strict=True))


def _add(found: dict[int, float], quarters: Mapping[int, float]) -> None:
    for at, amount in quarters.items():
        found[at] = found.get(at, 0.0) + amount
