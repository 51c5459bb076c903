"""Whether a life deviates from its baseline in a way that no known life did: a model knows nothing about such a way."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assets.analyses.prognostics.features import Features
from storage.arrays import Floats, Indices

NEIGHBOURS = 5
NEWEST_STEPS = 6
MAX_KNOWN = 4_000  # steps
MAX_LIVES = 60
UNLIKE = 1.25  # times as far from the known lives as the furthest of these is from the others
BASELINE = ", from its baseline"


@dataclass(frozen=True)
class KnownWays:
    """The steps of lives that ran to failure, and how far the furthest of these lives is from the others.

    A step is each metric's deviation from the unit's own baseline (`columns` of the features), in usual spreads, which
    are in `scale`. A distance is the mean one to the nearest known steps.
    """

    columns: tuple[str, ...]
    scale: Floats
    known: Floats
    furthest: float

    @classmethod
    def of(cls, features: Features, lives: Indices) -> "KnownWays":
        """The ways of failing of these lives."""
        names = [str(name) for name in features.frame if str(name).endswith(BASELINE)]
        values, of_lives = features.frame[names].fillna(0.0), np.isin(features.life, lives)
        scale = values[of_lives].std().replace(0.0, np.nan).fillna(1.0).to_numpy()
        scaled = values.to_numpy() / scale
        at = np.flatnonzero(of_lives)
        at = at[:: max(1, len(at) // MAX_KNOWN)]
        peaks = [
            _peak(_distances(scaled[features.life == life], scaled[at[features.life[at] != life]])[0])
            for life in lives[-MAX_LIVES:]
        ]
        return cls(tuple(names), scale, scaled[at], max(*peaks, 1e-9))

    def novelty(self, frame: pd.DataFrame) -> dict[str, Any]:
        """How far the newest of these rows are from the known steps; 1 is as far as the furthest known life.

        `metrics` are those that deviate most from the nearest known steps.
        """
        newest = frame[list(self.columns)].fillna(0.0).to_numpy()[-NEWEST_STEPS:] / self.scale
        distances, nearest = _distances(newest, self.known)
        score = float(np.median(distances)) / self.furthest
        apart = np.abs(newest - nearest).mean(axis=0)
        furthest = [i for i in np.argsort(-apart, kind="stable")[:3].tolist() if apart[i] > 1]
        is_unlike = score > UNLIKE
        return {
            "score": score,
            "is_unlike": is_unlike,
            "metrics": [self.columns[i].removesuffix(BASELINE) for i in furthest] if is_unlike else [],
        }


def _distances(rows: Floats, known: Floats) -> tuple[Floats, Floats]:
    """The mean distance of each row to its nearest known rows, and the mean of these."""
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415 - a second to load

    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(known)), algorithm="brute").fit(known)
    distances, at = search.kneighbors(rows)
    return distances.mean(axis=1), known[at].mean(axis=1)


def _peak(distances: Floats) -> float:
    """The highest distance that lasted for several steps."""
    lasting = pd.Series(distances).rolling(min(NEWEST_STEPS, len(distances))).median()
    return float(lasting.max())
