"""A metric over any range for a chart: the lowest, mean and highest value of windows about as wide as a pixel.

Windows of whole hours come from the catalogue where a day's file has all its readings; others from the readings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sqlmodel import Session

from assets.datasets.read_plan import Segment
from assets.datasets.reader import TelemetryReader
from storage import day_figures
from storage.arrays import Floats, Times
from storage.times import DAY, HOUR, MINUTE, SECOND

# Lengths of windows that people can read off a clock.
STEPS = (
    *(n * SECOND for n in (1, 2, 5, 10, 15, 30)),
    *(n * MINUTE for n in (1, 2, 5, 10, 15)),
    *(n * HOUR for n in (1, 2, 3, 4, 6, 8, 12, 24)),
)
# Windows that are further apart than so many usual steps have a gap between them.
GAP_STEPS = 3.5


@dataclass(frozen=True)
class Envelope:
    """Windows with readings, ascending: their start (µs), and the lowest, mean and highest value of each."""

    every: int
    time: Times
    low: Floats
    mean: Floats
    high: Floats

    def with_gaps(self) -> "Envelope":
        """The same with a window without values (NaN) in each gap, at which a line ends."""
        steps = np.diff(self.time)
        if not len(steps):
            return self
        after = np.flatnonzero(steps > max(GAP_STEPS * float(np.median(steps)), 1.5 * self.every)) + 1
        nothing = np.full(len(after), np.nan)
        return Envelope(
            self.every,
            np.insert(self.time, after, self.time[after - 1] + self.every),
            *(np.insert(values, after, nothing) for values in (self.low, self.mean, self.high)),
        )


def window_for(start: int, end: int, width: int) -> int:
    """The length (µs) of windows of which about `width` fill the range."""
    wanted = (end - start) / width
    return next((step for step in STEPS if step >= wanted), -int(-wanted // DAY) * DAY)


def envelope_of(
    session: Session, reader: TelemetryReader, device_id: str, start: int, end: int, *, metric: str, every: int
) -> Envelope:
    """The envelope of a metric over the half-open range (µs), by windows of `every` µs, aligned to 1970."""
    segments = reader.plan(device_id, start, end, by_day=True)
    hours = _hours(session, segments, metric) if every % HOUR == 0 else {}
    parts = [
        hours[segment.start] if segment.start in hours else _windows(reader, device_id, metric, segment, every)
        for segment in segments
    ]
    columns = [np.concatenate([np.zeros(0), *column]) for column in zip(*parts, strict=True)] if parts else None
    if columns is None:
        return Envelope(every, np.zeros(0, np.int64), *(np.zeros(0),) * 3)
    time, count, low, high, total = columns
    starts = time.astype(np.int64) // every * every
    first = np.flatnonzero(np.concatenate([[True], np.diff(starts) != 0])) if len(starts) else np.zeros(0, np.int64)
    return Envelope(
        every,
        starts[first],
        np.minimum.reduceat(low, first) if len(first) else low,
        np.add.reduceat(total, first) / np.add.reduceat(count, first) if len(first) else total,
        np.maximum.reduceat(high, first) if len(first) else high,
    )


Columns = tuple[Times, Floats, Floats, Floats, Floats]


def _hours(session: Session, segments: Sequence[Segment], metric: str) -> dict[int, Columns]:
    """Start, count, lowest, highest and sum of the hours of whole days, by the segment's start."""
    whole = {
        segment.file.id: segment.start
        for segment in segments
        if segment.file is not None and segment.file.id and segment.is_of_file and segment.file.corrections is None
    }
    found = {}
    for row_id, hours in day_figures.hours_of_metric(session, list(whole), metric).items():
        start = whole[row_id]
        count = np.array(hours["count"], float)
        has_any = count > 0
        low, high, total = (np.array(hours[part], float)[has_any] for part in ("min", "max", "sum"))
        times = start // DAY * DAY + np.arange(len(count)) * HOUR
        found[start] = (times[has_any], count[has_any], low, high, total)
    return found


def _windows(reader: TelemetryReader, device_id: str, metric: str, segment: Segment, every: int) -> Columns:
    """The same of the windows of a segment, from its readings."""
    rows = reader.rows(device_id, segment, [metric], keep=True)
    time, values = rows["time"].cast(pa.int64()).to_numpy(), rows[metric].to_numpy()
    known = ~np.isnan(values)
    time, values = time[known], values[known]
    if not len(time):
        nothing = np.zeros(0)
        return np.zeros(0, np.int64), nothing, nothing, nothing, nothing
    windows = time // min(every, HOUR)
    first = np.flatnonzero(np.concatenate([[True], np.diff(windows) != 0]))
    return (
        time[first],
        np.diff(np.append(first, len(time))).astype(float),
        np.minimum.reduceat(values, first),
        np.maximum.reduceat(values, first),
        np.add.reduceat(values, first),
    )
