"""Failure prediction: how likely the device fails within the horizon, learnt from its recorded failures."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses import CannotAnalyse, PredictionParameters, Progress, Result, readings
from assets.analyses.failures import Examples, Flags, examples
from storage.times import rfc3339

MIN_FAILURES = 2
MIN_STEPS = 48
HELD_BACK = 0.3  # of the failures, the newest
MAX_PROBABILITIES = 500
MAX_DRIVERS = 5

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


def predict(model_name: str, table: pa.Table, parameters: PredictionParameters, progress: Progress) -> Result:
    """The probability of a failure within the horizon, for the newest readings.

    The newest failures are held back, with all that came near them, to see what a model of the earlier ones is worth.
    The newest readings, of which nobody knows yet, are judged by a model that has learnt from all failures. No step's
    probability comes from a model that had learnt from it.

    Raises:
        CannotAnalyse: failures are missing, or readings before them.

    """
    if not parameters.failures:
        raise CannotAnalyse(
            "no recorded failures: give the moments at which the device failed as parameters.failures, "
            'for example {"failures": ["2026-01-05T08:30:00Z", "2026-01-19T17:00:00Z"], "horizon_hours": 24}'
        )
    horizon = timedelta(hours=parameters.horizon_hours)
    progress(5, "Preparing features")
    known = examples(readings.frame(table), parameters.failures, horizon)
    _enough(known, len(parameters.failures))
    progress(20, "Testing on the newest failures")
    accuracy, unseen = _test(model_name, known, horizon, parameters.seed)
    progress(70, f"Fitting {model_name} on all failures")
    model = _fitted(model_name, known, known.told, parameters.seed)
    unseen[~known.told] = _probability(model, known.features[~known.told])
    shown = np.flatnonzero(np.isfinite(unseen))
    newest = [
        {"timestamp": rfc3339(known.ends[i]), "failure_probability": float(unseen[i])}
        for i in shown[-MAX_PROBABILITIES:].tolist()
    ]
    progress(85, "Asking what the probability rests on")
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
            "probabilities_left_out": max(0, len(shown) - MAX_PROBABILITIES),
        },
    }
    return Result(results, accuracy)


def _enough(known: Examples, given: int) -> None:
    if len(known.failures) < MIN_FAILURES:
        raise CannotAnalyse(
            f"{len(known.failures)} of the {given} recorded failures lie within the readings, and at least "
            f"{MIN_FAILURES} are needed; choose days that hold more of them"
        )
    if known.told.sum() < MIN_STEPS or not (known.fails & known.told).any() or known.fails[known.told].all():
        raise CannotAnalyse(
            f"{known.told.sum()} steps of readings, {known.fails.sum()} of them shortly before a failure, are too few"
            f" to learn from: {MIN_STEPS} are needed, with quiet times among them; choose more days, or a shorter"
            " horizon_hours"
        )


def _fitted(model_name: str, known: Examples, rows: Flags, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier  # noqa: PLC0415 - a second to load

    # No class weights: they spoil the probabilities, which are what is asked for.
    if model_name == "random_forest":
        model: Any = RandomForestClassifier(n_estimators=200, min_samples_leaf=5, random_state=seed, n_jobs=1)
    else:
        model = HistGradientBoostingClassifier(
            max_iter=150, learning_rate=0.06, min_samples_leaf=10, early_stopping=False, random_state=seed
        )
    return model.fit(known.features[rows].to_numpy(), known.fails[rows])


def _probability(model: Any, features: pd.DataFrame) -> Vector:
    found: Vector = model.predict_proba(features.to_numpy())[:, list(model.classes_).index(True)]
    return found


def split(known: Examples, horizon: timedelta) -> tuple[Flags, Flags]:
    """Steps to learn from, and steps to judge by: those around the newest failures.

    The cut lies midway between two failures. No label before it looks beyond it, and no feature after it looks back
    over it, so a horizon is left out on either side.
    """
    held_back = max(1, round(HELD_BACK * len(known.failures)))
    last, first = known.failures[-held_back - 1], known.failures[-held_back]
    cut = last + (first - last) / 2
    return known.told & np.asarray(known.ends + horizon <= cut), known.told & np.asarray(known.ends - horizon >= cut)


def _test(model_name: str, known: Examples, horizon: timedelta, seed: int) -> tuple[dict[str, Any], Vector]:
    """What a model of the earlier failures is worth on the newest, and its probabilities (NaN elsewhere)."""
    from sklearn.metrics import average_precision_score, brier_score_loss  # noqa: PLC0415

    names = ("pr_auc", "precision", "recall", "f1_score", "brier", "brier_skill", "failures_found", "false_alarm_share")
    accuracy: dict[str, Any] = dict.fromkeys(names)
    unseen = np.full(len(known.ends), np.nan)
    learnt, judged = split(known, horizon)
    for rows, what in ((learnt, "to learn from"), (judged, "to judge by")):
        if not known.fails[rows].any() or known.fails[rows].all():
            reason = (
                f"with the newest failures held back, the steps left {what} do not hold both quiet times and failures"
            )
            return {**accuracy, "reason": f"{reason}; more failures, further apart, would tell"}, unseen
    threshold = _threshold(model_name, known, learnt, seed)
    probability = _probability(_fitted(model_name, known, learnt, seed), known.features[judged])
    unseen[judged] = probability
    fails = known.fails[judged]
    warned = probability >= threshold
    hits = int((warned & fails).sum())
    usual = known.fails[learnt].mean()
    brier = float(brier_score_loss(fails, probability))
    without = float(np.mean((fails - usual) ** 2))
    ends = known.ends[judged]
    held_back = [f for f in known.failures if ((ends < f) & (ends >= f - horizon)).any()]
    return {
        "pr_auc": float(average_precision_score(fails, probability)),
        "base_rate": float(fails.mean()),
        "precision": hits / int(warned.sum()) if warned.any() else None,
        "recall": hits / int(fails.sum()),
        "f1_score": 2 * hits / int(warned.sum() + fails.sum()),
        "brier": brier,
        "brier_skill": 1 - brier / without if without else None,
        "threshold": threshold,
        "failures_tested": len(held_back),
        "failures_found": sum(bool((warned & (ends < f) & (ends >= f - horizon)).any()) for f in held_back),
        "false_alarm_share": float(warned[~fails].mean()),
        "beats_baseline": brier < without,
        "baseline": "the share of steps before a failure, as the probability at all times",
    }, unseen


def _threshold(model_name: str, known: Examples, learnt: Flags, seed: int) -> float:
    """The probability from which to warn: best F1 on thirds of the time that were held back in turn; else a half."""
    at = np.flatnonzero(learnt)
    found = np.full(len(learnt), np.nan)
    edges = np.linspace(0, len(at), 4).astype(int)
    for a, b in pairwise(edges):
        fitted = learnt.copy()
        fitted[at[max(0, a - 24) : b + 24]] = False
        if known.fails[fitted].any() and not known.fails[fitted].all():
            block = at[a:b]
            found[block] = _probability(_fitted(model_name, known, fitted, seed), known.features.iloc[block])
    there = np.isfinite(found)
    fails = known.fails[there]
    if not fails.any():
        return 0.5
    tried = np.linspace(0.05, 0.95, 19)
    f1 = [2 * ((found[there] >= t) & fails).sum() / ((found[there] >= t).sum() + fails.sum()) for t in tried]
    return float(tried[int(np.argmax(f1))])


def _drivers(model: Any, known: Examples, seed: int) -> list[dict[str, Any]]:
    """The channels without which the model would be the most wrong: shuffled, they cost this share of the Brier score.

    All features of a channel are shuffled together, since any one of them can stand in for another.
    """
    rows = np.flatnonzero(known.told)
    rows = rows[:: max(1, len(rows) // 1_000)]
    features, fails = known.features.iloc[rows], known.fails[rows]
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    right = np.mean((_probability(model, features) - fails) ** 2)
    cost = {}
    for channel in dict.fromkeys(known.channels):
        changed = features.copy()
        its = [name for name, of in zip(features.columns, known.channels, strict=True) if of == channel]
        changed[its] = features[its].to_numpy()[shuffled]
        cost[channel] = max(0.0, float(np.mean((_probability(model, changed) - fails) ** 2) - right))
    total = sum(cost.values())
    strongest = sorted(cost, key=lambda channel: -cost[channel])[:MAX_DRIVERS]
    return [{"metric": channel, "share": cost[channel] / total} for channel in strongest if cost[channel] > 0]
