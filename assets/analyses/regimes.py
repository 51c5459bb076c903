"""Changes of how a device runs: a detector that says "anomalous" all the time has found a change, not many faults.

From then on the device is judged by what it did in the time of the change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from assets.analyses.detector import Detector, fit_detector, times_of
from assets.analyses.events import lasting, runs
from assets.analyses.features import Features
from assets.analyses.parameters import AnomalyParameters
from assets.analyses.single_series import LONG_ROWS
from storage.arrays import Floats, Mask

# A change: for a day more than half of the rows are anomalous, or in seven days 36 events begin, more than 30 rows
# apart.
DENSE_SPAN, DENSE_SHARE = timedelta(days=1), 0.5
MANY_SPAN, MANY_EVENTS, ROWS_APART = timedelta(days=7), 36, 30
MIN_ROWS = 100
MAX_CHANGES = 8
MIN_DISTANCE = 1e-6


@dataclass(frozen=True)
class Regime:
    """A way of running: how rows from `first` on are judged.

    `learnt`: the rows that its detector learnt from, in which the device began to run otherwise; None of the first
    regime. `change` is the first day of them.
    """

    first: int
    prepared: Features
    detector: Detector
    learnt: slice | None
    change: slice | None


@dataclass(frozen=True)
class Regimes:
    """All regimes, and each row's strength: 0 is the usual score, 1 the threshold by the alert budget."""

    all: tuple[Regime, ...]
    strengths: Floats

    def of(self, row: int) -> Regime:
        return [regime for regime in self.all if regime.first <= row][-1]

    @property
    def changes(self) -> list[slice]:
        """The first day of each change."""
        return [regime.change for regime in self.all if regime.change is not None]

    @property
    def between(self) -> Mask:
        """The rows in which a change was noticed, and which are not judged."""
        rows = np.zeros(len(self.strengths), bool)
        for regime in self.all:
            if regime.learnt is not None:
                rows[regime.learnt] = True
        return rows


def strengths_of(detector: Detector, scores: Floats) -> Floats:
    """The scores in distances of the threshold from the usual score."""
    strengths: Floats = (scores - detector.usual) / max(detector.limit - detector.usual, 1e-12)
    return strengths


@dataclass(frozen=True)
class Fitting:
    """How detectors are fitted: the model, its parameters, and the features for given rows to learn from."""

    model_name: str
    parameters: AnomalyParameters
    prepare: Callable[[Mask], Features]

    def fit(self, prepared: Features, training: Mask) -> tuple[Detector, Floats]:
        """A detector that learns from these rows, and the smoothed scores of all rows."""
        untrusted = self.parameters.model_copy(update={"trained_until": None})
        return fit_detector(self.model_name, prepared, training, untrusted, lambda _percent, _words: None)


def follow_changes(first: Regime, strengths: Floats, training: Mask, skipped: Mask, fitting: Fitting) -> Regimes:
    """The regimes of a device whose rows in `training` are known to be normal.

    Args:
        first: the regime of these rows, whose detector scored all rows.
        strengths: of all rows.
        training: the rows that the first detector learnt from.
        skipped: rows that never count, such as frozen ones.
        fitting: makes further detectors.

    """
    times = pd.DatetimeIndex(first.prepared.all.index)
    found, strengths = [first], strengths.copy()
    start, first_change = int(np.flatnonzero(training)[-1]) + 1, None
    while len(found) <= MAX_CHANGES:
        flags = lasting((strengths > 1) & first.prepared.judged & ~skipped)
        change = _next_change(flags, times, start)
        if change is None:
            break
        # After several changes, the device has more than one new way of running: all since the first is learnt from.
        # Windows of the first rows hold the old way as well.
        since = change.start if first_change is None else first_change
        first_change, learnt = since, np.zeros_like(training)
        learnt[since + LONG_ROWS : change.stop] = ~skipped[since + LONG_ROWS : change.stop]
        if learnt.sum() < MIN_ROWS:
            break
        prepared = fitting.prepare(learnt)
        if not prepared.about:
            break  # nothing changed in that time
        detector, scores = fitting.fit(prepared, learnt)
        start = change.stop
        if detector.limit - detector.usual <= MIN_DISTANCE * max(abs(detector.usual), 1.0):
            break  # nothing varies, so nothing was learnt
        strengths[start:] = strengths_of(detector, scores)[start:]
        day = slice(change.start, int(times.searchsorted(times[change.start] + DENSE_SPAN)))
        found.append(Regime(start, prepared, detector, change, day))
    return Regimes(tuple(found), strengths)


def _next_change(flags: Mask, times: pd.DatetimeIndex, start: int) -> slice | None:
    """The first rows from `start` on in which the device runs otherwise."""
    later = flags.copy()
    later[:start] = False
    begins = np.array([run.start for run in runs(later)], int)
    if not len(begins):
        return None
    moments, last = times_of(times)[begins], times_of(times[-1:])[0]
    dense_span, many_span = (int(span / timedelta(microseconds=1)) for span in (DENSE_SPAN, MANY_SPAN))
    apart = begins[np.diff(begins, prepend=-ROWS_APART - 1) > ROWS_APART]
    of_apart = times_of(times)[apart]
    many = np.flatnonzero(of_apart[MANY_EVENTS - 1 :] - of_apart[: max(len(apart) - MANY_EVENTS + 1, 0)] <= many_span)
    ends = np.searchsorted(times_of(times), moments + dense_span)
    sums = np.r_[0, np.cumsum(later)]
    rows = np.maximum(ends - begins, 1)
    lasts = last - moments >= dense_span
    dense = np.flatnonzero(((sums[ends] - sums[begins]) / rows > DENSE_SHARE) & (rows >= MIN_ROWS) & lasts)
    candidates = [(int(apart[many[0]]), MANY_SPAN)] if len(many) else []
    candidates += [(int(begins[dense[0]]), DENSE_SPAN)] if len(dense) else []
    if not candidates:
        return None
    first, span = min(candidates)
    return slice(first, int(times.searchsorted(times[first] + span)))
