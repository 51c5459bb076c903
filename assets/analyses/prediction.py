"""Failure prediction: the probability that a device fails within the horizon, learnt from recorded failures."""

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from assets.analyses.context import DeviceContext
from assets.analyses.failure_labels import labels_of
from assets.analyses.fitted_prediction import CURVE, LIFE_FEATURES, NOTHING_TO_JUDGE, FittedPrediction, fit
from assets.analyses.learnt_lives import learnt
from assets.analyses.parameters import PredictionParameters
from assets.analyses.prognostics import remaining_life
from assets.analyses.prognostics.backtest import warning_of
from assets.analyses.prognostics.features import Features, features
from assets.analyses.prognostics.steps import Steps, steps_of
from assets.analyses.result import CannotAnalyse, Progress, Result
from storage.arrays import Floats
from storage.times import rfc3339

MAX_PROBABILITIES = 500


def predict(
    model_name: str, table: pa.Table, parameters: PredictionParameters, context: DeviceContext, progress: Progress
) -> Result:
    """The probability of a failure within the horizon, for the newest steps of a device's dataset rows.

    No probability comes from a model that was fitted on its step. A kept model judges fresh readings, unless the device
    has failed since it was fitted.

    Raises:
        CannotAnalyse: there are too few failures, or too few readings.

    """
    progress(5, "Preparing features")
    labels = labels_of(table, parameters.failures, context.failures, parameters.label)
    kept = context.kept if isinstance(context.kept, FittedPrediction) else None
    horizon = timedelta(hours=parameters.horizon_hours)
    if kept and (unit := kept.unit(table, labels)):
        fitted, own_failures, steps = kept, len(unit.failures), steps_of([unit], kept.step)
    else:
        found = learnt(table, labels, parameters, context, horizon)
        fitted = fit(model_name, found, parameters, horizon, progress)
        own_failures, steps = len(found.failures), found.steps.of_unit(0)
    progress(90, "Judging the newest readings")
    known, probabilities = fitted.features_and_probabilities(steps)
    judged = np.flatnonzero(np.isfinite(probabilities))
    newest = [
        {"timestamp": rfc3339(steps.ends[i]), "failure_probability": float(probabilities[i])}
        for i in judged[-MAX_PROBABILITIES:].tolist()
    ]
    if not newest:
        raise CannotAnalyse(NOTHING_TO_JUDGE)
    now = {
        "failure_probability": newest[-1]["failure_probability"],
        "as_of": newest[-1]["timestamp"],
        "horizon_hours": parameters.horizon_hours,
    }
    age = {"hours_since_repair": float(steps.age[-1])}
    life = _remaining_life(fitted, steps)
    warning = warning_of(fitted.figures)
    results = {
        **fitted.shown,
        **now,
        "probabilities": newest,
        "curve": _curve(fitted, known, probabilities, parameters.horizon_hours),
        "age": age | fitted.shown["age"],
        "remaining_life": life,
        "labels": {"source": labels.source, "column": labels.column, "failures": own_failures},
        "summary": {
            **now,
            **fitted.learnt_from,
            **age,
            "labels_from": labels.source,
            "failures_outside_the_readings": len(labels.failures) - own_failures,
            "remaining_hours": life["hours"],
            "steps": len(steps),
            "probabilities_left_out": max(0, len(judged) - MAX_PROBABILITIES),
            "warning": warning,
        },
        "warning": warning,
    }
    scores = _scores(steps, horizon, probabilities)
    return Result(results, fitted.figures, scores, None if fitted is kept else fitted, fitted.is_fleet)


def _scores(steps: Steps, horizon: timedelta, probabilities: Floats) -> pa.Table:
    """The judged steps with their probabilities, and whether a failure followed, null if not known yet."""
    at = np.isfinite(probabilities)
    times = pa.array(steps.ends[at].as_unit("us")).cast(pa.timestamp("us", tz="UTC"))
    followed = pa.array(steps.fails(horizon)[at], mask=~steps.labelled(horizon)[at])
    return pa.table({"timestamp": times, "failure_probability": probabilities[at], "failure_followed": followed})


def _curve(fitted: FittedPrediction, known: Features, probabilities: Floats, hours: float) -> list[dict[str, Any]]:
    """The probability that the device fails within shorter and longer horizons, from its newest step on.

    A longer horizon is never less probable. The prediction's own probability stays as it is.
    """
    own = float(probabilities[-1])
    if not np.isfinite(own):
        return []
    now = known.frame.iloc[[-1]]
    points = {factor: float(model.probability(now)[0]) for factor, model in fitted.curve.items()} | {1.0: own}
    longer = np.maximum.accumulate([max(points[factor], own) for factor in CURVE if factor >= 1 and factor in points])
    falling = [min(points[factor], own) for factor in reversed(CURVE) if factor < 1 and factor in points]
    values = [*np.minimum.accumulate(falling)[::-1], *longer]
    return [
        {"horizon_hours": factor * hours, "failure_probability": float(value)}
        for factor, value in zip(sorted(points), values, strict=True)
    ]


def _remaining_life(fitted: FittedPrediction, steps: Steps) -> dict[str, Any]:
    """The remaining life at the newest step, and whether the device's current life is unlike the known ones."""
    if fitted.life is None or fitted.ways is None:
        ran = "1 life" if fitted.lives == 1 else f"{fitted.lives} lives"
        more = "record more failures" if fitted.is_fleet else "let it learn from the fleet"
        reason = (
            f"{ran} ran to failure, from a repair or the first reading on; at least {remaining_life.MIN_LIVES} are"
            f" needed. Choose more days, or {more}."
        )
        return {"hours": None, "lower": None, "upper": None, "lives": fitted.lives, "reason": reason}
    frame = features(steps, LIFE_FEATURES).frame
    hours, lower, upper = (float(values[0]) for values in fitted.life.predict(frame.iloc[[-1]]))
    apart = fitted.ways.novelty(frame[steps.life == steps.life[-1]])
    return {
        "hours": hours,
        "lower": lower,
        "upper": upper,
        "share": remaining_life.SHARE,
        "at_least": upper >= fitted.life.limit,
        "max_hours": fitted.life.limit,
        "lives": fitted.lives,
        "novelty": apart,
        "warning": _novelty_warning(apart),
    }


def _novelty_warning(apart: dict[str, Any]) -> str | None:
    if not apart["is_unlike"]:
        return None
    of = f" ({', '.join(apart['metrics'])})" if apart["metrics"] else ""
    return (
        f"The device deviates in a way that none of the known lives did{of}: {apart['score']:.1f} times as far from"
        " them as the furthest of these. The remaining life and the probability may be wrong; inspect the device."
    )
