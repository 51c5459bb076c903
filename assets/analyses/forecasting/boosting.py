"""Gradient boosting of trees over the local calendar, lags and the newest values.

J. H. Friedman: Greedy Function Approximation: A Gradient Boosting Machine (The Annals of Statistics, 2001), in
scikit-learn's HistGradientBoostingRegressor.
"""

from dataclasses import dataclass
from math import gcd

import numpy as np

from assets.analyses.forecasting.calendar import DAY, WEEK
from assets.analyses.forecasting.hours import Fit, Hours
from storage.arrays import Floats, Indices

MAX_HISTORY = 400 * DAY
MIN_HISTORY = 5 * DAY  # before the first origin
MAX_TRAINING_ORIGINS = 1_200
PROFILE_WEEKS = 4
DECAY = 0.9  # an hour: how fast the newest deviation from the week's profile fades in what the trees correct


def gradient_boosting(hours: Hours, origins: list[int], horizon: int, fit: Fit) -> Floats:
    """Direct forecasts of the 24 hours after an origin, by trees that minimise the absolute error.

    It is the mean of two models: one corrects the newest value, the other what the week's profile and the newest value
    let expect. Their errors differ. They are fitted at the first origin, on past origins of at most 400 days. Later
    days are forecast from the days before them.
    """
    companions = tuple(hours.companions)
    if fit.get("companions") != companions:
        fit["trees"], fit["companions"] = _fitted_trees(hours, origins[0]), companions
    trees = fit["trees"]
    at = np.asarray(origins)
    # What is known at each origin, and then what is forecast; one row for each origin.
    known = np.full((len(at), int(at.max()) + horizon + DAY), np.nan)
    for row, origin in enumerate(at):
        known[row, :origin] = hours.values[:origin]
    for day in range(-(-horizon // DAY)):
        features = _features(hours, known, at + day * DAY, at)
        first, second = trees
        values = (first.values(features, features.newest) + second.values(features, features.expected)) / 2
        for row, origin in enumerate(at + day * DAY):
            known[row, origin : origin + DAY] = values[row]
    return np.stack([known[row, origin : origin + horizon] for row, origin in enumerate(at)])


@dataclass(frozen=True)
class _Features:
    """Features of shape (origins · 24, features), and two plain expectations of shape (origins, 24)."""

    columns: Floats
    newest: Floats
    expected: Floats


class _Trees:
    """Trees that correct a plain expectation."""

    def __init__(self, features: _Features, base: Floats, target: Floats) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - a second that others need not pay

        # A short history knows nothing of two weeks before.
        self._usable = np.isfinite(features.columns).any(axis=0)
        self._model = HistGradientBoostingRegressor(
            loss="absolute_error",
            max_iter=80,
            learning_rate=0.08,
            max_leaf_nodes=15,
            min_samples_leaf=20,
            early_stopping=False,
            random_state=1,
        )
        self._model.fit(features.columns[:, self._usable], (target - base).ravel())

    def values(self, features: _Features, base: Floats) -> Floats:
        corrections = self._model.predict(features.columns[:, self._usable])
        return np.asarray(base + corrections.reshape(base.shape))


def _fitted_trees(hours: Hours, origin: int) -> "list[_Trees]":
    training = _training_origins(origin)
    everything = np.broadcast_to(hours.values, (len(training), len(hours)))
    features = _features(hours, everything, training, training)
    target = hours.values[training[:, None] + np.arange(DAY)]
    return [_Trees(features, base, target) for base in (features.newest, features.expected)]


def _training_origins(first: int) -> Indices:
    # The first origins know no week before, which trees can do without if there is not much history.
    oldest = max(WEEK if first > 2 * WEEK else 2 * DAY, first - MAX_HISTORY)
    step = max(1, (first - DAY - oldest) // MAX_TRAINING_ORIGINS)
    while step > 1 and gcd(step, DAY) > 1:  # the training origins go around the clock
        step += 1
    return np.arange(first - DAY, oldest - 1, -step)[::-1]


def _features(hours: Hours, known: Floats, origins: Indices, measured_until: Indices) -> _Features:
    """The features of the 24 hours after each origin.

    `known` has a row of values for each origin; only those before the origin are used. Companions are used up to
    `measured_until`. Levels are relative to the newest value, so that trees can continue a trend.
    """
    ahead = np.arange(DAY)
    at = origins[:, None] + ahead
    rows = np.arange(len(origins))[:, None]
    newest = known[rows, origins[:, None] - 1]

    def before(times: Indices, lag: int) -> Floats:
        found: Floats = np.where(times >= lag, known[rows, np.maximum(times - lag, 0)], np.nan)
        return found

    def profile(times: Indices) -> Floats:
        weeks = np.stack([before(times, WEEK * week) for week in range(1, PROFILE_WEEKS + 1)])
        counts = np.isfinite(weeks).sum(axis=0)
        mean = np.nansum(weeks, axis=0) / np.maximum(counts, 1)
        return np.where(counts > 0, mean, before(times, DAY))

    usual = profile(at)
    expected = usual + DECAY ** (ahead + 1) * (newest - profile(origins[:, None] - 1))
    expected = np.where(np.isfinite(expected), expected, newest)
    day, week = (
        np.array([known[row, max(o - span, 0) : o].mean() for row, o in enumerate(origins)])[:, None]
        for span in (DAY, WEEK)
    )
    clock = hours.clock
    kinds, kinds_before = clock.kind_of_day(at), clock.kind_of_day(at - DAY)
    columns = [
        ahead[None, :], clock.hour_of_day(at), clock.weekday(at), kinds, kinds_before,
        *(before(at, lag) - newest for lag in (DAY, 2 * DAY, WEEK, 2 * WEEK)),
        usual - newest, expected - newest, newest,
        newest - before(origins[:, None] - 1, DAY), newest - before(origins[:, None] - 1, WEEK),
        day - newest, week - newest,
        *(column for values in hours.companions.values() for column in _companion(values, measured_until, at)),
    ]  # fmt: skip
    shaped = [np.broadcast_to(column, at.shape).ravel() for column in columns]
    return _Features(np.stack(shaped, axis=1).astype(float), np.broadcast_to(newest, at.shape), expected)


def _companion(values: Floats, measured_until: Indices, at: Indices) -> tuple[Floats, Floats]:
    """Another metric's mean of the newest 24 hours, and its value 24 hours before; NaN where it is not known yet."""
    newest = np.stack([np.mean(values[max(end - DAY, 0) : end]) for end in measured_until])[:, None]
    is_known = (at >= DAY) & (at - DAY < measured_until[:, None])
    lagged = np.where(is_known, values[np.clip(at - DAY, 0, len(values) - 1)], np.nan)
    return np.broadcast_to(newest, at.shape), lagged
