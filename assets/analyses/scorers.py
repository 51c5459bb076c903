"""Scores of how unusual rows are: an isolation forest and an autoencoder.

Higher scores are stranger. A scorer only ranks rows; `assets.analyses.events` sets the threshold.
"""

import warnings
from collections.abc import Callable
from typing import Protocol

import numpy as np

from storage.arrays import Floats

MAX_TRAINING_ROWS = 20_000
CLIP = 20.0  # usual spreads; a value further away is not stranger, and would dominate a fit


class Scorer(Protocol):
    """Learns what is usual, then scores rows.

    Rows are standardised features in the order of time, of shape (rows, features). `OUTSIDE` is added to a score for
    each usual spread by which a row lies beyond the training rows.
    """

    OUTSIDE: float

    def fit(self, rows: Floats) -> None:
        """Learn from training rows."""

    def score(self, rows: Floats) -> Floats:
        """One score per row."""


class IsolationForest:
    """Scores from 0 to 1: rows that few random cuts isolate are strange.

    F. T. Liu, K. M. Ting, Z.-H. Zhou: Isolation Forest (ICDM 2008). Copies of the training rows with noise make the
    forest cut around the readings as well, where it has seen none.
    """

    OUTSIDE = 0.1
    NOISE = 0.3  # usual spreads

    def __init__(self, seed: int) -> None:
        from sklearn.ensemble import IsolationForest as Forest  # noqa: PLC0415 - 1 s that a forecast need not pay

        self._random = np.random.default_rng(seed)
        self._forest = Forest(n_estimators=200, max_samples=256, random_state=seed)

    def fit(self, rows: Floats) -> None:
        rows = _sample(rows, self._random)
        noisy = rows + self._random.normal(0, self.NOISE, rows.shape)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "max_samples .* is greater than the total number of samples")
            self._forest.fit(np.concatenate([rows, noisy]))

    def score(self, rows: Floats) -> Floats:
        scores: Floats = -self._forest.score_samples(np.clip(rows, -CLIP, CLIP))
        return scores


class Autoencoder:
    """The error, in usual spreads, with which a narrow neural network reproduces a row and some rows before it."""

    OUTSIDE = 1.0
    WINDOW = (0, 4, 9, 14, 19)  # rows back

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = np.random.default_rng(seed)

    def fit(self, rows: Floats) -> None:
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
        from sklearn.neural_network import MLPRegressor  # noqa: PLC0415

        windows = _sample(self._windows(rows), self._random)
        width = windows.shape[1]
        self._network = MLPRegressor(
            hidden_layer_sizes=(width, max(2, width // 5), width), max_iter=60, random_state=self._seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 60 rounds are enough for scores
            self._network.fit(windows, windows)

    def score(self, rows: Floats) -> Floats:
        windows = self._windows(rows)
        reproduced = self._network.predict(windows).reshape(windows.shape)
        errors: Floats = np.sqrt(np.mean((windows - reproduced) ** 2, axis=1))
        return errors

    def _windows(self, rows: Floats) -> Floats:
        rows = np.clip(rows, -CLIP, CLIP)
        at = np.arange(len(rows))
        return np.concatenate([rows[np.maximum(at - back, 0)] for back in self.WINDOW], axis=1)


# By model name, as in `ANALYSES`; made with a seed.
SCORERS: dict[str, Callable[[int], Scorer]] = {"isolation_forest": IsolationForest, "autoencoder": Autoencoder}


def excess(training: Floats, rows: Floats) -> Floats:
    """By how many usual spreads each row lies outside the 0.1 to 99.9 % range of the training rows, at most CLIP."""
    low, high = np.quantile(training, [0.001, 0.999], axis=0)
    distances: Floats = np.maximum(np.maximum(low - rows, rows - high), 0).max(axis=1)
    return np.minimum(distances, CLIP)


def _sample(rows: Floats, random: np.random.Generator) -> Floats:
    rows = np.clip(rows, -CLIP, CLIP)
    if len(rows) <= MAX_TRAINING_ROWS:
        return rows
    return rows[np.sort(random.choice(len(rows), MAX_TRAINING_ROWS, replace=False))]
