"""Forecasts: the next hours of a metric in bands that hold what they promise, and beside the naive forecast."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses import CannotAnalyse, ForecastParameters, Progress, Result, readings
from assets.analyses.forecasters import DAY, FORECASTERS, WEEK, Paths, Vector, seasonal_naive
from storage.devices import UNITS
from storage.times import rfc3339

MIN_HOURS = 72  # before the first origin: Prophet's and SARIMA's daily pattern want to be seen a few times
MAX_ORIGINS = 48
MIN_ORIGINS = 10
MIN_ERRORS = 40  # for one band: 95 % of fewer is no more than a guess
MAX_GAP = 6  # hours that are drawn in
HISTORY = 2 * WEEK  # hours of the past that a result shows
SHARES = (0.80, 0.95)


def forecast(model_name: str, table: pa.Table, parameters: ForecastParameters, progress: Progress) -> Result:
    """The metric's next hours; values are hourly means.

    Raises:
        CannotAnalyse: too little history, or holes in it.

    """
    metric = parameters.metric or readings.first_metric(table)
    horizon = parameters.horizon_hours
    series, drawn_in = hourly(readings.frame(table, [metric])[metric], horizon)
    origins = _origins(len(series), horizon)
    progress(10, f"Forecasting from {len(origins)} moments of the past")
    model = FORECASTERS[model_name]
    lowest = 0.0 if series.min() >= 0 else -np.inf  # what never was negative will not be
    paths = np.maximum(_in_parts(model, series, origins, horizon, progress), lowest)
    naive = seasonal_naive(series, origins, horizon)
    values = series.to_numpy()
    true = np.stack([values[o : o + horizon] for o in origins])
    progress(90, "Forecasting the next hours")
    ahead = np.maximum(model(series, [len(series)], horizon)[0], lowest)
    accuracy = _accuracy(true, paths, naive, values, origins)
    results = {
        "metric": metric,
        "unit": UNITS.get(metric),
        "horizon_hours": horizon,
        "history": _points(series.iloc[-HISTORY:]),
        "forecast": _bands(series.index[-1], ahead, np.abs(true - paths), lowest),
        "summary": {
            "hours_known": len(series),
            "hours_drawn_in": drawn_in,
            "backtest_origins": len(origins),
            "warning": _warning(accuracy),
        },
        "warning": _warning(accuracy),
    }
    return Result(results, accuracy)


def hourly(column: pd.Series, horizon: int) -> tuple[pd.Series, int]:
    """Hourly means of the newest segment without a long gap, and how many hours of it were drawn in.

    The last, still unfinished hour counts as soon as it is half over.
    """
    column = column.dropna()
    means = column.resample("1h").mean()
    covered = column.index[-1] + readings.cadence(column.index) - means.index[-1]
    if len(means) > 1 and covered < timedelta(minutes=30):
        means = means.iloc[:-1]
    missing = means.isna()
    run = missing.groupby((missing != missing.shift()).cumsum()).transform("size")
    long = np.flatnonzero(missing & (run > MAX_GAP))
    newest = means.iloc[long[-1] + 1 :] if len(long) else means
    needed = MIN_HOURS + horizon + MIN_ORIGINS
    if len(newest) < needed:
        cut = f" since the last gap of more than {MAX_GAP} hours" if len(long) else ""
        raise CannotAnalyse(
            f"a forecast of {horizon} hours and its test on the past need {needed} hours of history, "
            f"there are {len(newest)}{cut}; choose more days or a shorter horizon_hours"
        )
    if newest.nunique() < 2:
        raise CannotAnalyse(f"{column.name} is constant: there is nothing to forecast")
    return newest.interpolate(), int(newest.isna().sum())


def _origins(hours: int, horizon: int) -> list[int]:
    """Moments of the past to forecast from, evenly over what is not needed to begin with, at most its newest half."""
    last = hours - horizon
    first = max(MIN_HOURS, min(last - MIN_ORIGINS, hours // 2), last - 60 * DAY)
    step = max(1, (last - first) // MAX_ORIGINS)
    step += step > 1 and step % DAY == 0  # every origin at the same hour would say little of the others
    return list(range(last, first - 1, -step))[:MAX_ORIGINS][::-1]


def _in_parts(model: Any, series: pd.Series, origins: list[int], horizon: int, progress: Progress) -> Paths:
    parts = np.array_split(origins, 4)
    paths = []
    for i, part in enumerate(parts):
        paths.append(model(series, part.tolist(), horizon))
        progress(10 + 80 * (i + 1) / len(parts), f"Tested on {sum(map(len, parts[: i + 1]))} moments of the past")
    return np.concatenate(paths)


def half_widths(errors: Paths, share: float) -> Vector:
    """Split conformal: for each hour ahead the error that `share` of the past ones kept (Vovk 2005; Lei et al. 2018).

    Where the origins are few, the errors of neighbouring hours ahead count as well.
    """
    origins, horizon = errors.shape
    widths = np.empty(horizon)
    for h in range(horizon):
        around = 0
        while origins * (2 * around + 1) < MIN_ERRORS and around < horizon:
            around += 1
        near = np.sort(errors[:, max(0, h - around) : h + around + 1], axis=None)
        rank = int(np.ceil((len(near) + 1) * share))
        widths[h] = near[min(rank, len(near)) - 1]
    return widths


def _bands(last: pd.Timestamp, ahead: Vector, errors: Paths, lowest: float) -> list[dict[str, Any]]:
    inner, outer = (half_widths(errors, share) for share in SHARES)
    return [
        {
            "timestamp": rfc3339(last + timedelta(hours=h + 1)),
            "value": value,
            "lower": max(value - outer[h], lowest),
            "upper": value + outer[h],
            "lower_80": max(value - inner[h], lowest),
            "upper_80": value + inner[h],
        }
        for h, value in enumerate(ahead.tolist())
    ]


def _accuracy(true: Paths, paths: Paths, naive: Paths, values: Any, origins: list[int]) -> dict[str, Any]:
    """What the backtest says; the scale of MASE is the seasonal-naive error before the first origin (Hyndman 2006).

    Coverage is that of bands calibrated on the older origins and judged on newer ones they do not overlap.
    """
    errors, of_naive = np.abs(true - paths), np.abs(true - naive)
    before = values[: origins[0]]
    scale = float(np.mean(np.abs(before[DAY:] - before[:-DAY])))
    mae, naive_mae = float(errors.mean()), float(of_naive.mean())
    covered: dict[str, Any] = {"coverage_80": None, "coverage_95": None}
    horizon = true.shape[1]
    middle = len(origins) * 2 // 3
    newer = [i for i in range(middle, len(origins)) if origins[i] >= origins[middle - 1] + horizon]
    if newer:
        for share in SHARES:
            widths = half_widths(errors[:middle], share)
            covered[f"coverage_{share * 100:.0f}"] = float(np.mean(errors[newer] <= widths))
    else:
        covered["coverage_reason"] = "too little history to judge the bands on hours that did not make them"
    return {
        "mae": mae,
        "rmse": float(np.sqrt(np.mean((true - paths) ** 2))),
        "mase": mae / scale if scale else None,
        "baseline_mae": naive_mae,
        "baseline_mase": naive_mae / scale if scale else None,
        "beats_baseline": mae < naive_mae,
        **covered,
        "baseline": "seasonal naive: the value 24 hours before",
        "origins": len(origins),
    }


def _warning(accuracy: dict[str, Any]) -> str | None:
    if accuracy["beats_baseline"]:
        return None
    return (
        f"In the test on the past this model was off by {accuracy['mae']:.4g} on average, "
        f"and the value of 24 hours before by {accuracy['baseline_mae']:.4g}: rather plan with the latter"
    )


def _points(series: pd.Series) -> list[dict[str, Any]]:
    return [{"timestamp": rfc3339(time), "value": value} for time, value in zip(series.index, series, strict=True)]
