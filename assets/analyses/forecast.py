"""Forecasts: a metric's coming hours with calibrated bands, tested on the past against plain baselines."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses.context import DeviceContext
from assets.analyses.energy_totals import Ahead, totals
from assets.analyses.forecasting.accuracy import accuracy, mase_scale, warning_of
from assets.analyses.forecasting.backtest import (
    backtest,
    bounded,
    candidates_of,
    choose_origins,
    combined,
    combined_in_test,
    weights_of,
)
from assets.analyses.forecasting.bands import SHARES, Bands, bands_of
from assets.analyses.forecasting.baselines import baselines
from assets.analyses.forecasting.best_baseline import best_baseline
from assets.analyses.forecasting.bounds import Bounds, bounds_of
from assets.analyses.forecasting.calendar import WEEK, Slots
from assets.analyses.forecasting.fitted import FittedForecast, used
from assets.analyses.forecasting.history_needed import MIN_HOURS, hours_needed
from assets.analyses.forecasting.hours import Fit
from assets.analyses.forecasting.models import MODELS
from assets.analyses.history import History, history
from assets.analyses.parameters import ForecastParameters
from assets.analyses.result import CannotAnalyse, Progress, Result
from storage.arrays import Floats
from storage.times import rfc3339

log = logging.getLogger(__name__)

HISTORY_HOURS = 2 * WEEK  # of the past, shown in a result
MAX_NAMED = 20
# What the models' libraries raise where a history does not suit them.
UNFITTED = (np.linalg.LinAlgError, ValueError, RuntimeError, TimeoutError)


def forecast(
    model_name: str, table: pa.Table, parameters: ForecastParameters, context: DeviceContext, progress: Progress
) -> Result:
    """Hourly means of a metric, or its energy, for the hours after a device's dataset rows.

    Raises:
        CannotAnalyse: the history is too short, or the metric is constant or a counter.

    """
    tested = parameters.tested_hours  # further ahead the errors of the last day are taken
    past = history(table, parameters.metric, context, hours_needed(tested))
    hours, means = past.hours, pd.DatetimeIndex(past.means.index)
    times = pd.date_range(means[-1] + timedelta(hours=1), periods=parameters.horizon_hours, freq="h")
    # Coming hours of the local clock: a change of the clock leaves one out, or has one twice.
    leads = np.maximum(hours.clock.positions(times) - len(hours), 0)
    horizon = max(int(leads.max()) + 1, tested)
    kept = context.kept
    if isinstance(kept, FittedForecast) and (kept.metric, kept.tested) == (past.metric, tested):
        fitted, expected = kept, kept.ahead(hours, horizon, past.limit)
    else:
        fitted, expected = _fitted(model_name, past, tested, horizon, progress)
    test, figures = fitted.test, fitted.figures
    warning = warning_of(figures, past.unit)
    best = best_baseline(figures)
    of_best = baselines(hours, [len(hours)], horizon)[best][0]
    coming = np.arange(len(hours), len(hours) + horizon)
    slots = hours.clock.slots(coming)
    possible = bounds_of(hours, len(hours), past.limit)
    bands, bands_of_best = (bands_of(test.errors(paths), test.slots) for paths in (fitted.paths, fitted.plain))
    edges = _edges(bands, expected, slots, possible)
    edges_of_best = _edges(bands_of_best, of_best, slots, possible)
    signed = np.where(test.judged, test.true - fitted.paths, np.nan)
    usual_in_test = np.where(test.judged, np.stack([bands.usual(test.slots[i]) for i in range(len(test.origins))]), 0.0)
    lowest, highest = possible.lowest[slots.hour[leads]], possible.highest[slots.hour[leads]]
    ahead = Ahead(times, expected[leads], lowest, highest, bands.usual(slots)[leads], signed, usual_in_test)
    columns = {"value": expected, **edges, "baseline": of_best}
    points = [
        {"timestamp": rfc3339(time), **{name: column[lead] for name, column in columns.items()}}
        for time, lead in zip(times, leads.tolist(), strict=True)
    ]
    results = {
        "metric": past.metric,
        "unit": past.unit,
        "horizon_hours": parameters.horizon_hours,
        "history": _shown(past),
        "forecast": points,
        **_energy_totals(past, ahead, context),
        "models": fitted.models,
        "outliers": _points(past.outliers.iloc[:MAX_NAMED]),
        "gaps": [{"from": rfc3339(first), "to": rfc3339(last)} for first, last in hours.gaps[:MAX_NAMED]],
        "summary": {
            "hours_known": len(hours),
            "hours_drawn_in": hours.interpolated,
            "hours_filled": hours.filled,
            "silent_hours_a_week": len(hours.silent),
            "outliers": len(past.outliers),
            "backtest_origins": len(test.origins),
            "tested_hours_ahead": tested,
            "warning": warning,
        },
        "warning": warning,
    }
    widths = {
        f"{name}band_width_95": float(np.mean(edge["upper"] - edge["lower"]))
        for name, edge in (("", edges), ("baseline_", edges_of_best))
    }
    return Result(results, {**figures, **widths}, fitted=None if fitted is kept else fitted)


def _fitted(
    model_name: str, past: History, tested: int, horizon: int, progress: Progress
) -> tuple[FittedForecast, Floats]:
    """The model, or the weighted mean of all models, with its test on the past; and its forecast."""
    hours, limit = past.hours, past.limit
    origins = choose_origins(len(hours), tested, MIN_HOURS)
    test = backtest(hours, origins, tested)
    names, left_out = candidates_of(model_name, origins[0])
    paths: dict[str, Floats] = {}
    coming: dict[str, Floats] = {}
    fits: dict[str, Fit] = {}
    for i, name in enumerate(names):
        progress(10 + 80 * i / len(names), f"Testing {name} on {len(origins)} moments of the past")
        fit: Fit = {}
        try:
            in_test = MODELS[name].paths(hours, origins, tested)
            ahead = MODELS[name].forecast(hours, [len(hours)], horizon, fit)
        except UNFITTED as error:
            log.warning("%s could not be fitted: %s", name, error)
            left_out[name] = "could not be fitted to this history"
            continue
        if not (np.isfinite(in_test).all() and np.isfinite(ahead).all()):
            left_out[name] = "found no finite values for this history"
            continue
        fits[name] = fit
        paths[name], coming[name] = (
            bounded(hours, at, path, limit) for at, path in ((origins, in_test), ([len(hours)], ahead))
        )
    if not paths:
        reasons = "; ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise CannotAnalyse(f"{reasons}. Choose more days, or another model.")
    maes = {name: test.mae(path) for name, path in paths.items()}
    weights, scale = used(weights_of(test, paths)), mase_scale(hours.values, origins[0])
    together = combined_in_test(test, paths) if len(paths) > 1 else paths[next(iter(paths))]
    plain = {name: bounded(hours, origins, path, limit) for name, path in baselines(hours, origins, tested).items()}
    figures = accuracy(test, together, plain, scale)
    fitted = FittedForecast(
        metric=past.metric,
        weights=weights,
        fits={name: fits[name] for name in weights},
        test=test,
        paths=together,
        plain=plain[best_baseline(figures)],
        models=_models(weights, maes, scale, left_out),
        figures=figures,
    )
    return fitted, combined(coming, weights)[0]


def _models(
    weights: Mapping[str, float], maes: Mapping[str, float], scale: float, left_out: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What a result says of each model."""
    models = [
        {"model": name, "weight": weights.get(name, 0.0), "mae": mae, "mase": mae / scale if scale else None}
        for name, mae in maes.items()
    ]
    return models + [
        {"model": name, "weight": 0.0, "mae": None, "mase": None, "reason": why} for name, why in left_out.items()
    ]


def _edges(bands: Bands, ahead: Floats, slots: Slots, possible: Bounds) -> dict[str, Floats]:
    """The edges of the bands by their names in a result."""
    found = {}
    for share, end in zip(SHARES, ("_80", ""), strict=True):
        width = bands.half_widths(share, slots)
        found[f"lower{end}"] = possible.clip(ahead - width, slots.hour)
        found[f"upper{end}"] = possible.clip(ahead + width, slots.hour)
    return found


def _energy_totals(past: History, ahead: Ahead, context: DeviceContext) -> dict[str, Any]:
    if past.energy is None:
        return {}
    return {f"{unit}s": totals(past.energy, past.metric, ahead, context, unit) for unit in ("day", "month")}


def _shown(past: History) -> list[dict[str, Any]]:
    """The newest two weeks of the history; hours without readings have the value that was filled in."""
    newest = past.means.iloc[-HISTORY_HOURS:]
    at = past.hours.clock.positions(pd.DatetimeIndex(newest.index))
    newest, at = newest[at >= 0], at[at >= 0]
    return _points(newest.where(newest.notna(), past.hours.values[at]))


def _points(series: pd.Series) -> list[dict[str, Any]]:
    times = pd.DatetimeIndex(series.index)
    return [{"timestamp": rfc3339(time), "value": value} for time, value in zip(times, series.tolist(), strict=True)]
