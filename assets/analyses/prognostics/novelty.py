"""Whether a life deviates from its baseline in a way that no known life did: a model knows nothing about such a way."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assets.analyses.prognostics.features import Features
from assets.analyses.prognostics.steps import Steps
from storage.arrays import Floats, Indices, Mask

NEIGHBOURS = 5
NEWEST_STEPS = 6
MAX_KNOWN = 4_000  # steps
MAX_LIVES = 60
UNLIKE = 1.25  # times as far from the known lives as the furthest of these is from the others
BASELINE = ", from its baseline"


@dataclass(frozen=True)
class KnownWays:
    """The steps of lives that ran to failure, and how far the furthest of these lives is from the others.

    A step is each metric's deviation from the unit's own baseline, in usual spreads; `scaled` has that of all steps. A
    distance is the mean one to the nearest known steps.
    """

    metrics: tuple[str, ...]
    scaled: Floats
    known: Floats
    furthest: float

    @classmethod
    def of(cls, steps: Steps, features: Features, lives: Indices) -> "KnownWays":
        """The ways of failing of these lives."""
        names = [str(name) for name in features.frame if str(name).endswith(BASELINE)]
        values = features.frame[names].fillna(0.0)
        of_lives = np.isin(steps.life, lives)
        scaled = (values / values[of_lives].std().replace(0.0, np.nan).fillna(1.0)).to_numpy()
        at = np.flatnonzero(of_lives)
        at = at[:: max(1, len(at) // MAX_KNOWN)]
        peaks = [
            _peak(_distances(scaled[steps.life == life], scaled[at[steps.life[at] != life]])[0])
            for life in lives[-MAX_LIVES:]
        ]
        return cls(tuple(name.removesuffix(BASELINE) for name in names), scaled, scaled[at], max(*peaks, 1e-9))

    def novelty(self, rows: Mask) -> dict[str, Any]:
        """How far the newest of these steps are from the known ones; 1 is as far as the furthest known life.

        `metrics` are those that deviate most from the nearest known steps.
        """
        at = np.flatnonzero(rows)[-NEWEST_STEPS:]
        distances, nearest = _distances(self.scaled[at], self.known)
        score = float(np.median(distances)) / self.furthest
        apart = np.abs(self.scaled[at] - nearest).mean(axis=0)
        furthest = [i for i in np.argsort(-apart, kind="stable")[:3].tolist() if apart[i] > 1]
        is_unlike = score > UNLIKE
        return {
            "score": score,
            "is_unlike": is_unlike,
            "metrics": [self.metrics[i] for i in furthest] if is_unlike else [],
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
