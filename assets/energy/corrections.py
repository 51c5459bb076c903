"""Corrections of a device's readings, and the one place that applies them.

At every moment the newest correction of a metric that is not undone decides:

- `exclude`: the reading counts as absent.
- `replace`, of a gauge: the reading has this value instead.
- `replace`, of a counter: the range counted this amount, whatever the register says.
- `confirm`: the reading is right. What was noticed about it is accepted.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa

from assets.energy.samples import Samples
from storage.arrays import Mask, Times
from storage.corrections import Correction, CorrectionAction
from storage.times import DAY, microseconds

# The column of a table with corrected readings that says which rows were changed.
CORRECTED = "corrected"
# The column of a reading's context that names the metrics outside their bands.
OUT_OF_BAND = "out_of_band"


@dataclass(frozen=True)
class Piece:
    """A half-open range (µs) of a metric in which one correction decides. `of` is the correction's own range.

    With a `unit`, `value` is the amount that a counter counted over the whole of `of`.
    """

    start: int
    end: int
    action: CorrectionAction
    value: float | None
    unit: str | None
    of: tuple[int, int]


class Corrections:
    """The corrections of one device that are not undone, oldest first."""

    def __init__(self, rows: Iterable[Correction] = ()) -> None:
        by_metric: dict[str, list[Piece]] = {}
        for row in rows:
            by_metric.setdefault(row.metric, []).append(_piece(row))
        self._pieces = {metric: _newest(pieces) for metric, pieces in sorted(by_metric.items())}

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def pieces(self, metric: str) -> tuple[Piece, ...]:
        """What decides about a metric: disjoint, ascending."""
        return self._pieces.get(metric, ())

    def accepted(self, metric: str) -> tuple[tuple[int, int], ...]:
        """The half-open ranges (µs) in which what was noticed about the metric is accepted."""
        return tuple((p.start, p.end) for p in self.pieces(metric) if p.action == "confirm")

    def replaced(self, metric: str) -> tuple[Piece, ...]:
        """The ranges of a counter whose amount is given."""
        return tuple(p for p in self.pieces(metric) if p.action == "replace" and p.unit is not None)

    def metrics(self, start: int, end: int) -> list[str]:
        """The metrics with a correction in the half-open range (µs)."""
        return [name for name, pieces in self._pieces.items() if any(p.start < end and start < p.end for p in pieces)]

    def name_of(self, day: int) -> str | None:
        """A short name for what bears on a UTC day (µs of its start), if anything; equal names mean equal values."""
        if not self._pieces:
            return None
        bearing = [
            [metric, max(p.start, day), min(p.end, day + DAY), p.action, p.value, p.unit]
            for metric in self.metrics(day, day + DAY)
            for p in self._pieces[metric]
            if p.start < day + DAY and day < p.end
        ]
        return hashlib.sha256(json.dumps(bearing).encode()).hexdigest()[:16] if bearing else None

    def of_samples(self, metric: str, samples: Samples) -> Samples:
        """The readings of a metric, corrected. A counter keeps those of a range whose amount is replaced.

        What it counted up to the range's edges is interpolated with them; within, `assets.energy.replaced` decides.
        """
        if not len(samples.times):
            return samples
        times, values, kept = samples.times, samples.values, np.ones(len(samples.times), bool)
        for piece, rows in self._in(metric, times):
            if piece.action == "exclude":
                kept[rows] = False
            elif piece.action == "replace" and piece.unit is None:
                values = values.copy() if values is samples.values else values
                values[rows] = piece.value
        return Samples(times[kept], values[kept]) if not kept.all() else replace(samples, values=values)

    def of_table(self, table: pa.Table, time: str) -> pa.Table:
        """The table, whose column `time` ascends, with corrected metrics and the column `CORRECTED`.

        A value that was changed is not named in `out_of_band` any more: that was said of the value before.
        """
        times = table[time].cast(pa.int64()).to_numpy()
        changed: dict[str, Mask] = {}
        if len(times):
            for metric in self.metrics(int(times[0]), int(times[-1]) + 1):
                if metric in table.column_names:
                    changed[metric] = np.zeros(len(times), bool)
                    table = self._with_metric(table, metric, times, changed[metric])
        rows = np.any(list(changed.values()), axis=0) if changed else np.zeros(len(times), bool)
        if OUT_OF_BAND in table.column_names and rows.any():
            bands = table[OUT_OF_BAND].to_pylist()
            for row in np.flatnonzero(rows).tolist():
                left = [metric for metric in bands[row] or () if metric not in changed or not changed[metric][row]]
                bands[row] = left or None
            table = _with_column(table, OUT_OF_BAND, pa.array(bands, table.schema.field(OUT_OF_BAND).type))
        return _with_column(table, CORRECTED, pa.array(rows))

    def _with_metric(self, table: pa.Table, metric: str, times: Times, changed: Mask) -> pa.Table:
        """The table with a corrected metric; rows whose value changes are set in `changed`."""
        raw = table[metric].to_numpy()
        values, known = raw.copy(), np.isfinite(raw)
        for piece, rows in self._in(metric, times):
            if piece.action == "confirm":
                continue
            value = piece.value if piece.action == "replace" and piece.unit is None else None
            values[rows] = np.nan if value is None else np.where(known[rows], value, np.nan)
            changed[rows] |= known[rows]
        return _with_column(table, metric, pa.array(values, pa.float64(), mask=np.isnan(values)))

    def _in(self, metric: str, times: Times) -> Iterator[tuple[Piece, slice]]:
        for piece in self.pieces(metric):
            a, b = times.searchsorted([piece.start, piece.end])
            if a < b:
                yield piece, slice(a, b)


NONE = Corrections()


def lie_within(times: Times, ranges: Iterable[tuple[int, int]]) -> Mask:
    """Which of the times lie in one of the half-open ranges (µs)."""
    found = np.zeros(len(times), bool)
    for start, end in ranges:
        found |= (times >= start) & (times < end)
    return found


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """The table with a column replaced in its place, or appended."""
    if name not in table.column_names:
        return table.append_column(name, values)
    at = table.column_names.index(name)
    return table.set_column(at, table.schema.field(at).with_type(values.type), pa.chunked_array([values]))


def _piece(row: Correction) -> Piece:
    start, end = microseconds(row.starts_at), microseconds(row.ends_at)
    return Piece(start, end, row.action, row.value, row.unit, (start, end))  # type: ignore[arg-type] # the route has checked the action


def _newest(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Ranges that overlap, in order of age, cut so that the newest decides at every moment."""
    edges = np.unique([edge for piece in pieces for edge in piece.of])
    owner = np.full(len(edges), -1)
    for number, piece in enumerate(pieces):
        owner[edges.searchsorted(piece.start) : edges.searchsorted(piece.end)] = number
    starts = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    return tuple(
        replace(pieces[owner[at]], start=int(edges[at]), end=int(edges[until]))
        for at, until in pairwise(starts)
        if owner[at] >= 0
    )
