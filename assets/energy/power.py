"""Energy of power over time: lines between readings, or steps where the device reports on change."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assets.energy.cells import Cells, edges_over, whole
from storage.arrays import Floats, Times
from storage.times import HOUR, QUARTER

# Watts times microseconds in a milliwatt-hour.
PER_MILLIWATT_HOUR = HOUR / 1000

Point = tuple[int, float]


@dataclass(frozen=True)
class Segments:
    """Power (W) that runs straight from `low` at `start` to `high` at `end` (µs); ascending, none overlaps another."""

    start: Times
    end: Times
    low: Floats
    high: Floats


def segments_of(times: Times, power: Floats, limit: int, *, steps: bool, until: int | None = None) -> Segments:
    """What is known of power between ascending readings.

    Args:
        times: of the readings, in µs.
        power: in W.
        limit: the longest step (µs) over which power is known.
        steps: a reading holds until the next one, at most for `limit`; else lines join neighbours within `limit`.
        until: the last reading holds to here at most (µs), where `steps`; not at all without it.

    """
    if steps:
        ends = np.append(times[1:], times[-1:] if until is None else max(until, int(times[-1])))
        ends = np.minimum(ends, times + limit)
        kept = ends > times
        return Segments(times[kept], ends[kept], power[kept], power[kept])
    near = np.diff(times) <= limit
    lines = Segments(times[:-1][near], times[1:][near], power[:-1][near], power[1:][near])
    return _split_at_zero(lines) if (power < 0).any() else lines


def bridges_of(pairs: Sequence[tuple[Point, Point, int]], *, steps: bool) -> Segments:
    """What is known of power from one reading (µs, W) to another, for pairs that ascend, each with its limit (µs)."""
    start, low = np.array([a for (a, _), _, _ in pairs], np.int64), np.array([v for (_, v), _, _ in pairs], np.float64)
    end, high = np.array([b for _, (b, _), _ in pairs], np.int64), np.array([v for _, (_, v), _ in pairs], np.float64)
    limit = np.array([limit for _, _, limit in pairs], np.int64)
    if steps:
        return Segments(start, np.minimum(end, start + limit), low, low)
    near = end - start <= limit
    lines = Segments(start[near], end[near], low[near], high[near])
    return _split_at_zero(lines) if (lines.low < 0).any() or (lines.high < 0).any() else lines


def energy_cells(segments: Segments, cuts: tuple[int, ...] = ()) -> Cells:
    """Energy drawn and fed in (mWh) by the quarter hour."""
    if not len(segments.start):
        return Cells.empty()
    edges = edges_over(int(segments.start[0]), int(segments.end[-1]), cuts)
    covered = np.diff(_covered_until(segments, edges))
    drawn = _amounts(segments, np.maximum(segments.low, 0), np.maximum(segments.high, 0), edges)
    fed = (segments.low < 0) | (segments.high < 0)
    out = (
        _amounts(segments, np.maximum(-segments.low, 0), np.maximum(-segments.high, 0), edges)
        if fed.any()
        else np.zeros(len(covered), np.int64)
    )
    known = covered > 0
    return Cells(edges[:-1][known], drawn[known], out[known], covered[known])


def _amounts(segments: Segments, low: Floats, high: Floats, edges: Times) -> Times:
    """Whole mWh between neighbouring edges, rounded from the start of each quarter hour, so that cuts add up."""
    lengths = segments.end - segments.start
    sums = np.concatenate([[0.0], np.cumsum((low + high) / 2 * lengths)])

    def until(moments: Times) -> Floats:
        at = np.clip(segments.start.searchsorted(moments, "right") - 1, 0, len(lengths) - 1)
        since = np.clip(moments - segments.start[at], 0, lengths[at])
        part = (low[at] + (high[at] - low[at]) * since / lengths[at] / 2) * since
        return np.asarray(sums[at] + part)

    origin = np.maximum(edges[:-1] // QUARTER * QUARTER, edges[0])
    reached, before = until(edges), until(origin)
    first = whole((reached[:-1] - before) / PER_MILLIWATT_HOUR)
    last = whole((reached[1:] - before) / PER_MILLIWATT_HOUR)
    return last - first


def _covered_until(segments: Segments, moments: Times) -> Times:
    lengths = segments.end - segments.start
    sums = np.concatenate([[0], np.cumsum(lengths)])
    at = np.clip(segments.start.searchsorted(moments, "right") - 1, 0, len(lengths) - 1)
    return np.asarray(sums[at] + np.clip(moments - segments.start[at], 0, lengths[at]))


def _split_at_zero(lines: Segments) -> Segments:
    """The same with every line that crosses zero divided there, since what is drawn and what is fed in never net."""
    crosses = np.flatnonzero(lines.low * lines.high < 0)
    share = lines.low[crosses] / (lines.low[crosses] - lines.high[crosses])
    middle = lines.start[crosses] + np.rint(share * (lines.end - lines.start)[crosses]).astype(np.int64)
    zero = np.zeros(len(crosses))
    start, end = np.insert(lines.start, crosses + 1, middle), np.insert(lines.end, crosses, middle)
    low, high = np.insert(lines.low, crosses + 1, zero), np.insert(lines.high, crosses, zero)
    kept = end > start
    return Segments(start[kept], end[kept], low[kept], high[kept])
