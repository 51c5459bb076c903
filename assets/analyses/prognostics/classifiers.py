"""The classifiers of failure prediction. They have no class weights, which would distort the probabilities."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from assets.analyses.prognostics.features import Features
from storage.arrays import Floats, Indices, Mask

MAX_FITTED = 15_000  # steps
MAX_QUICK = 5_000
QUICK_TREES = 60  # enough to compare features, and for the curve
# Many features say the same: of three tenths of them, each split finds one that says something.
FEATURE_SHARE = 0.3
MEMBERS = 6  # gradient boosting models


def _random_forest(seed: int, *, quick: bool) -> Any:
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - a second to load

    trees = QUICK_TREES if quick else 200
    return RandomForestClassifier(
        n_estimators=trees, min_samples_leaf=5, max_features=FEATURE_SHARE, random_state=seed, n_jobs=1
    )


def _gradient_boosting(seed: int, *, quick: bool) -> Any:
    """The mean of several models that each choose among other features: with few failures a single one varies much."""
    from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier  # noqa: PLC0415 - a second to load

    steps, rate, members = (QUICK_TREES, 0.12, 1) if quick else (150, 0.06, MEMBERS)
    models = [
        HistGradientBoostingClassifier(
            max_iter=steps, learning_rate=rate, max_leaf_nodes=15, min_samples_leaf=10, max_features=FEATURE_SHARE,
            early_stopping=False, random_state=state,
        )
        for state in np.random.SeedSequence(seed).generate_state(members).tolist()
    ]  # fmt: skip
    return VotingClassifier([(str(number), model) for number, model in enumerate(models)], voting="soft")


class _Maker(Protocol):
    def __call__(self, seed: int, *, quick: bool) -> Any: ...


# By model name, as in `ANALYSES`; made with a seed.
CLASSIFIERS: dict[str, _Maker] = {"random_forest": _random_forest, "gradient_boosting": _gradient_boosting}


@dataclass(frozen=True)
class Classifier:
    """A fitted model, the share of its steps that lay before a failure, and the number of these failures."""

    model: Any
    usual: float
    failures: int

    def probability(self, frame: pd.DataFrame) -> Floats:
        """The probability that each row's life fails within the horizon.

        The usual share counts as much as one failure: what was learnt from few failures is never certain (the
        m-estimate with m = 1; B. Cestnik: Estimating Probabilities, 1990).
        """
        classes = list(self.model.classes_)
        found: Floats = self.model.predict_proba(frame.to_numpy())[:, classes.index(True)]
        return (self.failures * found + self.usual) / (self.failures + 1)


def fitted(model_name: str, known: Features, fails: Mask, rows: Mask, seed: int, *, quick: bool = False) -> Classifier:
    """A classifier that has learnt from these rows; of very many, from evenly spread ones.

    A quick one is good enough to compare features by.
    """
    chosen: Indices = np.flatnonzero(rows)
    usual, failures = float(fails[chosen].mean()), len(np.unique(known.life[rows & fails]))
    limit = MAX_QUICK if quick else MAX_FITTED
    if len(chosen) > limit:
        chosen = chosen[np.linspace(0, len(chosen) - 1, limit).astype(np.intp)]
    model = CLASSIFIERS[model_name](seed, quick=quick).fit(known.frame.iloc[chosen].to_numpy(), fails[chosen])
    return Classifier(model, usual, failures)
