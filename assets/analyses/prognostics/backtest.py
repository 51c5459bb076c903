"""The test on the past: features are chosen with the older failures, and a model of these foretells the newest."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from assets.analyses.prognostics.classifiers import fitted
from assets.analyses.prognostics.features import FEATURE_SETS, Features, features
from assets.analyses.prognostics.steps import Steps
from storage.arrays import Floats, Indices, Mask

HELD_OUT_SHARE = 0.3  # of the failures, the newest
FOLDS = 3
MIN_JUDGED = 2  # failures held out; one says nothing
MIN_BETTER = 0.02  # of the Brier score: so much better are further features, or they are left out
RELIABILITY_EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
FIGURES = ("pr_auc", "precision", "recall", "f1_score", "brier", "brier_skill", "failures_found", "false_alarm_share")
TOO_FEW = "too few to judge"


@dataclass(frozen=True)
class Choice:
    """The features that did best on the past, from which probability to warn, and the Brier score of each set."""

    parts: tuple[str, ...]
    features: Features
    threshold: float
    tried: list[dict[str, Any]]


@dataclass(frozen=True)
class Tested:
    """The figures of the test, and the probabilities that it gave; NaN at steps that were not tested."""

    figures: dict[str, Any]
    probabilities: Floats
    reliability: list[dict[str, Any]]


def split(steps: Steps, horizon: timedelta) -> tuple[Mask, Mask]:
    """The steps to learn from, and the steps around the newest failures to test on.

    They are cut midway between two failures. A horizon on either side of the cut is left out: labels look that far
    ahead, and features that far back.
    """
    failed = steps.failures
    held_out = max(1, round(HELD_OUT_SHARE * len(failed)), min(MIN_JUDGED, len(failed) - MIN_JUDGED))
    first = _first_held_out(failed, len(failed) - held_out, horizon)
    cut = failed[first - 1] + (failed[first] - failed[first - 1]) / 2
    ends, labelled = steps.ends, steps.labelled(horizon)
    return labelled & np.asarray(ends + horizon <= cut), labelled & np.asarray(ends - horizon >= cut)


def _first_held_out(failed: pd.DatetimeIndex, wanted: int, horizon: timedelta) -> int:
    """The failure that is nearest to the wanted one, with a gap of more than two horizons before it if there is one.

    Several devices may fail at the same time.
    """
    wide = np.flatnonzero(np.asarray(failed[1:] - failed[:-1] > pd.Timedelta(2 * horizon))) + 1
    return int(wide[np.argmin(np.abs(wide - wanted))]) if len(wide) else wanted


def choose(model_name: str, steps: Steps, fails: Mask, rows: Mask, seed: int) -> Choice:
    """The feature set with the best Brier score in a cross-validation over blocks of lives, within these rows.

    A larger set must be clearly better than the sets before it. The threshold is the one with the best F1 score in the
    same cross-validation, one half if nothing can be judged.
    """
    best: Choice | None = None
    best_brier = np.inf
    tried: list[dict[str, Any]] = []
    folds = _folds(steps, fails, rows)
    for parts in FEATURE_SETS:
        known = features(steps, parts)
        if best is not None and len(known.frame.columns) == len(best.features.frame.columns):
            continue  # one metric has no pairs
        guessed = np.full(len(steps), np.nan)
        for fold in folds:
            model = fitted(model_name, known, fails, rows & ~fold, seed, quick=True)
            guessed[fold] = model.probability(known.frame[fold])
        judged = np.isfinite(guessed)
        brier = float(np.mean((guessed[judged] - fails[judged]) ** 2)) if judged.any() else np.nan
        tried.append({"features": list(parts), "brier": brier})
        if best is None or brier < best_brier * (1 - MIN_BETTER):
            best = Choice(parts, known, _threshold(fails[judged], guessed[judged]), tried)
            best_brier = brier if np.isfinite(brier) else best_brier
    assert best is not None  # noqa: S101 - there is at least one set
    return best


def _folds(steps: Steps, fails: Mask, rows: Mask) -> list[Mask]:
    """Blocks of lives, ascending in time, such that the other lives have both outcomes."""
    first = {int(life): steps.ends[np.flatnonzero(steps.life == life)[0]] for life in np.unique(steps.life[rows])}
    lives = sorted(first, key=lambda life: first[life])
    blocks = [rows & np.isin(steps.life, part) for part in np.array_split(lives, min(FOLDS, len(lives)))]
    return [block for block in blocks if block.any() and _has_both(fails[rows & ~block])]


def _has_both(fails: Mask) -> bool:
    return bool(fails.any() and not fails.all())


def _threshold(fails: Mask, guessed: Floats) -> float:
    if not fails.any():
        return 0.5
    thresholds = np.linspace(0.05, 0.95, 19)
    f1 = [2 * ((guessed >= t) & fails).sum() / ((guessed >= t).sum() + fails.sum()) for t in thresholds]
    return float(thresholds[int(np.argmax(f1))])


def backtest(
    model_name: str, steps: Steps, horizon: timedelta, seed: int, progress: Callable[[str], None]
) -> tuple[Choice, Tested]:
    """Choose features with the older failures, learn from them, and test on the newest failures.

    If that is not possible, the features are chosen with all labelled steps, the figures are None, and `reason` says
    why.
    """
    fails, labelled = steps.fails(horizon), steps.labelled(horizon)
    training, test = split(steps, horizon)
    if reason := _cannot_be_tested(steps, fails, training, test):
        progress("Choosing features")
        choice = choose(model_name, steps, fails, labelled, seed)
        figures = {**dict.fromkeys(FIGURES), "reason": reason}
        return choice, Tested(figures, np.full(len(steps), np.nan), [])
    progress("Choosing features with the older failures")
    choice = choose(model_name, steps, fails, training, seed)
    progress("Testing on the newest failures")
    model = fitted(model_name, choice.features, fails, training, seed)
    probabilities = np.full(len(steps), np.nan)
    probabilities[test] = model.probability(choice.features.frame[test])
    judged = np.unique(steps.life[test & fails])
    if len(judged) < MIN_JUDGED:
        figures = {
            **dict.fromkeys(FIGURES),
            "failures_tested": len(judged),
            "reason": f"{TOO_FEW}: {len(judged)} failure was held out to test on, and one says nothing. At least"
            f" {MIN_JUDGED} are needed, and {MIN_JUDGED} more to learn from; there are {len(steps.failed_lives)}",
        }
        return choice, Tested(figures, probabilities, [])
    true, guessed = fails[test], probabilities[test]
    figures = _figures(true, guessed, steps.life[test], float(fails[training].mean()), choice.threshold)
    return choice, Tested(figures, probabilities, reliability(true, guessed))


def _cannot_be_tested(steps: Steps, fails: Mask, training: Mask, test: Mask) -> str | None:
    for rows, purpose in ((training, "to learn from"), (test, "to test on")):
        if not _has_both(fails[rows]):
            return (
                f"with the newest failures held out, the steps {purpose} do not include both quiet times and times"
                f" before a failure; give more failures, further apart. There are {len(steps.failed_lives)}"
            )
    return None


def _figures(true: Mask, guessed: Floats, lives: Indices, usual: float, threshold: float) -> dict[str, Any]:
    """The figures of a test; `lives` are those of the steps, and `usual` is the share of steps before a failure.

    The Brier score is the mean squared error of the probabilities; its skill is relative to that share at all times
    (G. W. Brier, 1950).
    """
    from sklearn.metrics import average_precision_score  # noqa: PLC0415 - a second to load

    warned = guessed >= threshold
    hits = int((warned & true).sum())
    brier, of_usual = float(np.mean((guessed - true) ** 2)), float(np.mean((usual - true) ** 2))
    return {
        "pr_auc": float(average_precision_score(true, guessed)),
        "base_rate": float(true.mean()),
        "precision": hits / int(warned.sum()) if warned.any() else None,
        "recall": hits / int(true.sum()),
        "f1_score": 2 * hits / int(warned.sum() + true.sum()),
        "brier": brier,
        "brier_skill": 1 - brier / of_usual if of_usual else None,
        "threshold": threshold,
        "failures_tested": len(np.unique(lives[true])),
        "failures_found": len(np.unique(lives[warned & true])),
        "false_alarm_share": float(warned[~true].mean()),
        "beats_baseline": brier < of_usual,
        "baseline": "the share of steps before a failure, as the probability at all times",
    }


def reliability(fails: Mask, probabilities: Floats) -> list[dict[str, Any]]:
    """How often a failure followed where the probability was so high; ranges without steps are left out."""
    found = []
    for low, high in pairwise(RELIABILITY_EDGES):
        rows = (probabilities >= low) & ((probabilities < high) | (high == 1))
        if rows.any():
            found.append({
                "from": low,
                "to": high,
                "steps": int(rows.sum()),
                "probability": float(probabilities[rows].mean()),
                "failed": float(fails[rows].mean()),
            })  # fmt: skip
    return found


def warning_of(figures: dict[str, Any]) -> str | None:
    """What to do if the model could not be judged, or was worse than chance."""
    skill = figures["brier_skill"]
    if reason := figures.get("reason"):
        return f"How good these probabilities are is not known: {reason}. Do not plan with them."
    if skill is None or skill >= 0:
        return None
    share = figures["base_rate"]
    return (
        f"In the test on the newest failures these probabilities were worse than chance (skill {skill:.2f}): the plain"
        f" share of times before a failure, {share:.0%}, was closer. Do not plan with them."
    )
