"""Forecasts: a metric's coming hours with calibrated bands, tested on the past against the seasonal naive forecast."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses import readings
from assets.analyses.forecasters import DAY, FORECASTERS, WEEK, Forecaster, seasonal_naive
from assets.analyses.parameters import ForecastParameters
from assets.analyses.result import CannotAnalyse, Progress, Result
from storage.arrays import Floats
from storage.devices import UNITS
from storage.times import rfc3339

MIN_HOURS = 72  # before the first origin: the models need a few days to learn a daily pattern
MAX_ORIGINS = 48
MIN_ORIGINS = 10
MIN_ERRORS = 40  # for one band: a 95 % band of fewer errors is a guess
MAX_INTERPOLATED_HOURS = 6  # in a row
HISTORY_HOURS = 2 * WEEK  # of the past, shown in a result
SHARES = (0.80, 0.95)


def forecast(model_name: str, table: pa.Table, parameters: ForecastParameters, progress: Progress) -> Result:
    """Hourly means of a metric for the hours after a device's dataset rows, in the metric's unit.

    Raises:
        CannotAnalyse: the history is too short, or the metric is constant.

    """
    metric = parameters.metric or readings.first_metric(table)
    horizon = parameters.horizon_hours
    series, interpolated = hourly(readings.frame(table, [metric])[metric], horizon)
    origins = _origins(len(series), horizon)
    progress(10, f"Forecasting from {len(origins)} moments of the past")
    model = FORECASTERS[model_name]
    lowest = 0.0 if series.min() >= 0 else -np.inf  # a metric that was never negative is not forecast negative
    paths = np.maximum(_backtest(model, series, origins, horizon, progress), lowest)
    naive = seasonal_naive(series, origins, horizon)
    values = series.to_numpy()
    true = np.stack([values[o : o + horizon] for o in origins])
    progress(90, "Forecasting the next hours")
    ahead = np.maximum(model(series, [len(series)], horizon)[0], lowest)
    accuracy = _accuracy(true, paths, naive, values, origins)
    warning = _warning(accuracy)
    results = {
        "metric": metric,
        "unit": UNITS.get(metric),
        "horizon_hours": horizon,
        "history": _points(series.iloc[-HISTORY_HOURS:]),
        "forecast": _bands(series.index[-1], ahead, np.abs(true - paths), lowest),
        "summary": {
            "hours_known": len(series),
            "hours_drawn_in": interpolated,
            "backtest_origins": len(origins),
            "warning": warning,
        },
        "warning": warning,
    }
    return Result(results, accuracy)


def hourly(column: pd.Series, horizon: int) -> tuple[pd.Series, int]:
    """Hourly means since the last long gap, and how many of them are interpolated.

    The last hour counts once it is half covered.
    """
    column = column.dropna()
    means = column.resample("1h").mean()
    covered = column.index[-1] + readings.cadence(column.index) - means.index[-1]
    if len(means) > 1 and covered < timedelta(minutes=30):
        means = means.iloc[:-1]
    missing = means.isna()
    run_length = missing.groupby((missing != missing.shift()).cumsum()).transform("size")
    in_long_gap = np.flatnonzero(missing & (run_length > MAX_INTERPOLATED_HOURS))
    newest = means.iloc[in_long_gap[-1] + 1 :] if len(in_long_gap) else means
    needed = MIN_HOURS + horizon + MIN_ORIGINS
    if len(newest) < needed:
        since = f" since the last gap of more than {MAX_INTERPOLATED_HOURS} hours" if len(in_long_gap) else ""
        raise CannotAnalyse(
            f"A forecast of {horizon} hours and its test on the past need {needed} hours of history; "
            f"there are {len(newest)}{since}. Choose more days or a shorter horizon_hours."
        )
    if newest.nunique() < 2:
        raise CannotAnalyse(f"{column.name} is constant, so there is nothing to forecast.")
    return newest.interpolate(), int(newest.isna().sum())


def _origins(hours: int, horizon: int) -> list[int]:
    """Past hours to forecast from, evenly spread over at most the newer half of the series and its last 60 days."""
    last = hours - horizon
    first = max(MIN_HOURS, min(last - MIN_ORIGINS, hours // 2), last - 60 * DAY)
    step = max(1, (last - first) // MAX_ORIGINS)
    step += step > 1 and step % DAY == 0  # whole days would test one hour of the day only
    return list(range(last, first - 1, -step))[:MAX_ORIGINS][::-1]


def _backtest(model: Forecaster, series: pd.Series, origins: list[int], horizon: int, progress: Progress) -> Floats:
    """Forecasts from past origins, of shape (origins, horizon)."""
    parts = np.array_split(origins, 4)
    paths = []
    for i, part in enumerate(parts):
        paths.append(model(series, part.tolist(), horizon))
        progress(10 + 80 * (i + 1) / len(parts), f"Tested on {sum(map(len, parts[: i + 1]))} moments of the past")
    return np.concatenate(paths)


def half_widths(errors: Floats, share: float) -> Floats:
    """For each hour ahead, the width that `share` of the past errors stay within: split conformal prediction.

    V. Vovk, A. Gammerman, G. Shafer: Algorithmic Learning in a Random World (2005); J. Lei et al.: Distribution-Free
    Predictive Inference for Regression (JASA, 2018). If there are few origins, the errors of neighbouring hours count
    as well.

    Args:
        errors: absolute errors of shape (origins, horizon).
        share: from 0 to 1.

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


def _bands(last: pd.Timestamp, ahead: Floats, errors: Floats, lowest: float) -> list[dict[str, Any]]:
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


def _accuracy(true: Floats, paths: Floats, naive: Floats, values: Floats, origins: list[int]) -> dict[str, Any]:
    """Accuracy in the backtest.

    MASE is the mean absolute error divided by that of the seasonal naive forecast before the first origin
    (R. J. Hyndman, A. B. Koehler: Another look at measures of forecast accuracy, 2006). Coverage is the share of newer
    values within bands that were calibrated on older origins whose hours do not overlap.
    """
    errors, naive_errors = np.abs(true - paths), np.abs(true - naive)
    before = values[: origins[0]]
    scale = float(np.mean(np.abs(before[DAY:] - before[:-DAY])))
    mae, naive_mae = float(errors.mean()), float(naive_errors.mean())
    coverage: dict[str, Any] = {"coverage_80": None, "coverage_95": None}
    horizon = true.shape[1]
    calibrated = len(origins) * 2 // 3
    newer = [i for i in range(calibrated, len(origins)) if origins[i] >= origins[calibrated - 1] + horizon]
    if newer:
        for share in SHARES:
            widths = half_widths(errors[:calibrated], share)
            coverage[f"coverage_{share * 100:.0f}"] = float(np.mean(errors[newer] <= widths))
    else:
        coverage["coverage_reason"] = "the history is too short to test the bands on hours that did not calibrate them"
    return {
        "mae": mae,
        "rmse": float(np.sqrt(np.mean((true - paths) ** 2))),
        "mase": mae / scale if scale else None,
        "baseline_mae": naive_mae,
        "baseline_mase": naive_mae / scale if scale else None,
        "beats_baseline": mae < naive_mae,
        **coverage,
        "baseline": "seasonal naive: the value 24 hours before",
        "origins": len(origins),
    }


def _warning(accuracy: dict[str, Any]) -> str | None:
    if accuracy["beats_baseline"]:
        return None
    return (
        f"In the test on the past this model was off by {accuracy['mae']:.4g} on average; the value of 24 hours before "
        f"was off by {accuracy['baseline_mae']:.4g}. Plan with the value of 24 hours before instead."
    )


def _points(series: pd.Series) -> list[dict[str, Any]]:
    times = pd.DatetimeIndex(series.index)
    return [{"timestamp": rfc3339(time), "value": value} for time, value in zip(times, series.tolist(), strict=True)]
