"""A day's figures as the catalogue keeps them, made to fit: cells that a cut divides, and readings that came since.

Only the readings around a cut, or since the last whole quarter hour, are worked with. The result is what all of the
day's readings give.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from assets.energy.basis import Basis
from assets.energy.cells import Cells
from assets.energy.day import PowerDay, RegisterDay, power_samples, register_samples
from assets.energy.power import energy_cells, segments_of
from assets.energy.registers import Level, level_of
from assets.energy.samples import Samples
from assets.energy.spikes import spikes_of
from assets.quality.cadence import Steps, cadence_of, gauge_limit, steps_of
from storage.times import QUARTER


def cut(day: PowerDay | RegisterDay, samples: Samples, basis: Basis, cuts: Sequence[int]) -> PowerDay | RegisterDay:
    """The day with its cells divided at the cuts (µs); `samples` are all of its readings."""
    quarters = sorted({moment // QUARTER * QUARTER for moment in cuts if moment % QUARTER})
    if isinstance(day, PowerDay):
        usable = power_samples(samples, basis)
        cells = day.cells
        for quarter in quarters:
            end = quarter + QUARTER
            cells = _replaced(cells, quarter, _power_cells(usable, day.limit, basis, (quarter, end), cuts))
        return replace(day, cells=cells)
    usable = register_samples(samples, basis)
    return replace(
        day, levels=day.levels and tuple(_cut_level(level, usable, day.limit, quarters, cuts) for level in day.levels)
    )


def extended(day: PowerDay, samples: Samples, basis: Basis, before: Steps) -> PowerDay | None:
    """The day with the readings that came after its last one; `samples` are all of its readings.

    None if they must all be looked at, since the newer ones change the limit or are not usable.
    """
    if day.last is None or day.left_out:
        return None
    at = int(samples.times.searchsorted(day.last[0]))
    newer = Samples(samples.times[at:], samples.values[at:])
    steps = _merged(day.steps, steps_of(newer.times))
    if gauge_limit(cadence_of(basis.cadence, before, steps)) != day.limit:
        return None
    if len(power_samples(newer, basis).times) < len(newer.times):
        return None
    since, last = day.last[0] // QUARTER * QUARTER, (int(samples.times[-1]), float(samples.values[-1]))
    cells = _replaced(day.cells, since, _power_cells(samples, day.limit, basis, (since, last[0] + 1), ()))
    spikes = spikes_of(samples.times, samples.values, day.limit, steps=basis.on_change)
    return replace(day, steps=steps, last=last, cells=cells, spikes=spikes)


def _merged(one: Steps, other: Steps) -> Steps:
    counted = Counter(dict(one))
    counted.update(dict(other))
    return sorted(counted.items())


def _power_cells(samples: Samples, limit: int, basis: Basis, period: tuple[int, int], cuts: Sequence[int]) -> Cells:
    """The cells that begin in the period, from the readings in it and next to it."""
    near = _around(samples, period)
    segments = segments_of(near.times, near.values, limit, steps=basis.on_change)
    return energy_cells(segments, tuple(cuts)).within(*period)


def _cut_level(level: Level, samples: Samples, limit: int, quarters: Sequence[int], cuts: Sequence[int]) -> Level:
    a, b = samples.times.searchsorted([level.first[0], level.last[0] + 1])
    of_level, cells = Samples(samples.times[a:b], samples.values[a:b]), level.cells
    for quarter in quarters:
        if level.first[0] < quarter + QUARTER and level.last[0] > quarter:
            period = (quarter, quarter + QUARTER)
            near = _around(of_level, period)
            part = level_of(near.times, near.values, limit, tuple(cuts)).cells.within(*period)
            cells = _replaced(cells, quarter, part)
    return replace(level, cells=cells)


def _around(samples: Samples, period: tuple[int, int]) -> Samples:
    """The samples of the period, with the last one up to its start and the first one from its end on."""
    a = max(int(samples.times.searchsorted(period[0], "right")) - 1, 0)
    b = int(samples.times.searchsorted(period[1])) + 1
    return Samples(samples.times[a:b], samples.values[a:b])


def _replaced(cells: Cells, quarter: int, part: Cells) -> Cells:
    """The cells with those of a quarter hour, or of all from it on, replaced by the part's."""
    end = quarter + QUARTER
    if len(part.starts):
        end = max(end, int(part.starts[-1]) + 1)
    a, b = cells.starts.searchsorted([quarter, end])

    def spliced(name: str) -> np.ndarray:
        old, new = getattr(cells, name), getattr(part, name)
        return np.concatenate([old[:a], new, old[b:]])

    return Cells(spliced("starts"), spliced("amounts"), spliced("out"), spliced("covered"))
