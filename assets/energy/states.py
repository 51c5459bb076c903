"""When a machine was off, idle, running, silent or in maintenance, and what it used meanwhile.

Between two readings of power a machine has the state of their mean; feeding in counts as much as drawing. It is silent
where nothing is known of its power. Planned maintenance goes before all else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from assets.energy.cells import MILLIONTHS, Cells
from assets.energy.power import Segments, energy_cells
from storage.arrays import Floats, Times
from storage.devices import DeviceMetadata

State = Literal["off", "idle", "running", "unknown", "silent", "maintenance"]
STATES: tuple[State, ...] = get_args(State)
OFF, IDLE, RUNNING, UNKNOWN, SILENT, MAINTENANCE = range(len(STATES))


@dataclass(frozen=True)
class Span:
    """A half-open stretch of time (µs) in one state."""

    state: State
    start: int
    end: int


@dataclass(frozen=True)
class Known:
    """Stretches of time (µs) in which power is known, apart and ascending, with the size (W) of each one's mean."""

    start: Times
    end: Times
    watts: Floats


@dataclass(frozen=True)
class StateFigures:
    """The states of a device from `start` to `end` (µs): the range as far as it has passed.

    `spans` follow each other without a gap. `time` (µs) and `energy` (mWh taken) are by state, and add up to the range
    and to its energy. `unknown`: its power is known, but no threshold is declared.
    """

    start: int
    end: int
    spans: tuple[Span, ...]
    time: dict[State, int]
    energy: dict[State, int]

    def kwh(self, state: State) -> float:
        """Energy taken in a state."""
        return self.energy[state] / MILLIONTHS

    @property
    def total_kwh(self) -> float:
        """Energy taken in all states."""
        return sum(self.energy.values()) / MILLIONTHS


def machine_states(
    pieces: Sequence[Segments],
    metadata: DeviceMetadata,
    maintenance: Sequence[tuple[int, int]],
    start: int,
    end: int,
) -> StateFigures:
    """The states over the half-open range (µs).

    Args:
        pieces: what is known of power; each ascends, and none overlaps another.
        metadata: with the thresholds.
        maintenance: planned windows (µs), ascending and apart.
        start: of the range.
        end: of the range; nothing after it is known.

    """
    starts, ends, low, high = (
        np.concatenate([np.zeros(0), *(getattr(piece, name) for piece in pieces)])
        for name in ("start", "end", "low", "high")
    )
    order = np.argsort(starts, kind="stable")
    known = Known(starts[order].astype(np.int64), ends[order].astype(np.int64), np.abs(low[order] + high[order]) / 2)

    def taken(edges: Times) -> list[Cells]:
        return [energy_cells(piece, tuple(edges.tolist())).within(start, end) for piece in pieces]

    return divided_states(known, metadata, maintenance, (start, end), taken)


def divided_states(
    known: Known,
    metadata: DeviceMetadata,
    maintenance: Sequence[tuple[int, int]],
    period: tuple[int, int],
    taken: Callable[[Times], Sequence[Cells]],
) -> StateFigures:
    """The states over the half-open period; `taken` has the energy in cells that the edges of all spans divide."""
    start, end = period
    if start >= end:
        return StateFigures(start, start, (), dict.fromkeys(STATES, 0), dict.fromkeys(STATES, 0))
    codes = _codes(known.watts, metadata)
    planned = np.array([edge for window in maintenance for edge in window], np.int64)
    edges = np.unique(np.clip(np.concatenate([known.start, known.end, planned, [start, end]]), start, end))
    states = _at(edges[:-1], known.start, known.end, codes)
    states[planned.searchsorted(edges[:-1], "right") % 2 == 1] = MAINTENANCE
    first = np.flatnonzero(np.concatenate([[True], np.diff(states) != 0]))
    starts, states = edges[:-1][first], states[first]
    ends = np.append(starts[1:], end)
    time = np.bincount(states, weights=ends - starts, minlength=len(STATES)).astype(np.int64)
    energy = np.zeros(len(STATES), np.int64)
    for cells in taken(np.append(starts, end)):
        np.add.at(energy, states[starts.searchsorted(cells.starts, "right") - 1], cells.amounts)
    return StateFigures(
        start,
        end,
        tuple(Span(STATES[s], a, b) for s, a, b in zip(states.tolist(), starts.tolist(), ends.tolist(), strict=True)),
        dict(zip(STATES, time.tolist(), strict=True)),
        dict(zip(STATES, energy.tolist(), strict=True)),
    )


def _codes(watts: Floats, metadata: DeviceMetadata) -> Times:
    codes = np.full(len(watts), UNKNOWN)
    if metadata.off_below_w is not None or metadata.idle_below_w is not None:
        codes[:] = RUNNING
        codes[watts < (metadata.idle_below_w or 0.0)] = IDLE
        codes[watts < (metadata.off_below_w or 0.0)] = OFF
    return codes


def _at(moments: Times, since: Times, until: Times, codes: Times) -> Times:
    if not len(since):
        return np.full(len(moments), SILENT)
    at = since.searchsorted(moments, "right") - 1
    is_known = (at >= 0) & (moments < until[np.maximum(at, 0)])
    return np.where(is_known, codes[np.maximum(at, 0)], SILENT)
