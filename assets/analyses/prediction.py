"""Failure prediction: the probability that a device fails within the horizon, learnt from recorded failures."""

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from assets.analyses.context import DeviceContext
from assets.analyses.learnt_lives import Learnt, learnt
from assets.analyses.parameters import PredictionParameters
from assets.analyses.prognostics import remaining_life
from assets.analyses.prognostics.backtest import HELD_OUT_SHARE, Choice, backtest, warning_of
from assets.analyses.prognostics.classifiers import fitted, probability
from assets.analyses.prognostics.drivers import drivers
from assets.analyses.prognostics.features import features
from assets.analyses.prognostics.novelty import KnownWays
from assets.analyses.result import CannotAnalyse, Progress, Result
from storage.arrays import Floats, Mask
from storage.times import rfc3339

MIN_STEPS = 48
MAX_PROBABILITIES = 500
# Horizons of the curve, in horizons of the prediction.
CURVE = (0.25, 0.5, 1.0, 2.0)
# Deviations from the baseline tell how far a life has come, whatever the classifier does best with.
LIFE_FEATURES = ("values", "movement")


def predict(
    model_name: str, table: pa.Table, parameters: PredictionParameters, context: DeviceContext, progress: Progress
) -> Result:
    """The probability of a failure within the horizon, for the newest steps of a device's dataset rows.

    A first model learns from the older failures and is tested on the newest. A second model learns from all failures
    and judges the newest steps, whose outcome is not known yet. No probability comes from a model that was fitted on
    its step.

    Raises:
        CannotAnalyse: there are too few failures, or too few readings.

    """
    horizon = timedelta(hours=parameters.horizon_hours)
    progress(5, "Preparing features")
    found = learnt(table, parameters, context, horizon)
    steps, seed = found.steps, parameters.seed
    fails, labelled = steps.fails(horizon), steps.labelled(horizon)
    _check_enough(fails[labelled])
    choice, tested = backtest(model_name, steps, horizon, seed, lambda message: progress(20, message))
    progress(60, f"Fitting {model_name} on all failures")
    model = fitted(model_name, choice.features, fails, labelled, seed)
    probabilities = tested.probabilities.copy()
    if not labelled.all():
        probabilities[~labelled] = probability(model, choice.features.frame[~labelled])
    own = steps.unit == 0
    judged = np.flatnonzero(own & np.isfinite(probabilities))
    newest = [
        {"timestamp": rfc3339(steps.ends[i]), "failure_probability": float(probabilities[i])}
        for i in judged[-MAX_PROBABILITIES:].tolist()
    ]
    if not newest:
        raise CannotAnalyse(
            "The readings end with a failure, so none of them can be judged. Choose days that reach beyond the repair."
        )
    now = newest[-1]
    progress(75, "Finding the metrics that drive the probability")
    driving, of_age = drivers(model, choice.features, fails, labelled, seed)
    progress(85, "Estimating the remaining life")
    life, of_life = _remaining_life(found, parameters)
    warning = warning_of(tested.figures)
    results = {
        "failure_probability": now["failure_probability"],
        "as_of": now["timestamp"],
        "horizon_hours": parameters.horizon_hours,
        "probabilities": newest,
        "curve": _curve(model_name, found, choice, parameters, probabilities),
        "drivers": driving,
        "age": {"hours_since_repair": float(steps.age[own][-1]), **of_age},
        "reliability": tested.reliability,
        "remaining_life": life,
        "labels": {"source": found.labels.source, "column": found.labels.column, "failures": found.own_failures},
        "fleet": found.fleet,
        "features": {"used": list(choice.parts), "tried": choice.tried},
        "left_out": found.left_out,
        "summary": {
            "failure_probability": now["failure_probability"],
            "as_of": now["timestamp"],
            "horizon_hours": parameters.horizon_hours,
            "labels_from": found.labels.source,
            "failures_learnt_from": len(steps.failed_lives),
            "failures_outside_the_readings": len(found.labels.failures) - found.own_failures,
            "devices_learnt_from": 1 + len(found.devices),
            "hours_since_repair": float(steps.age[own][-1]),
            "remaining_hours": life["hours"],
            "steps": int(own.sum()),
            "probabilities_left_out": max(0, len(judged) - MAX_PROBABILITIES),
            "warning": warning,
        },
        "warning": warning,
    }
    return Result(
        results, {**tested.figures, "remaining_life": of_life}, _scores(found, fails, labelled, probabilities)
    )


def _scores(found: Learnt, fails: Mask, labelled: Mask, probabilities: Floats) -> pa.Table:
    """The device's judged steps with their probabilities, and whether a failure followed, null if not known yet."""
    at = np.flatnonzero((found.steps.unit == 0) & np.isfinite(probabilities))
    times = pa.array(found.steps.ends[at].as_unit("us")).cast(pa.timestamp("us", tz="UTC"))
    followed = pa.array(fails[at], mask=~labelled[at])
    return pa.table({"timestamp": times, "failure_probability": probabilities[at], "failure_followed": followed})


def _check_enough(fails: Mask) -> None:
    if len(fails) < MIN_STEPS or not fails.any() or fails.all():
        raise CannotAnalyse(
            f"The readings make {len(fails)} steps, {fails.sum()} of them shortly before a failure. At least"
            f" {MIN_STEPS} steps are needed, some before a failure and some not. Choose more days, or a shorter"
            " horizon_hours."
        )


def _curve(
    model_name: str, found: Learnt, choice: Choice, parameters: PredictionParameters, probabilities: Floats
) -> list[dict[str, Any]]:
    """The probability that the device fails within shorter and longer horizons, from its newest step on.

    A longer horizon is never less probable. Horizons for which the labels are all alike are left out.
    """
    steps = found.steps
    at = int(np.flatnonzero(steps.unit == 0)[-1])
    if not np.isfinite(probabilities[at]):
        return []
    points = []
    for factor in CURVE:
        horizon = timedelta(hours=factor * parameters.horizon_hours)
        if factor == 1:
            points.append((factor, float(probabilities[at])))
            continue
        fails, labelled = steps.fails(horizon), steps.labelled(horizon)
        labelled[at] = False
        if fails[labelled].any() and not fails[labelled].all():
            model = fitted(model_name, choice.features, fails, labelled, parameters.seed, quick=True)
            points.append((factor, float(probability(model, choice.features.frame.iloc[[at]])[0])))
    return _rising(points, parameters.horizon_hours)


def _rising(points: list[tuple[float, float]], hours: float) -> list[dict[str, Any]]:
    """The points with the prediction's own one as it is: shorter horizons at most as probable, longer ones at least."""
    middle = next(value for factor, value in points if factor == 1)
    longer = np.maximum.accumulate([max(value, middle) for factor, value in points if factor >= 1])
    shorter = np.minimum.accumulate([min(value, middle) for factor, value in reversed(points) if factor < 1])[::-1]
    return [
        {"horizon_hours": factor * hours, "failure_probability": float(value)}
        for (factor, _), value in zip(points, [*shorter, *longer], strict=True)
    ]


def _remaining_life(found: Learnt, parameters: PredictionParameters) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The remaining life at the newest step, and how good such estimates were for the newest lives."""
    steps = found.steps
    lives = remaining_life.whole_lives(steps)
    if len(lives) < remaining_life.MIN_LIVES:
        reason = (
            f"{len(lives)} lives ran to failure, from a repair or the first reading on; at least"
            f" {remaining_life.MIN_LIVES} are needed. Choose more days, or let it learn from the fleet."
        )
        return {"hours": None, "lower": None, "upper": None, "lives": len(lives), "reason": reason}, None
    known = features(steps, LIFE_FEATURES)
    limit = parameters.max_remaining_hours or remaining_life.limit_of(steps, lives)
    model = remaining_life.fit(steps, known, lives, limit, parameters.seed)
    at = np.arange(len(steps)) == np.flatnonzero(steps.unit == 0)[-1]
    hours, lower, upper = (float(values[0]) for values in model.predict(known.frame[at]))
    current = (steps.life == steps.life[at][0]) & (steps.unit == 0)
    apart = KnownWays.of(steps, known, lives[lives != steps.life[at][0]]).novelty(current)
    life = {
        "hours": hours,
        "lower": lower,
        "upper": upper,
        "share": remaining_life.SHARE,
        "at_least": upper >= limit,
        "max_hours": limit,
        "lives": len(lives),
        "novelty": apart,
        "warning": _novelty_warning(apart),
    }
    return life, _tested_life(found, parameters, limit)


def _novelty_warning(apart: dict[str, Any]) -> str | None:
    if not apart["is_unlike"]:
        return None
    of = f" ({', '.join(apart['metrics'])})" if apart["metrics"] else ""
    return (
        f"The device deviates in a way that none of the known lives did{of}: {apart['score']:.1f} times as far from"
        " them as the furthest of these. The remaining life and the probability may be wrong; inspect the device."
    )


def _tested_life(found: Learnt, parameters: PredictionParameters, limit: float) -> dict[str, Any] | None:
    """The figures of a model of the older lives on the newest; None if too few lives are older."""
    steps = found.steps
    lives = remaining_life.whole_lives(steps)
    newest = max(1, round(HELD_OUT_SHARE * len(lives)))
    if len(lives) - newest < remaining_life.MIN_LIVES:
        return None
    known = features(steps, LIFE_FEATURES)
    model = remaining_life.fit(steps, known, lives[:-newest], limit, parameters.seed)
    return remaining_life.figures(model, steps, known, np.isin(steps.life, lives[-newest:]))
