"""From scores to events: smoothed scores, a threshold by an alert budget, and runs of rows above it."""

import math
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from storage.arrays import Floats, Mask, runs as unbroken_runs

SMOOTHING = timedelta(minutes=3)  # the span of the moving average: a fault lasts, noise does not
QUANTILE = 0.999  # of the held-out scores of rows that are known to be normal
LEAST_ACCEPTED = 0.4  # events in the span: few rows say little about rarer peaks
TAIL = 0.84  # of the held-out scores are below the tail that shows how far usual rows reach
BLOCKS = 5
MIN_SPREADS = 3.0  # of the scores, from their median to the threshold
MIN_ROWS = 2  # in a row: fewer are no event
MIN_ROWS_BETWEEN = 5  # usual rows between two events; with fewer they are one event
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Event:
    """Rows `first` to `last` (inclusive) and the strangest row `peak`.

    `kind`: `unusual`, `frozen`, or `level_change`. `features` are those that deviate, the furthest first; frozen
    channels have none.
    """

    first: int
    last: int
    peak: int
    features: tuple[str, ...]
    kind: str = "unusual"


def smoothed(scores: Floats, step: timedelta) -> Floats:
    """Exponentially weighted moving average over 3 to 10 rows.

    It looks back only, so that an event does not begin before the fault.
    """
    means: Floats = pd.Series(scores).ewm(span=mean_rows(step)).mean().to_numpy()
    return means


def mean_rows(step: timedelta) -> float:
    """The span of the moving average in rows."""
    return min(max(SMOOTHING / step, 3), 10)


def without_tails(scores: Floats, ahead: Floats, step: timedelta, limit: float) -> Floats:
    """Smoothed scores above a threshold without what only the rows before them explain.

    A mean or a window still holds a fault when the readings are usual again. From the strangest row of an event on, a
    row's score is at most that of the rows `ahead` of it, smoothed from there. The first two rows stay, so no event is
    lost.
    """
    cut, ahead = scores.copy(), smoothed(ahead[::-1], step)[::-1]
    for run in unbroken_runs(scores > limit):
        strangest = run.start + int(np.argmax(scores[run]))
        tail = slice(max(strangest + 1, run.start + MIN_ROWS), run.stop)
        cut[tail] = np.minimum(scores[tail], ahead[tail])
    return cut


def threshold(held_out: Floats, span: timedelta, false_events_a_week: float, *, trusted: bool) -> float:
    """The score that usual rows exceed in about so many events a week.

    `held_out` are the scores of rows that their model was not fitted on, in the order of time; they span `span`. Above
    the 84 % quantile, peaks become rarer about exponentially. Their median says how fast, which few faults among the
    rows hardly move. A budget of less than 0.4 events in the span counts as 0.4. The threshold is at least three usual
    spreads above the median score. That matters if scores follow the day, as those of a solar plant do: its peaks are
    as few as its days, so the budget alone would make events of the sunniest ones.
    Rows that are `trusted` to be normal are at least held to their own 99.9 % quantile. Of a few hundred rows, that
    would be the highest score, a matter of luck: one peak, about a third as long as the moving average, may be higher.
    """
    strengths = np.minimum(held_out[:-1], held_out[1:])  # what MIN_ROWS rows in a row reach
    start = float(np.quantile(strengths, TAIL))
    peaks = np.array([strengths[run].max() for run in runs(strengths > start)])
    limit = start
    if len(peaks):
        decay = float(np.median(peaks - start)) / math.log(2)
        accepted = max(false_events_a_week * (span / WEEK), LEAST_ACCEPTED)
        limit += decay * math.log(max(len(peaks) / accepted, 1.0))
    median = float(np.median(strengths))
    limit = max(limit, median + MIN_SPREADS * (start - median))
    if not trusted:
        return limit
    beyond = mean_rows(span / len(held_out)) / 3
    return max(limit, float(np.quantile(held_out, min(QUANTILE, 1 - beyond / len(held_out)))))


def runs(flags: Mask, between: int = MIN_ROWS_BETWEEN) -> list[slice]:
    """The runs of flagged rows; those with at most so many rows between them are one."""
    flagged = np.flatnonzero(flags)
    if not len(flagged):
        return []
    parts = np.split(flagged, np.flatnonzero(np.diff(flagged) > between) + 1)
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def lasting(flags: Mask) -> Mask:
    """The flags without those of a single row between usual rows."""
    beside = np.zeros(len(flags), bool)
    beside[1:] |= flags[:-1]
    beside[:-1] |= flags[1:]
    return flags & beside


def anomalous(is_strange: Mask, may_be: Mask, window: int) -> Mask:
    """The rows of events: strange ones of those that may be, and the others of these between two within a window."""
    return closed(lasting(is_strange & may_be), window) & may_be


def closed(flags: Mask, window: int) -> Mask:
    """The flags, with the rows between two that are at most a window apart."""
    flags = flags.copy()
    for run in runs(flags, window):
        flags[run] = True
    return flags


def event_of(run: slice, scores: Floats, features: pd.DataFrame, kind: str = "unusual") -> Event:
    """The event of these rows, by their scores and features."""
    deviations = np.median(np.abs(features.to_numpy()[run]), axis=0)
    furthest = np.argsort(-deviations, kind="stable").tolist()
    peak = run.start + int(np.argmax(scores[run]))
    return Event(run.start, run.stop - 1, peak, tuple(str(features.columns[i]) for i in furthest), kind)
