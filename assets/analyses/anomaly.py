"""Anomaly detection: readings that deviate from the device's usual behaviour, gathered into events."""

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses import readings
from assets.analyses.events import BLOCKS, Event, events, smoothed, threshold
from assets.analyses.features import Features, features
from assets.analyses.parameters import AnomalyParameters
from assets.analyses.result import CannotAnalyse, Progress, Result
from assets.analyses.scorers import SCORERS, excess
from storage.arrays import Floats, Indices, Mask
from storage.times import rfc3339

MIN_TRAINING_ROWS = 100
MAX_ANOMALIES = 1_000
MAX_EVENTS = 500
NO_LABELS = "the readings have no labels that say which of them are faults"


def detect(model_name: str, table: pa.Table, parameters: AnomalyParameters, progress: Progress) -> Result:
    """The anomalous rows and events of a device's dataset rows.

    Raises:
        CannotAnalyse: the rows are too few, or no metric changes.

    """
    progress(5, "Preparing features")
    rows, grid = readings.thinned(readings.frame(table, parameters.metrics))
    training = _training(rows.index, parameters.trained_until)
    if training.sum() < MIN_TRAINING_ROWS:
        raise CannotAnalyse(
            f"There are {training.sum()} rows to learn from; at least {MIN_TRAINING_ROWS} are needed. "
            "Choose more days, or a later trained_until."
        )
    prepared = features(rows, training)
    if not prepared.metric:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in prepared.left_out.items())
        raise CannotAnalyse(f"No metric is suitable for an anomaly analysis ({reasons}).")
    scores, limit = scores_and_limit(model_name, prepared, training, parameters.seed, progress)
    limit = _moved(limit, scores, parameters.strictness)
    flags = scores > limit
    progress(95, "Gathering events")
    relative = _from_0_to_1(scores, limit)
    channels = prepared.all
    found = events(flags, scores, channels.to_numpy(), list(channels.columns))
    results = {
        "anomalies": _anomalies(rows, flags, relative, found, prepared.metric),
        "events": _events(rows.index, flags, relative, found, prepared.metric),
        "summary": {
            "rows": len(rows),
            "anomalous_rows": int(flags.sum()),
            "anomalous_share": float(flags.mean()),
            "events": len(found),
            "anomalies_left_out": max(0, int(flags.sum()) - MAX_ANOMALIES),
            "events_left_out": max(0, len(found) - MAX_EVENTS),
            "trained_rows": int(training.sum()),
            "step_seconds": readings.cadence(rows.index).total_seconds(),
            "worked_on_means_of_seconds": grid.total_seconds() if grid else None,
        },
        "looked_at": list(channels.columns),
        "left_out": prepared.left_out,
    }
    accuracy = dict.fromkeys(("precision", "recall", "f1_score"))
    return Result(results, {**accuracy, "reason": NO_LABELS})


def _training(index: "pd.Index[Any]", until: datetime | None) -> Mask:
    return np.ones(len(index), bool) if until is None else np.asarray(index < pd.Timestamp(until))


def scores_and_limit(
    model_name: str, prepared: Features, training: Mask, seed: int, progress: Progress
) -> tuple[Floats, float]:
    """The smoothed scores of all rows, and the threshold.

    Every training row is scored by a model that was fitted without it, as in cross-validation: the training rows are
    split into consecutive blocks, and each block is scored by a model of the others.
    """
    scores = np.empty(len(training))
    held_out = []
    blocks = np.array_split(np.flatnonzero(training), BLOCKS)
    for i, block in enumerate(blocks):
        progress(10 + 80 * i / (len(blocks) + 1), f"Fitting {i + 1} of {len(blocks) + 1}")
        fitted = training.copy()
        fitted[block] = False
        scores[block] = _scores(model_name, prepared, fitted, block, seed)
        held_out.append(smoothed(scores[block], prepared.step))
    if not training.all():
        others = np.flatnonzero(~training)
        scores[others] = _scores(model_name, prepared, training, others, seed)
    return smoothed(scores, prepared.step), threshold(np.concatenate(held_out), trusted=not training.all())


def _scores(model_name: str, prepared: Features, fitted: Mask, rows: Indices, seed: int) -> Floats:
    """The scores of `rows` by a model of the `fitted` rows."""
    scorer = SCORERS[model_name](seed)
    values, channels = prepared.values.to_numpy(), prepared.all.to_numpy()
    scores = scorer.OUTSIDE * excess(channels[fitted], channels[rows])
    if values.shape[1]:
        scorer.fit(values[fitted])
        scores += scorer.score(values[rows])
    return scores


def _moved(limit: float, scores: Floats, strictness: float) -> float:
    """The threshold, `strictness` times as far from the median score."""
    median = float(np.median(scores))
    return median + strictness * (limit - median)


def _from_0_to_1(scores: Floats, limit: float) -> Floats:
    """The scores with 0.5 at the threshold, and towards 1 the further they are above it."""
    lowest = float(np.min(scores))
    above = scores - lowest
    reach = max(limit - lowest, 1e-12)
    relative: Floats = above / (above + reach)
    return relative


def _anomalies(
    rows: pd.DataFrame, flags: Mask, relative: Floats, found: list[Event], metric: dict[str, str]
) -> list[dict[str, Any]]:
    """The strangest anomalous rows in the order of time; `value` is that of the metric that shows the event."""
    shown_by = {i: metric[event.feature] for event in found for i in range(event.first, event.last + 1)}
    flagged = np.flatnonzero(flags)
    strangest = np.sort(flagged[np.argsort(-relative[flagged], kind="stable")[:MAX_ANOMALIES]])
    return [
        {
            "timestamp": rfc3339(rows.index[i]),
            "metric": shown_by[i],
            "value": rows[shown_by[i]].iloc[i] if shown_by[i] in rows else None,
            "is_anomaly": True,
            "anomaly_score": relative[i],
        }
        for i in strangest.tolist()
    ]


def _events(
    index: "pd.Index[Any]", flags: Mask, relative: Floats, found: list[Event], metric: dict[str, str]
) -> list[dict[str, Any]]:
    """The strongest events in the order of time."""
    strongest = sorted(found, key=lambda event: -relative[event.peak])[:MAX_EVENTS]
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
