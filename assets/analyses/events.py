"""From scores to what an operator reads: a threshold that usual rows keep, rows beyond it, and the events they make."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from assets.analyses.scorers import Matrix, Vector

SMOOTHING = timedelta(minutes=3)  # the span of the moving average: a fault lasts, noise does not
QUANTILE = 0.998  # of held-back scores: what usual rows keep
BLOCKS = 5
APART = 5  # usual rows between two events; with fewer they are one

Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Event:
    """Rows `first` to `last` (both included), the strangest of them, and the feature that shows it most."""

    first: int
    last: int
    peak: int
    feature: str


def smoothed(scores: Vector, step: timedelta) -> Vector:
    """Exponentially weighted over 3 to 10 rows: only what was before counts, so an event starts where it starts."""
    span = min(max(SMOOTHING / step, 3), 10)
    means: Vector = pd.Series(scores).ewm(span=span).mean().to_numpy()
    return means


def threshold(held_back: Vector, *, trusted: bool) -> float:
    """What usual rows stay below, from scores of rows that were not fitted when they were scored.

    Of a time that is said to be normal, nearly all rows stay below. Where faults may lie among the rows, they would
    raise such a quantile above themselves: there it is three times the usual spread upwards, which they hardly move.
    """
    if trusted:
        return float(np.quantile(held_back, QUANTILE))
    middle, upper = np.quantile(held_back, [0.5, 0.84])
    return float(middle + 3 * (upper - middle))


def events(flags: Flags, scores: Vector, features: Matrix, names: list[str]) -> list[Event]:
    """Flagged rows close to one another are one event."""
    at = np.flatnonzero(flags)
    if not len(at):
        return []
    parts = np.split(at, np.flatnonzero(np.diff(at) > APART) + 1)
    return [_event(int(part[0]), int(part[-1]), scores, features, names) for part in parts]


def _event(first: int, last: int, scores: Vector, features: Matrix, names: list[str]) -> Event:
    rows = slice(first, last + 1)
    shown = np.median(np.abs(features[rows]), axis=0)
    return Event(first, last, first + int(np.argmax(scores[rows])), names[int(np.argmax(shown))])
