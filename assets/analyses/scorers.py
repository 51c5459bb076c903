"""Scores of how unusual rows are: an isolation forest, an autoencoder, and a covariance.

Higher scores are stranger. A scorer only ranks rows; `assets.analyses.events` sets the threshold.
"""

import warnings
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, Self

import numpy as np
import pandas as pd

from storage.arrays import Floats

MAX_TRAINING_ROWS = 20_000
LEAST_UNIT = 0.1  # usual spreads
CLIP = 20.0  # usual spreads; a value further away is not stranger, and would dominate a fit


class Scorer(Protocol):
    """Learns what is usual, then scores rows.

    `OUTSIDE` is added to a score for each usual spread by which a row lies beyond the training rows. `MARGIN`: how much
    further from the usual score the threshold lies than the tail of the scores says; windows share rows, so the tail
    of long ones is known from few independent scores. `LEARNS_STRANGE`: whether it learns from strange rows too, if
    nobody says which rows are normal. `rows`: how many rows a window spans.
    """

    OUTSIDE: float
    MARGIN: float
    LEARNS_STRANGE: bool
    rows: int

    def __init__(self, seed: int, step: timedelta) -> None:
        """Every random choice follows from the seed; `step` is the usual time between two rows."""

    def windows(self, rows: Floats) -> Floats:
        """What is scored: each row with what the scorer uses of the rows before it.

        `rows` are standardised features in the order of time, of shape (rows, features).
        """

    def fit(self, windows: Floats) -> None:
        """Learn from the windows of training rows."""

    def score(self, windows: Floats) -> Floats:
        """One score per window."""


class IsolationForest:
    """Scores from 0 to 1: rows that few random cuts isolate are strange.

    F. T. Liu, K. M. Ting, Z.-H. Zhou: Isolation Forest (ICDM 2008). The forest cuts along one value at a time, so it
    sees each row beside the mean of the newest rows in directions that vary independently: there a broken relation
    between two metrics is far away, and a small shift stands out from the noise. Copies of the training rows with
    noise make it cut around the readings as well, where it has seen none.
    """

    OUTSIDE = 0.1
    MARGIN = 1.0
    LEARNS_STRANGE = True  # without them, it finds fewer of their kind
    SPAN, MAX_ROWS = timedelta(minutes=3), 15  # of a mean: a fault lasts
    NOISE, NOISE_OF_MEANS = 0.3, 0.5  # usual spreads, without and with means

    def __init__(self, seed: int, step: timedelta) -> None:
        from sklearn.ensemble import IsolationForest as Forest  # noqa: PLC0415 - 1 s that a forecast need not pay

        self.rows = int(min(max(self.SPAN / step, 1), self.MAX_ROWS))
        self._random = np.random.default_rng(seed)
        self._forest = Forest(n_estimators=200, max_samples=256, random_state=seed)
        self._axes: _Axes | None = None

    def windows(self, rows: Floats) -> Floats:
        """Each row and the mean of the newest rows; the row alone if there is one in three minutes."""
        rows = np.clip(rows, -CLIP, CLIP)
        if self.rows == 1:
            return rows
        return np.hstack([rows, _means(rows, self.rows)])

    def fit(self, windows: Floats) -> None:
        windows = _sample(windows, self._random)
        if self.rows > 1:
            self._axes = _Axes.of(np.hsplit(windows, 2)[1])
        rows = self._seen(windows)
        noise = self.NOISE if self._axes is None else self.NOISE_OF_MEANS
        noisy = rows + self._random.normal(0, noise, rows.shape)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "max_samples .* is greater than the total number of samples")
            self._forest.fit(np.concatenate([rows, noisy]))

    def score(self, windows: Floats) -> Floats:
        scores: Floats = -self._forest.score_samples(self._seen(windows))
        return scores

    def _seen(self, windows: Floats) -> Floats:
        if self._axes is None:
            return windows
        rows, means = np.hsplit(windows, 2)
        return np.hstack([rows, self._axes.clipped(means)])


class Autoencoder:
    """The error, in usual spreads, with which a narrow neural network reproduces the course of the newest 20 rows.

    It also reproduces their mean along directions that vary independently, as the forest sees it: an error there
    counts by what is usual in that direction.
    """

    OUTSIDE = 1.0
    MARGIN = 1.3
    LEARNS_STRANGE = False
    MEANS, ROWS_OF_MEAN = 4, 5
    rows = MEANS * ROWS_OF_MEAN
    MAX_TRAINING_ROWS = 4_000  # more of them take longer, and the errors are hardly other ones

    def __init__(self, seed: int, step: timedelta) -> None:
        del step
        self._seed = seed
        self._random = np.random.default_rng(seed)

    def windows(self, rows: Floats) -> Floats:
        """Four means of five rows each, side by side."""
        means = _means(np.clip(rows, -CLIP, CLIP), self.ROWS_OF_MEAN)
        at = np.arange(len(means))
        return np.hstack([means[np.maximum(at - self.ROWS_OF_MEAN * back, 0)] for back in range(self.MEANS)])

    def fit(self, windows: Floats) -> None:
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
        from sklearn.neural_network import MLPRegressor  # noqa: PLC0415

        windows = _sample(windows, self._random, self.MAX_TRAINING_ROWS)
        self._axes = _Axes.of(self._mean(windows))
        seen = self._seen(windows)
        width = seen.shape[1]
        self._network = MLPRegressor(
            hidden_layer_sizes=(width, max(2, width // 5), width), max_iter=60, random_state=self._seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 60 rounds are enough for scores
            self._network.fit(seen, seen)

    def score(self, windows: Floats) -> Floats:
        seen = self._seen(windows)
        reproduced = self._network.predict(seen).reshape(seen.shape)
        errors: Floats = np.sqrt(np.mean((seen - reproduced) ** 2, axis=1))
        return errors

    def _seen(self, windows: Floats) -> Floats:
        return np.hstack([windows, self._axes.clipped(self._mean(windows))])

    def _mean(self, windows: Floats) -> Floats:
        mean: Floats = np.mean(np.hsplit(windows, self.MEANS), axis=0)
        return mean


class Covariance:
    """The Mahalanobis distance, per feature, of the newest rows' mean, and of their mean and deviation together.

    The covariance is shrunk as by O. Ledoit, M. Wolf: A well-conditioned estimator for large-dimensional covariance
    matrices (2004). What recurs is usual, too, such as each start of a machine. So the distance is from the windows of
    other times that were as far away, if it is less: the training rows are split into 20 spans of time, and such
    windows must lie in five of them.
    """

    OUTSIDE = 1.0
    MARGIN = 1.3
    LEARNS_STRANGE = False
    rows = 15
    SPANS, RECURRING = 20, 5
    FAR = 0.84  # of the training windows are nearer to the centre than those that may recur
    MAX_KNOWN = 200  # windows of a span that are kept
    CHUNK = 4_000  # windows whose distances are worked out at once

    def __init__(self, seed: int, step: timedelta) -> None:
        del seed, step  # nothing is random

    def windows(self, rows: Floats) -> Floats:
        """The mean and the deviation of the newest 15 rows."""
        rolling = pd.DataFrame(np.clip(rows, -CLIP, CLIP)).rolling(self.rows, min_periods=1)
        return np.hstack([rolling.mean().to_numpy(), rolling.std().bfill().fillna(0.0).to_numpy()])

    def fit(self, windows: Floats) -> None:
        means = windows.shape[1] // 2
        self._shapes = [_Shape.of(windows[:, :width]) for width in (means, 2 * means)]

    def score(self, windows: Floats) -> Floats:
        scores: Floats = np.mean([shape.distances(windows) for shape in self._shapes], axis=0)
        return scores


@dataclass(frozen=True)
class _Axes:
    """Directions along which windows vary independently, by a shrunk covariance (Ledoit-Wolf).

    `whiten` maps the differences from the centre to independent ones of unit variance.
    """

    centre: Floats
    whiten: Floats

    @classmethod
    def of(cls, windows: Floats) -> Self:
        from sklearn.covariance import LedoitWolf  # noqa: PLC0415

        fitted = LedoitWolf().fit(windows)
        variances, axes = np.linalg.eigh(fitted.covariance_)
        return cls(fitted.location_, axes / np.sqrt(np.maximum(variances, 1e-9)))

    def along(self, windows: Floats) -> Floats:
        white: Floats = (windows - self.centre) @ self.whiten
        return white

    def clipped(self, windows: Floats) -> Floats:
        """The windows along the axes, with those too far away as near as `CLIP`."""
        return np.clip(self.along(windows), -CLIP, CLIP)


@dataclass(frozen=True)
class _Shape:
    """Where windows usually are: their axes, and those far from the centre, by span of time.

    `far` is the squared distance beyond which windows may be recurring ones.
    """

    axes: _Axes
    far: float
    known: list[Floats]

    @classmethod
    def of(cls, windows: Floats) -> Self:
        axes = _Axes.of(windows)
        white = axes.along(windows)
        squares = (white**2).sum(axis=1)
        far = float(np.quantile(squares, Covariance.FAR))
        spans = np.array_split(np.arange(len(white)), Covariance.SPANS)
        known = [white[span[squares[span] > far]] for span in spans]
        return cls(axes, far, [rows[:: max(1, len(rows) // Covariance.MAX_KNOWN)] for rows in known])

    def distances(self, windows: Floats) -> Floats:
        """The distances per feature from the centre, or from the windows that recur."""
        width = len(self.axes.centre)
        white = self.axes.along(windows[:, :width])
        squares = (white**2).sum(axis=1)
        far = np.flatnonzero(squares > self.far)
        for part in np.array_split(far, len(far) // Covariance.CHUNK + 1):
            squares[part] = np.minimum(squares[part], self._from_recurring(white[part], squares[part]))
        distances: Floats = np.sqrt(squares / width)
        return distances

    def _from_recurring(self, white: Floats, squares: Floats) -> Floats:
        """The squared distance within which there are windows of enough spans of time."""
        nearest = np.full((len(white), Covariance.SPANS), np.inf)
        for column, known in enumerate(self.known):
            if len(known):
                between = squares[:, None] + (known**2).sum(axis=1) - 2 * white @ known.T
                nearest[:, column] = between.min(axis=1)
        enough: Floats = np.partition(nearest, Covariance.RECURRING - 1, axis=1)[:, Covariance.RECURRING - 1]
        return np.maximum(enough, 0.0)


# By model name, as in `ANALYSES`.
SCORERS: dict[str, type[Scorer]] = {
    "isolation_forest": IsolationForest,
    "autoencoder": Autoencoder,
    "covariance": Covariance,
}
# `auto` is the mean of these, each in its own usual spreads: they err at different moments.
AUTO = ("isolation_forest", "covariance")


def usual_range(training: Floats) -> tuple[Floats, Floats]:
    """The 0.1 and 99.9 % quantiles of each channel."""
    low, high = np.quantile(training, [0.001, 0.999], axis=0)
    return low, high


def excess(usual: tuple[Floats, Floats], rows: Floats) -> Floats:
    """By how many usual spreads each row lies outside the usual range, at most CLIP.

    The range of normally distributed values is six spreads wide. One of less than four has no tails, as that of a
    machine that is off or on: the unit is smaller there, since a value a little outside it already says much.
    """
    low, high = usual
    units = np.clip(((high - low) / 4) ** 3, LEAST_UNIT, 1)
    distances: Floats = (np.maximum(np.maximum(low - rows, rows - high), 0) / units).max(axis=1)
    return np.minimum(distances, CLIP)


def _means(rows: Floats, count: int) -> Floats:
    """The mean of each row and those before it, `count` in all."""
    means: Floats = pd.DataFrame(rows).rolling(count, min_periods=1).mean().to_numpy()
    return means


def _sample(rows: Floats, random: np.random.Generator, most: int = MAX_TRAINING_ROWS) -> Floats:
    if len(rows) <= most:
        return rows
    return rows[np.sort(random.choice(len(rows), most, replace=False))]
