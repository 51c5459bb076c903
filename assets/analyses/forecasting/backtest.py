"""The test on the past: what models would have forecast at past moments, how far off, and the mean of them.

The combined forecast is a weighted mean: it loses to no model by much, where choosing one model can lose a lot.
J. M. Bates, C. W. J. Granger: The Combination of Forecasts (1969).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assets.analyses.forecasting.bounds import bounds_of
from assets.analyses.forecasting.calendar import DAY, Slots
from assets.analyses.forecasting.history_needed import MIN_ORIGINS
from assets.analyses.forecasting.hours import Hours
from assets.analyses.forecasting.models import MODELS
from storage.arrays import Floats, Indices, Mask

MAX_ORIGINS = 48
NEWEST_DAYS = 60
EXPONENT = 8  # on the series of `energy evaluate` it was a little better than 4
STEPS, RATE = 500, 0.2  # of the search for the weights with the least error
PRIOR_ORIGINS = 10  # with so many origins, those weights and weights by 1/error⁸ count equally
PARTS = 4  # a part's combined forecast is weighted by the errors of the others


@dataclass(frozen=True)
class Backtest:
    """Forecasts and measured values, of shape (origins, horizon); hours that were not measured are not judged."""

    origins: list[int]
    true: Floats
    judged: Mask
    slots: Slots

    def errors(self, paths: Floats) -> Floats:
        """Absolute errors; NaN where nothing was measured."""
        return np.where(self.judged, np.abs(self.true - paths), np.nan)

    def mae(self, paths: Floats) -> float:
        return float(np.nanmean(self.errors(paths)))


def choose_origins(hours: int, horizon: int, needed: int) -> list[int]:
    """Past hours to forecast from, evenly spread over at most the newer half of the series and its last 60 days."""
    last = hours - horizon
    first = max(needed, min(last - MIN_ORIGINS, hours // 2), last - NEWEST_DAYS * DAY)
    step = max(1, -(-(last - first) // MAX_ORIGINS))
    while step > 1 and np.gcd(step, DAY) > 1:  # such a step would test some hours of the day only
        step += 1
    return list(range(last, first - 1, -step))[::-1]


def backtest(hours: Hours, origins: list[int], horizon: int) -> Backtest:
    at = np.asarray(origins)[:, None] + np.arange(horizon)
    judged = hours.known[at]
    if not judged.any():
        judged = np.ones(at.shape, bool)
    return Backtest(origins, hours.values[at], judged, hours.clock.slots(at))


def bounded(hours: Hours, origins: Sequence[int], paths: Floats, limit: float | None) -> Floats:
    """The paths within what was possible, by what was known at each origin."""
    clipped = []
    for origin, path in zip(origins, paths, strict=True):
        of_day = hours.clock.hour_of_day(np.arange(origin, origin + len(path)))
        clipped.append(bounds_of(hours, origin, limit).clip(path, of_day))
    return np.stack(clipped)


def candidates_of(model_name: str, first_origin: int) -> tuple[list[str], dict[str, str]]:
    """The models that a forecast is made of, and those that the history is too short for, with the reason."""
    names = list(MODELS) if model_name == "auto" else [model_name]
    too_short = {
        name: f"needs {MODELS[name].needed} hours before the test on the past; there are {first_origin}"
        for name in names
        if MODELS[name].needed > first_origin
    }
    return [name for name in names if name not in too_short], too_short


def weights_of(test: Backtest, paths: Mapping[str, Floats], rows: Indices | None = None) -> dict[str, float]:
    """Weights that add up to 1, from the errors at all origins or at some (`rows`).

    They blend weights in proportion to 1/error⁸ with the weights that minimise the error of the mean. The more origins
    there are, the more the latter count: models whose errors differ help each other.
    """
    rows = np.arange(len(test.origins)) if rows is None else rows
    judged = test.judged[rows]
    if not judged.any():
        judged = np.ones(judged.shape, bool)
    true = test.true[rows][judged]
    models = np.stack([path[rows][judged] for path in paths.values()])
    by_error = _by_errors(np.abs(models - true).mean(axis=1))
    share = len(rows) / (len(rows) + PRIOR_ORIGINS)
    weights = share * _least_off(models, true, by_error) + (1 - share) * by_error
    return dict(zip(paths, weights.tolist(), strict=True))


def _by_errors(maes: Floats) -> Floats:
    raw = (max(maes.min(), 1e-12) / np.maximum(maes, 1e-12)) ** EXPONENT
    weights: Floats = raw / raw.sum()
    return weights


def _least_off(models: Floats, true: Floats, weights: Floats) -> Floats:
    """The weights that minimise the mean absolute error of the mean. The search begins with the given ones.

    Exponentiated gradient descent keeps them positive, with 1 as their sum: J. Kivinen, M. K. Warmuth: Exponentiated
    Gradient versus Gradient Descent for Linear Predictors (1997).
    """
    scale = max(float(np.abs(true - weights @ models).mean()), 1e-12)
    for step in range(STEPS):
        gradient = np.sign(weights @ models - true) @ models.T / (len(true) * scale)
        change = -RATE / np.sqrt(1 + step / 20) * (gradient - weights @ gradient)
        raw = weights * np.exp(np.clip(change, -30, 30))
        weights = raw / raw.sum()
    return weights


def combined(paths: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    total: Floats = sum((weights[name] * paths[name] for name in weights), np.zeros(()))
    return total


def combined_in_test(test: Backtest, paths: Mapping[str, Floats]) -> Floats:
    """What the combination would have forecast: each part of the origins with weights from the other parts."""
    result = np.empty_like(test.true)
    for part in np.array_split(np.arange(len(test.origins)), PARTS):
        others = np.setdiff1d(np.arange(len(test.origins)), part)
        weights = weights_of(test, paths, others)
        result[part] = combined({name: path[part] for name, path in paths.items()}, weights)
    return result
