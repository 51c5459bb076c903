"""The states of a machine that sends no power, by what its registers count.

In each quarter hour it has the mean power of the time that its registers cover. Where they cover a part, it is silent
in the rest. What a register counted over a gap belongs to the state in which the gap ends, which is mostly silent.
"""

from collections.abc import Sequence

import numpy as np

from assets.energy.cells import Cells
from assets.energy.corrections import NONE, Corrections
from assets.energy.figures import EnergyFigures, energy_figures
from assets.energy.period import DaySource
from assets.energy.power import PER_MILLIWATT_HOUR
from assets.energy.states import Known, StateFigures, divided_states
from storage.arrays import Times
from storage.devices import DeviceMetadata
from storage.times import DAY, QUARTER


def register_states(
    source: DaySource,
    metadata: DeviceMetadata,
    maintenance: Sequence[tuple[int, int]],
    period: tuple[int, int],
    now: int,
    *,
    corrections: Corrections = NONE,
) -> tuple[StateFigures, EnergyFigures]:
    """The states over the half-open period (µs) up to now, and the energy that they rest on."""
    start, end = period
    until = max(min(end, now), start)
    first, last = start // QUARTER * QUARTER, -(-until // QUARTER) * QUARTER
    # The mean is that of the whole quarter hour, so that it does not depend on where a range begins.
    quarters = energy_figures(source, metadata, first, max(last, first + QUARTER), now, corrections=corrections)
    edges = [edge for window in maintenance for edge in window]
    edges += _edges_within(quarters, source, corrections)
    divided = [start, *(edge for edge in edges if start < edge < until)]
    energy = energy_figures(source, metadata, start, until, now, corrections=corrections, divided=divided)
    covered = energy.cells.covered > 0
    since, lengths = energy.cells.starts[covered], energy.cells.covered[covered]
    means = quarters.cells
    at = means.starts.searchsorted(since // QUARTER * QUARTER)
    watts = (means.amounts + means.out)[at] * PER_MILLIWATT_HOUR / means.covered[at]
    known = Known(since, since + lengths, watts)
    ends, amounts = (np.array([lump[i] for lump in energy.lumps], np.int64) for i in (1, 2))
    taken = [energy.cells, Cells(ends - 1, amounts, amounts, amounts)]
    return divided_states(known, metadata, maintenance, (start, until), lambda _: taken), energy


def _edges_within(quarters: EnergyFigures, source: DaySource, corrections: Corrections) -> list[int]:
    """Where known time may begin or end within a quarter hour that is partly covered: at readings and corrections."""
    cells = quarters.cells
    partly = cells.starts[cells.covered < QUARTER]
    names = [name.removeprefix("counter:") for name in (*quarters.sources, *quarters.export_sources)]
    found: list[Times] = [np.zeros(0, np.int64)]
    for name in names:
        found += [source.samples(day, name).times for day in np.unique(partly // DAY * DAY).tolist()]
        edges = [edge for piece in corrections.pieces(name) for edge in (piece.start, piece.end)]
        found.append(np.array(edges, np.int64))
    times = np.unique(np.concatenate(found))
    edge_list: list[int] = times[np.isin(times // QUARTER * QUARTER, partly)].tolist()
    return edge_list
