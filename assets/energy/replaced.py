"""Amounts of a counter that somebody has given in place of what its register says.

What the register counted up to the range, and from its end on, stays as it was; the range itself counts the given
amount, spread evenly. Of what was counted over a gap it is not known how much lies in the range: a range within a gap
leaves the rest of its amount, and a gap that is cut loses it.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from assets.energy.cells import MILLIONTHS, Cells, Lump, edges_over, whole
from assets.energy.corrections import Piece
from assets.energy.findings import Finding


def without_replaced(cells: Cells, pieces: Sequence[Piece]) -> Cells:
    """The cells outside the ranges, whose edges have divided them before."""
    kept = np.ones(len(cells.starts), bool)
    for piece in pieces:
        a, b = cells.starts.searchsorted([piece.start, piece.end])
        kept[a:b] = False
    return Cells(cells.starts[kept], cells.amounts[kept], cells.out[kept], cells.covered[kept])


def given_cells(piece: Piece, start: int, end: int, cuts: Sequence[int] = ()) -> Cells:
    """The part of the given amount that falls into the half-open range (µs), as cells that the cuts divide."""
    since, until = max(piece.start, start), min(piece.end, end)
    if since >= until:
        return Cells.empty()
    edges = edges_over(since, until, cuts)
    first, last = piece.of
    reached = whole((edges - first) / (last - first) * (piece.value or 0.0) * MILLIONTHS)
    amounts = np.diff(reached)
    return Cells(edges[:-1], amounts, np.zeros(len(amounts), np.int64), np.diff(edges))


def lumps_left(lumps: Iterable[Lump], pieces: Sequence[Piece]) -> list[Lump]:
    """What was counted over gaps, without the given amounts within these."""
    left: list[Lump] = []
    for since, until, amount in lumps:
        over = [piece for piece in pieces if piece.start < until and since < piece.end]
        if all(since <= piece.start and piece.end < until for piece in over):
            given = sum(int(given_cells(piece, piece.start, piece.end).amounts.sum()) for piece in over)
            left.append((since, until, max(amount - given, 0) if over else amount))
    return left


def is_settled(finding: Finding, pieces: Sequence[Piece]) -> bool:
    """Whether the given amounts make up for what was noticed."""
    since = finding.at if finding.since is None else finding.since
    last = finding.at if finding.since is None else finding.at - 1
    return any(piece.start <= since and last < piece.end for piece in pieces)
