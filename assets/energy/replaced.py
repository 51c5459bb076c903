"""Amounts of a counter that somebody has given in place of what its register says.

What the register counted up to the range, and from its end on, stays as it was; the range itself counts the given
amount, spread evenly. Of what was counted over a gap it is not known how much lies in the range: a range within a gap
leaves the rest of its amount, and a gap that is cut loses it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from assets.energy.cells import MILLIONTHS, Cells, Lump, edges_over, whole
from assets.energy.corrections import Piece
from assets.energy.findings import Finding
from assets.energy.noticed import COUNTED_AT_THE_END


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
        over = _over(since, until, pieces)
        if _are_within(over, since, until):
            given = sum(int(given_cells(piece, piece.start, piece.end).amounts.sum()) for piece in over)
            left.append((since, until, max(amount - given, 0) if over else amount))
    return left


def finding_left(finding: Finding, pieces: Sequence[Piece], *, is_lump: bool) -> Finding | None:
    """What remains to be told of a finding beside the given amounts; None if they make up for all of it.

    `is_lump` says that the finding stands for an amount without its time: once a range cuts it, it counts no more.
    """
    since, until = _time_of(finding)
    over = _over(since, until, pieces)
    if _cover(over, since, until):
        return None
    if not over or not is_lump or finding.effect is None:
        return finding
    if _are_within(over, since, until):
        given = sum(int(given_cells(piece, piece.start, piece.end).amounts.sum()) for piece in over) / MILLIONTHS
        detail = f"{finding.detail}; {given:g} of it are given by a correction"
        return replace(finding, effect=max(finding.effect - given, 0.0), detail=detail)
    told = finding.detail.removesuffix(COUNTED_AT_THE_END)
    detail = f"{told}; a replaced range cuts this time. What lies outside that range is not known and not counted"
    return replace(finding, counted=False, detail=detail)


def _time_of(finding: Finding) -> tuple[int, int]:
    """The half-open time (µs) in which what was noticed happened."""
    if finding.kind == "gap":
        return finding.at, finding.until
    return (finding.at, finding.at + 1) if finding.since is None else (finding.since, finding.at)


def _over(since: int, until: int, pieces: Sequence[Piece]) -> list[Piece]:
    return [piece for piece in pieces if piece.start < until and since < piece.end]


def _are_within(over: Sequence[Piece], since: int, until: int) -> bool:
    return all(since <= piece.start and piece.end < until for piece in over)


def _cover(over: Sequence[Piece], since: int, until: int) -> bool:
    """Whether the ranges, which ascend, leave nothing of the time out."""
    for piece in over:
        if piece.start > since:
            return False
        since = piece.end
    return since >= until
