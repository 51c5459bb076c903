"""Amounts by the quarter hour of UTC, as whole numbers, so that sums are exact in whatever order.

An amount is in millionths of a unit: milliwatt-hours of energy in kWh, millilitres of a counter in m³. A cell is a
quarter hour, or the part of one on one side of a cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from storage.arrays import Floats, Times
from storage.times import QUARTER

MILLIONTHS = 1_000_000

# Energy that a register counted over a gap: from, until (µs), amount. When within the gap it was used is not known.
Lump = tuple[int, int, int]


@dataclass(frozen=True)
class Cells:
    """Amounts with the start of their cell (µs) and the covered time (µs); `out` is what power fed in."""

    starts: Times
    amounts: Times
    out: Times
    covered: Times

    @classmethod
    def empty(cls) -> "Cells":
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, nothing, nothing)

    def within(self, start: int, end: int) -> "Cells":
        """The cells that begin in the half-open range (µs); a cell that a cut divides was divided before."""
        starts = self.starts
        if not len(starts) or (starts[0] >= start and starts[-1] < end):
            return self
        a, b = starts.searchsorted([start, end])
        return Cells(self.starts[a:b], self.amounts[a:b], self.out[a:b], self.covered[a:b])


def joined(parts: Sequence[Cells], cuts: Sequence[int] = ()) -> Cells:
    """One cell for each quarter hour, in order, with the sums of all parts; quarter hours stay divided at the cuts."""
    if not parts:
        return Cells.empty()
    of_parts = np.concatenate([part.starts for part in parts])
    starts = of_parts // QUARTER * QUARTER
    if len(cuts):
        edges = np.unique(np.array(cuts, np.int64))
        at = edges.searchsorted(of_parts, "right") - 1
        starts = np.where(at >= 0, np.maximum(starts, edges[np.maximum(at, 0)]), starts)
    found, which = np.unique(starts, return_inverse=True)

    def summed(name: str) -> Times:
        total = np.zeros(len(found), np.int64)
        np.add.at(total, which, np.concatenate([getattr(part, name) for part in parts]))
        return total

    return Cells(found, summed("amounts"), summed("out"), summed("covered"))


def edges_over(first: int, last: int, cuts: Sequence[int] = ()) -> Times:
    """Every edge of a cell from `first` to `last` (µs): these two, quarter hours and cuts between them, ascending."""
    quarters = np.arange(first // QUARTER + 1, -(-last // QUARTER)) * QUARTER
    inside = [cut for cut in cuts if first < cut < last]
    return np.unique(np.concatenate([[first], quarters, inside, [last]]).astype(np.int64))


def whole(amounts: Floats) -> Times:
    """The nearest whole numbers; a half is rounded up however a sum's last digit came out."""
    return np.floor(amounts + 0.5 + 1e-4).astype(np.int64)
