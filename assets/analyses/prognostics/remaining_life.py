"""Remaining useful life: hours until the failure, with an interval, learnt from lives that ran to failure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assets.analyses.prognostics.classifiers import MAX_FITTED
from assets.analyses.prognostics.features import Features
from assets.analyses.prognostics.steps import Steps
from storage.arrays import Floats, Indices, Mask

MIN_LIVES = 6  # that ran to failure
MIN_LIFE_STEPS = 10
FOLDS = 6
SHARE = 0.9  # of the true remaining lives, within the interval
LIMIT_SHARE = 0.6  # of the median life: a machine that is as good as new does not show how long it will last
NEIGHBOURS = 400  # tested steps with the most similar prediction, whose errors make an interval


@dataclass(frozen=True)
class Errors:
    """The errors of the test on lives that the model did not know, ascending by what it predicted."""

    predicted: Floats
    signed: Floats

    @property
    def usual(self) -> float:
        """The median of the true remaining lives."""
        return float(np.median(self.predicted + self.signed))

    def interval(self, predicted: Floats, limit: float) -> tuple[Floats, Floats]:
        """The narrowest bounds that hold the true remaining life in `SHARE` of the errors at similar predictions."""
        low, high = np.empty(len(predicted)), np.empty(len(predicted))
        width = min(NEIGHBOURS, len(self.predicted))
        inside = min(int(np.ceil(SHARE * (width + 1))), width)
        begin = np.searchsorted(self.predicted, predicted) - width // 2
        for i, first in enumerate(np.clip(begin, 0, len(self.predicted) - width).tolist()):
            near = np.sort(self.signed[first : first + width])
            narrowest = int(np.argmin(near[inside - 1 :] - near[: width - inside + 1]))
            low[i], high[i] = near[narrowest], near[narrowest + inside - 1]
        return np.clip(predicted + low, 0, limit), np.clip(predicted + high, 0, limit)


@dataclass(frozen=True)
class LifeModel:
    """A regression of the remaining life up to `limit` hours, and its errors on lives that it did not know."""

    model: Any
    errors: Errors
    limit: float

    def predict(self, frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
        """The remaining life of each row in hours, and the bounds of its interval."""
        hours = _predicted(self.model, frame, self.limit)
        return hours, *self.errors.interval(hours, self.limit)


def whole_lives(steps: Steps) -> Indices:
    """The lives that ran to failure and are long enough to learn from, in the order of their failures."""
    counts = np.bincount(steps.life)
    failed = steps.failed_lives
    found: Indices = failed[counts[failed] >= MIN_LIFE_STEPS]
    return found


def limit_of(steps: Steps, lives: Indices) -> float:
    """Up to how many hours a remaining life is told: a share of the median life."""
    lasted = [float((steps.age + steps.remaining)[steps.life == life].max()) for life in lives]
    return LIMIT_SHARE * float(np.median(lasted))


def fit(steps: Steps, known: Features, lives: Indices, limit: float, seed: int) -> LifeModel:
    """Learn from these lives; the errors come from a cross-validation in which whole lives are left out."""
    rows = np.flatnonzero(np.isin(steps.life, lives))
    frame, true, life = known.frame.iloc[rows], np.minimum(steps.remaining[rows], limit), steps.life[rows]
    guessed = np.empty(len(rows))
    for part in (lives[i::FOLDS] for i in range(min(FOLDS, len(lives)))):
        out = np.isin(life, part)
        guessed[out] = _predicted(_regression(frame[~out], true[~out], seed), frame[out], limit)
    order = np.argsort(guessed, kind="stable")
    return LifeModel(_regression(frame, true, seed), Errors(guessed[order], (true - guessed)[order]), limit)


def _regression(frame: pd.DataFrame, true: Floats, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - a second to load

    at = np.linspace(0, len(frame) - 1, min(len(frame), MAX_FITTED)).astype(np.intp)
    model = HistGradientBoostingRegressor(
        max_iter=150, learning_rate=0.06, min_samples_leaf=20, l2_regularization=1.0, early_stopping=False,
        random_state=seed,
    )  # fmt: skip
    return model.fit(frame.iloc[at].to_numpy(), true[at])


def _predicted(model: Any, frame: pd.DataFrame, limit: float) -> Floats:
    hours: Floats = np.clip(model.predict(frame.to_numpy()), 0, limit)
    return hours


def figures(model: LifeModel, steps: Steps, known: Features, rows: Mask) -> dict[str, Any]:
    """How good a model is on lives that it does not know, which ran to failure."""
    true = np.minimum(steps.remaining[rows], model.limit)
    hours, lower, upper = model.predict(known.frame[rows])
    return {
        "rmse_hours": float(np.sqrt(np.mean((hours - true) ** 2))),
        "mae_hours": float(np.mean(np.abs(hours - true))),
        "interval_held": float(np.mean((lower <= true) & (true <= upper))),
        "interval_share": SHARE,
        "mean_width_hours": float(np.mean(upper - lower)),
        "baseline_rmse_hours": float(np.sqrt(np.mean((model.errors.usual - true) ** 2))),
        "lives_tested": len(np.unique(steps.life[rows])),
    }
