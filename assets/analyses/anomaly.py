"""Anomaly detection: readings that deviate from the device's usual behaviour, gathered into events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses import feedback, readings
from assets.analyses.context import DeviceContext
from assets.analyses.detector import Detector, fit_detector, times_of
from assets.analyses.event_energy import event_energies
from assets.analyses.events import Event, anomalous, event_of, runs
from assets.analyses.explanations import why
from assets.analyses.features import MAX_HELD_ROWS, Features, features, features_by
from assets.analyses.frozen import MIN_DURATION, frozen_runs
from assets.analyses.label import Label
from assets.analyses.parameters import MIN_TRAINING_ROWS, AnomalyParameters
from assets.analyses.regimes import Fitting, Regime, Regimes, follow_changes, strengths_of
from assets.analyses.request_checks import nothing_left_to_judge
from assets.analyses.result import CannotAnalyse, Progress, Result
from storage.arrays import Floats, Mask
from storage.times import rfc3339

MAX_ANOMALIES = 1_000
MAX_EVENTS = 500
MAX_DRIVERS = 3
MAX_ANOMALOUS_SHARE = 0.25  # of the rows after trained_until; more of them are another way of running, not faults
UNLIKE_TRAINING = (
    "More than a quarter of the readings after trained_until are anomalous: the device has run otherwise than before."
    " If it runs well, choose a later trained_until, or leave it out."
)
MAX_FROZEN = timedelta(days=1)  # frozen channels are reported from here on, whatever was said of shorter ones


@dataclass(frozen=True)
class Judgement:
    """By row: whether it is anomalous, its score from 0 to 1, and its strength together with the next row."""

    flags: Mask
    relative: Floats
    strengths: Floats


def detect(
    model_name: str, table: pa.Table, parameters: AnomalyParameters, context: DeviceContext, progress: Progress
) -> Result:
    """The anomalous rows and events of a device's dataset rows.

    Feedback about earlier events (`context.labels`) moves the threshold, and false alarms are not reported again.

    Raises:
        CannotAnalyse: the rows are too few, no metric changes, or `trained_until` is after the last row.

    """
    progress(5, "Preparing features")
    rows, grid = readings.thinned(table, parameters.metrics)
    frozen = frozen_runs(rows, MAX_HELD_ROWS)
    is_frozen = np.zeros(len(rows), bool)
    for run in frozen:
        is_frozen[run] = True
    times = pd.DatetimeIndex(rows.index)
    of_faults, of_none = (feedback.rows_within(times, context.labels, verdict) for verdict in ("fault", "none"))
    training = _training(rows.index, parameters.trained_until) & ~is_frozen & ~of_faults
    kept = context.kept if isinstance(context.kept, Detector) and context.kept.grid == grid else None
    if kept:
        prepared = features_by(rows, kept.features, context.zone)
        detector, scores = kept, kept.score(prepared, times_of(rows.index))
    else:
        prepared = _prepared(rows, training, context)
        detector, scores = fit_detector(model_name, prepared, training, parameters, progress, grid=grid)
        if prepared.fitted.by_hour:
            # Training rows were compared with the other days only. Events are described as a later job will do it.
            prepared = features_by(rows, prepared.fitted, context.zone)
    regimes = Regimes((Regime(0, prepared, detector, None, None),), strengths_of(detector, scores))
    if parameters.trained_until and not kept:
        fitting = Fitting(model_name, parameters, lambda learnt: features(rows, learnt, context.zone))
        regimes = follow_changes(regimes.all[0], regimes.strengths, training, is_frozen, fitting)
    progress(95, "Gathering events")
    scores, in_change = regimes.strengths, regimes.between
    judged = prepared.judged.copy()
    judged[: detector.warm_up] = False
    strengths = feedback.pair_strengths(np.where(judged, scores, 0.0))
    said = feedback.judged(context.labels, times, strengths, frozen, model_name)
    factor = feedback.learnt_factor(said)
    is_reported = judged & ~(of_none & ~of_faults)
    flags = anomalous(scores > factor, is_reported & ~is_frozen & ~in_change, prepared.window)
    frozen = [run for run in frozen if is_reported[run].any() and _is_longer(times, run, context.labels)]
    changes = [change for change in regimes.changes if is_reported[change].any()]
    relative = _from_0_to_1(scores, factor)
    found = [event_of(run, scores, regimes.of(run.start).prepared.shown) for run in runs(flags)]
    for change in changes:
        found.append(event_of(change, scores, regimes.of(change.start).prepared.shown, "level_change"))
        flags[change] = True
    for run in frozen:
        found.append(Event(run.start, run.stop - 1, run.start, (), "frozen"))
        flags[run] = True
        lasted = (rows.index[run.stop - 1] - rows.index[run.start]) / MIN_DURATION
        relative[run] = lasted / (lasted + 1)
    found.sort(key=lambda event: event.first)
    described = _events(rows, Judgement(flags, relative, strengths), found, regimes, context)
    results = {
        "anomalies": _anomalies(rows, flags, relative, found, regimes),
        "events": described,
        "summary": {
            "rows": len(rows),
            "anomalous_rows": int(flags.sum()),
            "anomalous_share": float(flags.mean()),
            "events": len(found),
            "frozen_events": len(frozen),
            "level_changes": len(changes),
            "anomalies_left_out": max(0, int(flags.sum()) - MAX_ANOMALIES),
            "events_left_out": max(0, len(found) - MAX_EVENTS),
            "trained_rows": int((training & prepared.judged).sum()),
            "rows_not_judged": int((~judged).sum()),
            "step_seconds": prepared.step.total_seconds(),
            "worked_on_means_of_seconds": grid.total_seconds() if grid else None,
            "threshold_factor": factor,
            "rows_of_false_alarms": int((of_none & ~of_faults).sum()),
        },
        "warning": UNLIKE_TRAINING if _is_unlike(flags & ~is_frozen & ~in_change, training) else None,
        "looked_at": list(prepared.shown.columns),
        "left_out": prepared.left_out,
    }
    scored = pa.table({
        "timestamp": pa.array(times.as_unit("us"), pa.timestamp("us", tz="UTC")),
        "score": pa.array(relative, pa.float32()),
        "is_anomaly": pa.array(flags, pa.bool_()),
        "is_judged": pa.array(judged, pa.bool_()),
    })  # fmt: skip
    return Result(results, feedback.accuracy(said), scored, None if kept or regimes.changes else detector)


def _prepared(rows: pd.DataFrame, training: Mask, context: DeviceContext) -> Features:
    if training.sum() < MIN_TRAINING_ROWS:
        there_are = "There is 1 row" if training.sum() == 1 else f"There are {training.sum()} rows"
        raise CannotAnalyse(
            f"{there_are} to learn from; at least {MIN_TRAINING_ROWS} are needed. Choose more days"
            f"{'.' if training.all() else ', or a later trained_until.'}"
        )
    prepared = features(rows, training, context.zone)
    if not prepared.about:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in prepared.left_out.items())
        raise CannotAnalyse(f"No metric is suitable for an anomaly analysis ({reasons}).")
    return prepared


def _is_unlike(flags: Mask, training: Mask) -> bool:
    later = flags[int(np.flatnonzero(training)[-1]) + 1 :]
    return len(later) > 0 and bool(later.mean() > MAX_ANOMALOUS_SHARE)


def _is_longer(times: pd.DatetimeIndex, run: slice, labels: Sequence[Label]) -> bool:
    """Whether channels were frozen for longer than each time that was called a false alarm."""
    said = [label.end - label.start for label in labels if (label.kind, label.verdict) == ("frozen", "none")]
    lasted: timedelta = (times[run.stop - 1] - times[run.start]).to_pytimedelta()
    return lasted > min(max(said, default=timedelta(0)), MAX_FROZEN)


def _training(index: "pd.Index[Any]", until: datetime | None) -> Mask:
    if until is None:
        return np.ones(len(index), bool)
    if pd.Timestamp(until) > index[-1]:
        raise CannotAnalyse(nothing_left_to_judge(until, index[-1]))
    return np.asarray(index < pd.Timestamp(until))


def _from_0_to_1(scores: Floats, limit: float) -> Floats:
    """The scores with 0.5 at the threshold, and towards 1 the further they are above it."""
    lowest = float(np.min(scores))
    above = scores - lowest
    reach = max(limit - lowest, 1e-12)
    relative: Floats = above / (above + reach)
    return relative


def _anomalies(
    rows: pd.DataFrame, flags: Mask, relative: Floats, found: list[Event], regimes: Regimes
) -> list[dict[str, Any]]:
    """The strangest anomalous rows in the order of time; `value` is that of the metric that shows the event."""
    shown_by = {i: _metric(event, rows, regimes) for event in found for i in range(event.first, event.last + 1)}
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
    rows: pd.DataFrame, judgement: Judgement, found: list[Event], regimes: Regimes, context: DeviceContext
) -> list[dict[str, Any]]:
    """The strongest events in the order of time."""
    flags, relative, strengths = judgement.flags, judgement.relative, judgement.strengths
    strongest = sorted(found, key=lambda event: -relative[event.peak])[:MAX_EVENTS]
    shown, index = sorted(strongest, key=lambda event: event.first), rows.index
    return [
        {
            "start": rfc3339(index[event.first]),
            "end": rfc3339(index[event.last]),
            "peak": rfc3339(index[event.peak]),
            "kind": event.kind,
            "metric": _metric(event, rows, regimes),
            "shown_by": event.features[0] if event.features else "all metrics",
            "why": why(event, rows, regimes.of(event.first).prepared),
            "drivers": _drivers(event, regimes.of(event.first).prepared),
            "score": relative[event.peak],
            "exceeds": float(strengths[event.first : max(event.last, event.first + 1)].max())
            if event.features
            else None,
            "points": int(flags[event.first : event.last + 1].sum()),
            "energy": energy,
        }
        for event, energy in zip(shown, event_energies(shown, times_of(index), context), strict=True)
    ]


def _drivers(event: Event, prepared: Features) -> list[dict[str, Any]]:
    return [
        {
            "metric": prepared.about[name].metric,
            "shown_by": name,
            "usual_spreads": float(prepared.shown[name].iloc[event.first : event.last + 1].abs().median()),
        }
        for name in event.features[:MAX_DRIVERS]
    ]


def _metric(event: Event, rows: pd.DataFrame, regimes: Regimes) -> str:
    """The metric that shows an event; the first one of those that are frozen."""
    if not event.features:
        return str(rows.columns[0])
    return regimes.of(event.first).prepared.about[event.features[0]].metric
