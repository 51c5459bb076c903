"""Which metrics a probability rests on, and in which direction each moves it."""

from typing import Any

import numpy as np
import pandas as pd

from assets.analyses.prognostics.classifiers import Classifier
from assets.analyses.prognostics.features import AGE, Features, in_words
from storage.arrays import Floats, Mask

MAX_DRIVERS = 5
MAX_ROWS = 1_000
MIN_CORRELATION = 0.1


def drivers(
    model: Classifier, known: Features, fails: Mask, rows: Mask, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The metrics that the probability depends on most, each with its share of the permutation importance; the age's.

    A metric's importance is how much the Brier score worsens when its features are shuffled (L. Breiman, 2001). All
    features of a metric are shuffled together, since each of them can stand in for another. `direction` is that of the
    feature in `shown_by`, which moves most with the probability (C. Spearman's rank correlation, 1904).
    """
    at = np.flatnonzero(rows)
    at = at[:: max(1, len(at) // MAX_ROWS)]
    frame, true = known.frame.iloc[at], fails[at]
    order = np.random.default_rng(seed).permutation(len(at))
    guessed = model.probability(frame)
    brier = float(np.mean((guessed - true) ** 2))
    owned = _columns(known)
    importance = {}
    for name, columns in owned.items():
        shuffled = frame.copy()
        shuffled[columns] = frame[columns].to_numpy()[order]
        worse = float(np.mean((model.probability(shuffled) - true) ** 2))
        importance[name] = max(0.0, worse - brier)
    total = sum(importance.values()) or 1.0
    strongest = sorted((name for name in owned if name != AGE), key=lambda name: -importance[name])[:MAX_DRIVERS]
    found = [
        {"metric": name, "share": importance[name] / total, **_shown(known, _direction(frame[owned[name]], guessed))}
        for name in strongest
        if importance[name] > 0
    ]
    return found, {"share": importance[AGE] / total, "direction": _direction(frame[[AGE]], guessed)["direction"]}


def _columns(known: Features) -> dict[str, list[str]]:
    names = dict.fromkeys(name for owners in known.metrics for name in owners)
    return {**{name: known.columns_of(name) for name in names}, AGE: [AGE]}


def _shown(known: Features, direction: dict[str, Any]) -> dict[str, Any]:
    """The direction of a feature, and what people call the feature."""
    column = direction["shown_by"]
    metrics = dict(zip(known.frame.columns, known.metrics, strict=True))
    return {**direction, "shown_by_words": in_words(column, metrics[column])}


def _direction(frame: pd.DataFrame, guessed: Floats) -> dict[str, Any]:
    """Whether high or low values raise the probability, by the feature that moves most with it."""
    ranks = frame.rank()
    correlations = ranks.corrwith(pd.Series(guessed, frame.index).rank()).fillna(0.0)
    strongest = str(correlations.abs().idxmax())
    value = float(correlations[strongest])
    direction = "unclear" if abs(value) < MIN_CORRELATION else "high" if value > 0 else "low"
    return {"direction": direction, "shown_by": strongest}
