"""Anomaly detection: readings that deviate from how the device behaved, gathered into events."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses import AnomalyParameters, CannotAnalyse, Progress, Result, readings
from assets.analyses.events import BLOCKS, Event, Flags, events, smoothed, threshold
from assets.analyses.features import Features, features
from assets.analyses.scorers import SCORERS, Vector, beyond
from storage.times import rfc3339

Rows = np.ndarray[tuple[int], np.dtype[np.intp]]

MIN_TRAINED = 100  # rows: five blocks of fewer are no picture of what is usual
MAX_ANOMALIES = 1_000
MAX_EVENTS = 500
NO_LABELS = "the readings carry no labels of what was a fault"


def detect(model_name: str, table: pa.Table, parameters: AnomalyParameters, progress: Progress) -> Result:
    """Anomalies and events of a device's rows.

    Raises:
        CannotAnalyse: too few rows, or none that change.

    """
    progress(5, "Preparing features")
    rows, grid = readings.thinned(readings.frame(table, parameters.metrics))
    training = _training(rows.index, parameters.trained_until)
    if training.sum() < MIN_TRAINED:
        raise CannotAnalyse(
            f"{training.sum()} rows are too few to learn from, {MIN_TRAINED} are needed; "
            "choose more days, or a later trained_until"
        )
    found = features(rows, training)
    if not found.metric:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.left_out.items())
        raise CannotAnalyse(f"no metric carries an anomaly analysis ({reasons})")
    scores, limit = scores_and_limit(model_name, found, training, parameters.seed, progress)
    limit = _stricter(scores, limit, parameters.strictness)
    flags = scores > limit
    progress(95, "Gathering events")
    relative = _from_0_to_1(scores, limit)
    gathered = events(flags, scores, found.all.to_numpy(), list(found.all.columns))
    results = {
        "anomalies": _anomalies(rows, flags, relative, gathered, found.metric),
        "events": _events(rows.index, flags, relative, gathered, found.metric),
        "summary": {
            "rows": len(rows),
            "anomalous_rows": int(flags.sum()),
            "anomalous_share": float(flags.mean()),
            "events": len(gathered),
            "anomalies_left_out": max(0, int(flags.sum()) - MAX_ANOMALIES),
            "events_left_out": max(0, len(gathered) - MAX_EVENTS),
            "trained_rows": int(training.sum()),
            "step_seconds": readings.cadence(rows.index).total_seconds(),
            "worked_on_means_of_seconds": grid.total_seconds() if grid else None,
        },
        "looked_at": list(found.all.columns),
        "left_out": found.left_out,
    }
    accuracy = dict.fromkeys(("precision", "recall", "f1_score"))
    return Result(results, {**accuracy, "reason": NO_LABELS})


def _training(index: "pd.Index[Any]", until: datetime | None) -> Flags:
    return np.ones(len(index), bool) if until is None else np.asarray(index < pd.Timestamp(until))


def scores_and_limit(
    model_name: str, found: Features, training: Flags, seed: int, progress: Progress
) -> tuple[Vector, float]:
    """Smoothed scores of all rows and the threshold; trained rows are scored by models that had not seen them."""
    scores = np.empty(len(training))
    held_back = []
    blocks = list(_blocks(training))
    for i, block in enumerate(blocks):
        progress(10 + 80 * i / (len(blocks) + 1), f"Fitting {i + 1} of {len(blocks) + 1}")
        fitted = training.copy()
        fitted[block] = False
        scores[block] = _scored(model_name, found, fitted, block, seed)
        held_back.append(smoothed(scores[block], found.step))
    if not training.all():
        judged = np.flatnonzero(~training)
        scores[judged] = _scored(model_name, found, training, judged, seed)
    return smoothed(scores, found.step), threshold(np.concatenate(held_back), trusted=not training.all())


def _scored(model_name: str, found: Features, fitted: Flags, judged: Rows, seed: int) -> Vector:
    scorer = SCORERS[model_name](seed)
    values, everything = found.values.to_numpy(), found.all.to_numpy()
    scores = scorer.OUTSIDE * beyond(everything[fitted], everything[judged])
    if values.shape[1]:
        scorer.fit(values[fitted])
        scores += scorer.score(values[judged])
    return scores


def _blocks(training: Flags) -> Iterator[Rows]:
    yield from np.array_split(np.flatnonzero(training), BLOCKS)


def _stricter(scores: Vector, limit: float, strictness: float) -> float:
    """The threshold so many times as far from what is usual."""
    middle = float(np.median(scores))
    return middle + strictness * (limit - middle)


def _from_0_to_1(scores: Vector, limit: float) -> Vector:
    """0.5 at the threshold, towards 1 the further beyond."""
    lowest = float(np.min(scores))
    above = scores - lowest
    reach = max(limit - lowest, 1e-12)
    share: Vector = above / (above + reach)
    return share


def _anomalies(
    rows: pd.DataFrame, flags: Flags, relative: Vector, gathered: list[Event], metric: dict[str, str]
) -> list[dict[str, Any]]:
    """The strangest anomalous rows in the order of time; `value` is of the metric that showed the event."""
    shown = {i: metric[event.feature] for event in gathered for i in range(event.first, event.last + 1)}
    at = np.flatnonzero(flags)
    at = np.sort(at[np.argsort(-relative[at], kind="stable")[:MAX_ANOMALIES]])
    return [
        {
            "timestamp": rfc3339(rows.index[i]),
            "metric": shown[i],
            "value": rows[shown[i]].iloc[i] if shown[i] in rows else None,
            "is_anomaly": True,
            "anomaly_score": relative[i],
        }
        for i in at.tolist()
    ]


def _events(
    index: "pd.Index[Any]", flags: Flags, relative: Vector, gathered: list[Event], metric: dict[str, str]
) -> list[dict[str, Any]]:
    strongest = sorted(gathered, key=lambda event: -relative[event.peak])[:MAX_EVENTS]
    return [
        {
            "start": rfc3339(index[event.first]),
            "end": rfc3339(index[event.last]),
            "peak": rfc3339(index[event.peak]),
            "metric": metric[event.feature],
            "shown_by": event.feature,
            "score": relative[event.peak],
            "points": int(flags[event.first : event.last + 1].sum()),
        }
        for event in sorted(strongest, key=lambda event: event.first)
    ]
