"""A fitted detector: scores of rows, and the threshold. It can be kept, and score later rows without a new fit."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from assets.analyses.events import BLOCKS, lasting, smoothed, threshold, without_tails
from assets.analyses.features import Features, FittedFeatures
from assets.analyses.parameters import AnomalyParameters
from assets.analyses.result import Progress
from assets.analyses.scorers import AUTO, SCORERS, Scorer, excess, usual_range
from storage.arrays import Floats, Indices, Mask, Times


@dataclass(frozen=True)
class FittedScorer:
    """A scorer that was fitted on all training rows.

    `scorer` is None if every feature is a size. `rows`: how many rows its windows span. `low` and `high`: the usual
    range of each channel. `median` and `upper`: the 50 and 84 % quantiles of the scores.
    """

    scorer: Scorer | None
    rows: int
    low: Floats
    high: Floats
    median: float
    upper: float

    def score(self, prepared: Features, rows: Indices, outside: float) -> Floats:
        scores = outside * excess((self.low, self.high), prepared.all.to_numpy()[rows])
        if self.scorer is not None and len(rows):
            scores += self.scorer.score(self.scorer.windows(prepared.values.to_numpy())[rows])
        return scores

    def share_of(self, scores: Floats, scorers: int) -> Floats:
        """What the scores contribute to the mean of so many scorers.

        Those of several are comparable in usual spreads from the usual score; those of one stay as they are.
        """
        if scorers == 1:
            return scores
        spreads: Floats = (scores - self.median) / max(self.upper - self.median, 1e-12)
        return spreads / scorers


@dataclass(frozen=True)
class Detector:
    """What a detector learnt.

    `limit`: the threshold by the alert budget and the `strictness`. `usual`: the median score of the training rows.
    `grid`: the step of the means if rows were averaged. `times` (µs), `scores` and `ahead`: the rows of the fit, each
    with the score of the window that ends with it, and of the one that begins with it; training rows were scored by
    models without them.
    """

    features: FittedFeatures
    scorers: dict[str, FittedScorer]
    limit: float
    usual: float
    strictness: float
    grid: timedelta | None
    times: Times
    scores: Floats
    ahead: Floats

    @property
    def warm_up(self) -> int:
        """How many of the first rows have windows that are not filled."""
        return max(fitted.rows for fitted in self.scorers.values()) - 1

    def score(self, prepared: Features, times: Times) -> Floats:
        """The smoothed scores of rows. Rows of the fit have the scores that they had."""
        at = np.minimum(np.searchsorted(self.times, times), len(self.times) - 1)
        is_known = self.times[at] == times
        scores, ahead = (np.where(is_known, known[at], 0.0) for known in (self.scores, self.ahead))
        fresh = np.flatnonzero(~is_known)
        for name, fitted in self.scorers.items():
            own = fitted.score(prepared, fresh, SCORERS[name].OUTSIDE)
            own = fitted.share_of(own, len(self.scorers))
            scores[fresh] += own
            ahead[fresh] += from_window(own, fitted.rows)
        return self.combined(prepared, scores, ahead)

    def combined(self, prepared: Features, scores: Floats, ahead: Floats) -> Floats:
        """The smoothed scores without tails, or where those are stronger, scores as strong as the half-day means."""
        own = without_tails(smoothed(scores, prepared.step), ahead, prepared.step, self.limit)
        if prepared.half_days is None:
            return own
        reach = (self.limit - self.usual) / self.strictness
        return np.maximum(own, self.usual + reach * prepared.half_days.strengths)


def fit_detector(
    model_name: str,
    prepared: Features,
    training: Mask,
    parameters: AnomalyParameters,
    progress: Progress,
    *,
    grid: timedelta | None = None,
) -> tuple[Detector, Floats]:
    """A detector that is fitted on the training rows, and the smoothed scores of all rows.

    Without `trained_until`, nobody says that the rows are normal: a large fault among them would hide small ones. So
    rows that are strange to a first covariance are set aside, as in the reweighting step of robust estimators
    (P. J. Rousseeuw, K. Van Driessen: A fast algorithm for the minimum covariance determinant estimator, 1999).
    """
    names = AUTO if model_name == "auto" else (model_name,)
    if parameters.trained_until is None and not any(SCORERS[name].LEARNS_STRANGE for name in names):
        first = _fit(("covariance",), prepared, training, parameters, lambda _percent, _words: None)
        training = training & ~lasting(smoothed(first.scores, prepared.step) > first.limit)
    detector = _fit(names, prepared, training, parameters, progress, grid=grid)
    return detector, detector.combined(prepared, detector.scores, detector.ahead)


def _fit(
    names: tuple[str, ...],
    prepared: Features,
    training: Mask,
    parameters: AnomalyParameters,
    progress: Progress,
    *,
    grid: timedelta | None = None,
) -> Detector:
    """A detector of these scorers, which learnt from the training rows that can be judged."""
    training = training & prepared.judged
    rows = {name: SCORERS[name](parameters.seed, prepared.step).rows for name in names}
    training[: max(rows.values()) - 1] = False  # windows that are not filled say too little
    scores, ahead = np.zeros(len(training)), np.zeros(len(training))
    scorers: dict[str, FittedScorer] = {}
    for i, name in enumerate(names):
        first, share = 10 + 80 * i / len(names), 80 / len(names)

        def fitting(done: float, first: float = first, share: float = share) -> None:
            progress(first + share * done, "Fitting")

        scorers[name], own = _fit_scorer(name, prepared, training, parameters.seed, fitting)
        own = scorers[name].share_of(own, len(names))
        scores += own
        ahead += from_window(own, rows[name])
    smooth = smoothed(scores, prepared.step)
    trusted = parameters.trained_until is not None
    span = prepared.step * int(training.sum())
    limit = threshold(smooth[training], span, parameters.false_events_a_week, trusted=trusted)
    usual = float(np.median(smooth[training]))
    margin = float(np.mean([SCORERS[name].MARGIN for name in names]))
    limit = usual + parameters.strictness * margin * (limit - usual)
    times = times_of(prepared.all.index)
    return Detector(prepared.fitted, scorers, limit, usual, parameters.strictness, grid, times, scores, ahead)


def from_window(scores: Floats, rows: int) -> Floats:
    """For each row the score of the window of so many rows that begins with it, not of the one that ends with it."""
    later = np.minimum(np.arange(len(scores)) + rows - 1, len(scores) - 1)
    return scores[later]


def times_of(index: "pd.Index[pd.Timestamp]") -> Times:
    """The times of rows in µs."""
    times: Times = pd.DatetimeIndex(index).as_unit("us").asi8
    return times


def _fit_scorer(
    name: str, prepared: Features, training: Mask, seed: int, fitting: Callable[[float], None]
) -> tuple[FittedScorer, Floats]:
    """A scorer that is fitted on all training rows, and the scores of all rows.

    Every training row is scored by a model that was fitted without it, as in cross-validation: the training rows are
    split into consecutive blocks, and each block is scored by a model of the others.
    """

    def make() -> Scorer:
        return SCORERS[name](seed, prepared.step)

    values, channels = prepared.values.to_numpy(), prepared.all.to_numpy()
    scorer: Scorer | None = None
    unfitted = make()
    windows = unfitted.windows(values) if values.shape[1] else None
    scores = np.empty(len(training))
    parts = [*np.array_split(np.flatnonzero(training), BLOCKS), np.flatnonzero(~training)]
    for i, part in enumerate(parts):
        fitting(i / len(parts))
        fitted = training.copy()
        fitted[part] = False
        scores[part] = unfitted.OUTSIDE * excess(usual_range(channels[fitted]), channels[part])
        if windows is not None:
            scorer = make()
            scorer.fit(windows[fitted])
            if len(part):
                scores[part] += scorer.score(windows[part])
    low, high = usual_range(channels[training])
    median, upper = np.quantile(scores[training], [0.5, 0.84])
    return FittedScorer(scorer, unfitted.rows, low, high, float(median), float(upper)), scores
