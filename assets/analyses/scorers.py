"""How unusual rows are: an isolation forest, and an autoencoder. Higher is stranger; a threshold is not theirs."""

import warnings
from typing import Protocol

import numpy as np

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]

MAX_FITTED = 20_000
CLIP = 20.0  # usual spreads: what is further away is no stranger, and would only rule a fit


class Scorer(Protocol):
    """Learns what is usual from rows of standardised features, in the order of time.

    `OUTSIDE` is what a usual spread beyond all that was seen counts in its scores.
    """

    OUTSIDE: float

    def fit(self, rows: Matrix) -> None: ...

    def score(self, rows: Matrix) -> Vector: ...


class IsolationForest:
    """Rows that few random cuts set apart (Liu, Ting, Zhou 2008): from 0 to 1.

    Copies with noise let the forest cut also around the readings, where it has seen none.
    """

    OUTSIDE = 0.1
    NOISE = 0.3  # usual spreads

    def __init__(self, seed: int) -> None:
        from sklearn.ensemble import IsolationForest as Forest  # noqa: PLC0415 - 1 s that a forecast need not pay

        self._random = np.random.default_rng(seed)
        self._forest = Forest(n_estimators=200, max_samples=256, random_state=seed)

    def fit(self, rows: Matrix) -> None:
        rows = _sample(rows, self._random)
        noisy = rows + self._random.normal(0, self.NOISE, rows.shape)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "max_samples .* is greater than the total number of samples")
            self._forest.fit(np.concatenate([rows, noisy]))

    def score(self, rows: Matrix) -> Vector:
        scores: Vector = -self._forest.score_samples(np.clip(rows, -CLIP, CLIP))
        return scores


class Autoencoder:
    """Rows, each with some before it, that a narrow network cannot draw again: by how many usual spreads it is off."""

    OUTSIDE = 1.0
    WINDOW = (0, 4, 9, 14, 19)  # rows back

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = np.random.default_rng(seed)

    def fit(self, rows: Matrix) -> None:
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
        from sklearn.neural_network import MLPRegressor  # noqa: PLC0415

        windows = _sample(self._windows(rows), self._random)
        wide = windows.shape[1]
        self._network = MLPRegressor(
            hidden_layer_sizes=(wide, max(2, wide // 5), wide), max_iter=60, random_state=self._seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # as far as 60 rounds bring it is far enough
            self._network.fit(windows, windows)

    def score(self, rows: Matrix) -> Vector:
        windows = self._windows(rows)
        drawn = self._network.predict(windows).reshape(windows.shape)
        off: Vector = np.sqrt(np.mean((windows - drawn) ** 2, axis=1))
        return off

    def _windows(self, rows: Matrix) -> Matrix:
        rows = np.clip(rows, -CLIP, CLIP)
        at = np.arange(len(rows))
        return np.concatenate([rows[np.maximum(at - back, 0)] for back in self.WINDOW], axis=1)


SCORERS: dict[str, type[IsolationForest] | type[Autoencoder]] = {
    "isolation_forest": IsolationForest,
    "autoencoder": Autoencoder,
}


def beyond(seen: Matrix, rows: Matrix) -> Vector:
    """How far, in usual spreads, a row lies beyond nearly all that was seen."""
    low, high = np.quantile(seen, [0.001, 0.999], axis=0)
    far: Vector = np.maximum(np.maximum(low - rows, rows - high), 0).max(axis=1)
    return np.minimum(far, CLIP)


def _sample(rows: Matrix, random: np.random.Generator) -> Matrix:
    rows = np.clip(rows, -CLIP, CLIP)
    if len(rows) <= MAX_FITTED:
        return rows
    return rows[np.sort(random.choice(len(rows), MAX_FITTED, replace=False))]
