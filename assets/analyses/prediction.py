"""Failure prediction: the probability that a device fails within the horizon, learnt from its recorded failures."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses import readings
from assets.analyses.failures import Examples, examples
from assets.analyses.parameters import PredictionParameters
from assets.analyses.result import CannotAnalyse, Progress, Result
from storage.arrays import Floats, Mask
from storage.times import rfc3339

MIN_FAILURES = 2
MIN_STEPS = 48
HELD_OUT_SHARE = 0.3  # of the failures, the newest
MAX_PROBABILITIES = 500
MAX_DRIVERS = 5


def predict(model_name: str, table: pa.Table, parameters: PredictionParameters, progress: Progress) -> Result:
    """The probability of a failure within the horizon, for the newest steps of a device's dataset rows.

    A first model learns from the older failures and is tested on the newest. A second model learns from all failures
    and judges the newest steps, whose outcome is not known yet. No probability comes from a model that was fitted on
    its step.

    Raises:
        CannotAnalyse: there are too few failures, or too few readings.

    """
    if not parameters.failures:
        raise CannotAnalyse(
            "There are no recorded failures. Give the moments at which the device failed as parameters.failures, "
            'for example {"failures": ["2026-01-05T08:30:00Z", "2026-01-19T17:00:00Z"], "horizon_hours": 24}.'
        )
    horizon = timedelta(hours=parameters.horizon_hours)
    progress(5, "Preparing features")
    known = examples(readings.frame(table), parameters.failures, horizon)
    _check_enough(known, len(parameters.failures))
    progress(20, "Testing on the newest failures")
    accuracy, probabilities = _test(model_name, known, horizon, parameters.seed)
    progress(70, f"Fitting {model_name} on all failures")
    model = _fitted(model_name, known, known.labelled, parameters.seed)
    probabilities[~known.labelled] = _probability(model, known.features[~known.labelled])
    judged = np.flatnonzero(np.isfinite(probabilities))
    newest = [
        {"timestamp": rfc3339(known.ends[i]), "failure_probability": float(probabilities[i])}
        for i in judged[-MAX_PROBABILITIES:].tolist()
    ]
    progress(85, "Finding the metrics that drive the probability")
    results = {
        "failure_probability": newest[-1]["failure_probability"],
        "as_of": newest[-1]["timestamp"],
        "horizon_hours": parameters.horizon_hours,
        "probabilities": newest,
        "drivers": _drivers(model, known, parameters.seed),
        "left_out": known.left_out,
        "summary": {
            "failure_probability": newest[-1]["failure_probability"],
            "as_of": newest[-1]["timestamp"],
            "horizon_hours": parameters.horizon_hours,
            "failures_learnt_from": len(known.failures),
            "failures_outside_the_readings": len(set(parameters.failures)) - len(known.failures),
            "steps": len(known.ends),
            "probabilities_left_out": max(0, len(judged) - MAX_PROBABILITIES),
        },
    }
    return Result(results, accuracy)


def _check_enough(known: Examples, recorded: int) -> None:
    if len(known.failures) < MIN_FAILURES:
        raise CannotAnalyse(
            f"{len(known.failures)} of the {recorded} recorded failures lie within the readings; at least "
            f"{MIN_FAILURES} are needed. Choose days that include more of them."
        )
    fails = known.fails[known.labelled]
    if len(fails) < MIN_STEPS or not fails.any() or fails.all():
        raise CannotAnalyse(
            f"The readings make {len(fails)} steps, {fails.sum()} of them shortly before a failure. At least"
            f" {MIN_STEPS} steps are needed, some before a failure and some not. Choose more days, or a shorter"
            " horizon_hours."
        )


# The models have no class weights, which would distort the probabilities.
def _random_forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - a second to load

    return RandomForestClassifier(n_estimators=200, min_samples_leaf=5, random_state=seed, n_jobs=1)


def _gradient_boosting(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - a second to load

    return HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.06, min_samples_leaf=10, early_stopping=False, random_state=seed
    )


# By model name, as in `ANALYSES`; made with a seed.
CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    "random_forest": _random_forest,
    "gradient_boosting": _gradient_boosting,
}


def _fitted(model_name: str, known: Examples, rows: Mask, seed: int) -> Any:
    return CLASSIFIERS[model_name](seed).fit(known.features[rows].to_numpy(), known.fails[rows])


def _probability(model: Any, features: pd.DataFrame) -> Floats:
    probability: Floats = model.predict_proba(features.to_numpy())[:, list(model.classes_).index(True)]
    return probability


def split(known: Examples, horizon: timedelta) -> tuple[Mask, Mask]:
    """The steps to learn from, and the steps around the newest failures to test on.

    They are cut midway between two failures. A horizon on either side of the cut is left out: labels look that far
    ahead, and features that far back.
    """
    held_out = max(1, round(HELD_OUT_SHARE * len(known.failures)))
    before, after = known.failures[-held_out - 1], known.failures[-held_out]
    cut = before + (after - before) / 2
    ends, labelled = known.ends, known.labelled
    return labelled & np.asarray(ends + horizon <= cut), labelled & np.asarray(ends - horizon >= cut)


def _test(model_name: str, known: Examples, horizon: timedelta, seed: int) -> tuple[dict[str, Any], Floats]:
    """How good a model of the older failures is on the newest, and its probabilities for them (NaN elsewhere).

    The Brier score is the mean squared error of the probabilities; its skill is relative to the constant share of
    steps before a failure (G. W. Brier, 1950).
    """
    from sklearn.metrics import average_precision_score, brier_score_loss  # noqa: PLC0415

    names = ("pr_auc", "precision", "recall", "f1_score", "brier", "brier_skill", "failures_found", "false_alarm_share")
    accuracy: dict[str, Any] = dict.fromkeys(names)
    probabilities = np.full(len(known.ends), np.nan)
    training, test = split(known, horizon)
    for rows, purpose in ((training, "to learn from"), (test, "to test on")):
        if not known.fails[rows].any() or known.fails[rows].all():
            reason = (
                f"with the newest failures held out, the steps {purpose} do not include both quiet times and times"
                " before a failure; give more failures, further apart"
            )
            return {**accuracy, "reason": reason}, probabilities
    threshold = _threshold(model_name, known, training, seed)
    probability = _probability(_fitted(model_name, known, training, seed), known.features[test])
    probabilities[test] = probability
    fails, ends = known.fails[test], known.ends[test]
    warned = probability >= threshold
    hits = int((warned & fails).sum())
    brier = float(brier_score_loss(fails, probability))
    baseline_brier = float(np.mean((fails - known.fails[training].mean()) ** 2))
    before_failures = [(ends < f) & (ends >= f - horizon) for f in known.failures]
    tested = [before for before in before_failures if before.any()]
    return {
        "pr_auc": float(average_precision_score(fails, probability)),
        "base_rate": float(fails.mean()),
        "precision": hits / int(warned.sum()) if warned.any() else None,
        "recall": hits / int(fails.sum()),
        "f1_score": 2 * hits / int(warned.sum() + fails.sum()),
        "brier": brier,
        "brier_skill": 1 - brier / baseline_brier if baseline_brier else None,
        "threshold": threshold,
        "failures_tested": len(tested),
        "failures_found": sum(bool((warned & before).any()) for before in tested),
        "false_alarm_share": float(warned[~fails].mean()),
        "beats_baseline": brier < baseline_brier,
        "baseline": "the share of steps before a failure, as the probability at all times",
    }, probabilities


def _threshold(model_name: str, known: Examples, training: Mask, seed: int) -> float:
    """The probability from which to warn: the one with the best F1 score in a cross-validation over three blocks.

    It is one half if no failure follows a step of a block that can be judged.
    """
    steps = np.flatnonzero(training)
    probabilities = np.full(len(training), np.nan)
    edges = np.linspace(0, len(steps), 4).astype(int)
    for first, end in pairwise(edges):
        fitted = training.copy()
        fitted[steps[max(0, first - 24) : end + 24]] = False
        if known.fails[fitted].any() and not known.fails[fitted].all():
            block = steps[first:end]
            probabilities[block] = _probability(_fitted(model_name, known, fitted, seed), known.features.iloc[block])
    judged = np.isfinite(probabilities)
    fails, probability = known.fails[judged], probabilities[judged]
    if not fails.any():
        return 0.5
    thresholds = np.linspace(0.05, 0.95, 19)
    f1 = [2 * ((probability >= t) & fails).sum() / ((probability >= t).sum() + fails.sum()) for t in thresholds]
    return float(thresholds[int(np.argmax(f1))])


def _drivers(model: Any, known: Examples, seed: int) -> list[dict[str, Any]]:
    """The metrics that the probability depends on most, each with its share of the permutation importance.

    A metric's importance is how much the Brier score worsens when its features are shuffled (L. Breiman, 2001). All
    features of a metric are shuffled together, since each of them can stand in for another.
    """
    rows = np.flatnonzero(known.labelled)
    rows = rows[:: max(1, len(rows) // 1_000)]
    features, fails = known.features.iloc[rows], known.fails[rows]
    order = np.random.default_rng(seed).permutation(len(rows))
    brier = np.mean((_probability(model, features) - fails) ** 2)
    importance = {}
    for channel in dict.fromkeys(known.channels):
        shuffled = features.copy()
        columns = [name for name, owner in zip(features.columns, known.channels, strict=True) if owner == channel]
        shuffled[columns] = features[columns].to_numpy()[order]
        importance[channel] = max(0.0, float(np.mean((_probability(model, shuffled) - fails) ** 2) - brier))
    total = sum(importance.values())
    strongest = sorted(importance, key=lambda channel: -importance[channel])[:MAX_DRIVERS]
    return [{"metric": name, "share": importance[name] / total} for name in strongest if importance[name] > 0]
