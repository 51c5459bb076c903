"""From scores to events: smoothed scores, a threshold that usual rows stay below, and runs of rows above it."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from storage.arrays import Floats, Mask

SMOOTHING = timedelta(minutes=3)  # the span of the moving average: a fault lasts, noise does not
QUANTILE = 0.998  # of the held-out scores
BLOCKS = 5
MIN_ROWS_BETWEEN = 5  # usual rows between two events; with fewer they are one event


@dataclass(frozen=True)
class Event:
    """Rows `first` to `last` (inclusive), the strangest row `peak`, and the feature that deviates most."""

    first: int
    last: int
    peak: int
    feature: str


def smoothed(scores: Floats, step: timedelta) -> Floats:
    """Exponentially weighted moving average over 3 to 10 rows.

    It looks back only, so that an event does not begin before the fault.
    """
    span = min(max(SMOOTHING / step, 3), 10)
    means: Floats = pd.Series(scores).ewm(span=span).mean().to_numpy()
    return means


def threshold(held_out: Floats, *, trusted: bool) -> float:
    """The score that usual rows stay below, from scores of rows that their model was not fitted on.

    If the rows are `trusted` to be normal, it is their 99.8 % quantile. Faults among the rows would raise that quantile
    above their own scores. So for other rows it is the median plus three times the distance to the 84 % quantile,
    which corresponds to three standard deviations of a normal distribution and hardly moves with faults.
    """
    if trusted:
        return float(np.quantile(held_out, QUANTILE))
    median, upper = np.quantile(held_out, [0.5, 0.84])
    return float(median + 3 * (upper - median))


def events(flags: Mask, scores: Floats, features: Floats, names: list[str]) -> list[Event]:
    """The flagged rows as events, in the order of time; flagged rows close to one another are one event.

    `features` has the shape (rows, features), with one of `names` per column.
    """
    flagged = np.flatnonzero(flags)
    if not len(flagged):
        return []
    runs = np.split(flagged, np.flatnonzero(np.diff(flagged) > MIN_ROWS_BETWEEN) + 1)
    return [_event(int(run[0]), int(run[-1]), scores, features, names) for run in runs]


def _event(first: int, last: int, scores: Floats, features: Floats, names: list[str]) -> Event:
    rows = slice(first, last + 1)
    deviations = np.median(np.abs(features[rows]), axis=0)
    return Event(first, last, first + int(np.argmax(scores[rows])), names[int(np.argmax(deviations))])
