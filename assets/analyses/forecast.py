"""Forecasts: a metric's coming hours with calibrated bands, tested on the past against plain baselines."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses.context import DeviceContext
from assets.analyses.energy_totals import Ahead, totals
from assets.analyses.forecasting.accuracy import accuracy, mase_scale, warning_of
from assets.analyses.forecasting.backtest import (
    MIN_ORIGINS,
    Backtest,
    backtest,
    bounded,
    candidates_of,
    choose_origins,
    combined,
    combined_in_test,
    weights_of,
)
from assets.analyses.forecasting.bands import SHARES, bands_of
from assets.analyses.forecasting.baselines import baselines
from assets.analyses.forecasting.bounds import Bounds, bounds_of
from assets.analyses.forecasting.calendar import WEEK
from assets.analyses.forecasting.models import MODELS
from assets.analyses.history import History, history
from assets.analyses.parameters import ForecastParameters
from assets.analyses.result import CannotAnalyse, Progress, Result
from storage.arrays import Floats, Indices
from storage.times import rfc3339

log = logging.getLogger(__name__)

MIN_HOURS = 72  # before the first origin: the models need a few days to learn a daily pattern
MAX_TESTED = WEEK  # hours ahead; further ahead the errors of the last day are taken
HISTORY_HOURS = 2 * WEEK  # of the past, shown in a result
MAX_NAMED = 20
# What the models' libraries raise where a history does not suit them.
UNFITTED = (np.linalg.LinAlgError, ValueError, RuntimeError, TimeoutError)


@dataclass(frozen=True)
class Tested:
    """A model's forecast of the coming hours, and the same in the test on the past, within what was possible."""

    ahead: Floats
    paths: Floats
    models: list[dict[str, Any]]


def forecast(
    model_name: str, table: pa.Table, parameters: ForecastParameters, context: DeviceContext, progress: Progress
) -> Result:
    """Hourly means of a metric, or its energy, for the hours after a device's dataset rows.

    Raises:
        CannotAnalyse: the history is too short, or the metric is constant or a counter.

    """
    tested = min(parameters.horizon_hours, MAX_TESTED)
    past = history(table, parameters.metric, context, MIN_HOURS + tested + MIN_ORIGINS)
    hours, means = past.hours, pd.DatetimeIndex(past.means.index)
    times = pd.date_range(means[-1] + timedelta(hours=1), periods=parameters.horizon_hours, freq="h")
    # Coming hours of the local clock: a change of the clock leaves one out, or has one twice.
    leads = np.maximum(hours.clock.positions(times) - len(hours), 0)
    origins = choose_origins(len(hours), tested, MIN_HOURS)
    test = backtest(hours, origins, tested)
    horizon = max(int(leads.max()) + 1, tested)
    found = _tested(model_name, past, test, horizon, progress)
    plain = {
        name: bounded(hours, origins, path, past.limit) for name, path in baselines(hours, origins, tested).items()
    }
    figures = accuracy(test, found.paths, plain, mase_scale(hours.values, origins[0]))
    warning = warning_of(figures)
    best = figures["baseline"].removeprefix("seasonal naive: ")
    of_best = baselines(hours, [len(hours)], horizon)[best][0]
    coming = np.arange(len(hours), len(hours) + horizon)
    of_day = hours.clock.hour_of_day(coming)
    possible = bounds_of(hours, len(hours), past.limit)
    edges = _edges(test, found.paths, found.ahead, of_day, possible)
    edges_of_best = _edges(test, plain[best], of_best, of_day, possible)
    signed = np.where(test.judged, test.true - found.paths, np.nan)
    lowest, highest = possible.lowest[of_day[leads]], possible.highest[of_day[leads]]
    ahead = Ahead(times, found.ahead[leads], lowest, highest, signed)
    columns = {"value": found.ahead, **edges, "baseline": of_best}
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
        "models": found.models,
        "outliers": _points(past.outliers.iloc[:MAX_NAMED]),
        "gaps": [{"from": rfc3339(first), "to": rfc3339(last)} for first, last in hours.gaps[:MAX_NAMED]],
        "summary": {
            "hours_known": len(hours),
            "hours_drawn_in": hours.interpolated,
            "hours_filled": hours.filled,
            "silent_hours_a_week": len(hours.silent),
            "outliers": len(past.outliers),
            "backtest_origins": len(origins),
            "tested_hours_ahead": tested,
            "warning": warning,
        },
        "warning": warning,
    }
    widths = {
        f"{name}band_width_95": float(np.mean(edge["upper"] - edge["lower"]))
        for name, edge in (("", edges), ("baseline_", edges_of_best))
    }
    return Result(results, {**figures, **widths})


def _tested(model_name: str, past: History, test: Backtest, horizon: int, progress: Progress) -> Tested:
    """The model, or the weighted mean of all models, on the past and on the coming hours."""
    hours, origins, limit = past.hours, test.origins, past.limit
    names, left_out = candidates_of(model_name, origins[0])
    paths: dict[str, Floats] = {}
    coming: dict[str, Floats] = {}
    for i, name in enumerate(names):
        progress(10 + 80 * i / len(names), f"Testing {name} on {len(origins)} moments of the past")
        try:
            in_test = MODELS[name].paths(hours, origins, test.true.shape[1])
            ahead = MODELS[name].forecast(hours, [len(hours)], horizon)
        except UNFITTED as error:
            log.warning("%s could not be fitted: %s", name, error)
            left_out[name] = "could not be fitted to this history"
            continue
        if not (np.isfinite(in_test).all() and np.isfinite(ahead).all()):
            left_out[name] = "found no finite values for this history"
            continue
        paths[name], coming[name] = (
            bounded(hours, at, path, limit) for at, path in ((origins, in_test), ([len(hours)], ahead))
        )
    names = list(paths)
    if not names:
        reasons = "; ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise CannotAnalyse(f"{reasons}. Choose more days, or another model.")
    maes = {name: test.mae(path) for name, path in paths.items()}
    weights = weights_of(maes)
    scale = mase_scale(hours.values, origins[0])
    models = [
        {"model": name, "weight": weights[name], "mae": maes[name], "mase": maes[name] / scale if scale else None}
        for name in names
    ]
    models += [
        {"model": name, "weight": 0.0, "mae": None, "mase": None, "reason": why} for name, why in left_out.items()
    ]
    together = combined_in_test(test, paths) if len(names) > 1 else paths[names[0]]
    return Tested(combined(coming, weights)[0], together, models)


def _edges(test: Backtest, paths: Floats, ahead: Floats, of_day: Indices, possible: Bounds) -> dict[str, Floats]:
    """The edges of the bands by their names in a result, from the errors of the test."""
    bands = bands_of(test.errors(paths), test.hours_of_day)
    found = {}
    for share, end in zip(SHARES, ("_80", ""), strict=True):
        width = bands.half_widths(share, of_day)
        found[f"lower{end}"] = possible.clip(ahead - width, of_day)
        found[f"upper{end}"] = possible.clip(ahead + width, of_day)
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
