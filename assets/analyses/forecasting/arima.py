"""SARIMA of a daily season. G. E. P. Box, G. M. Jenkins: Time Series Analysis (1970)."""

import warnings
from typing import Any

import numpy as np

from assets.analyses.forecasting.baselines import profile_at
from assets.analyses.forecasting.calendar import DAY
from assets.analyses.forecasting.hours import Fit, Hours
from assets.analyses.forecasting.weekly import is_weekly, known_values
from storage.arrays import Floats

DAYS = 21  # of history; more does not make it better


def arima(hours: Hours, origins: list[int], horizon: int, fit: Fit) -> Floats:
    """SARIMA(1,0,1)(0,1,1) with a season of 24 hours, of at most three weeks before each origin.

    Where the days of the week differ much, it is a model of what the week's profile leaves. The coefficients are fitted
    at the first origin; later origins only add what was measured since.
    """
    import statsmodels.tsa.statespace.sarimax  # noqa: F401, PLC0415 - here: it has warnings of its own always shown

    if "is_weekly" not in fit:
        fit["is_weekly"] = is_weekly(hours, origins[0])
    of_week = fit["is_weekly"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about starting values; the test on the past judges the result
        known = [known_values(hours, max(0, o - DAYS * DAY), o, of_week=of_week) for o in origins]
        if "params" not in fit:  # nobody asks for the coefficients' covariance, which takes half the time
            fit["params"] = _model(known[0]).fit(disp=False, maxiter=50, cov_type="none").params
        changes = [_model(series).filter(fit["params"], cov_type="none").forecast(horizon) for series in known]
    paths = np.stack([_integrated(series, change) for series, change in zip(known, changes, strict=True)])
    if of_week:
        paths += np.stack([profile_at(hours, o, np.arange(o, o + horizon)) for o in origins])
    return paths


def _model(series: Floats) -> Any:
    from statsmodels.tsa.statespace.sarimax import SARIMAX  # noqa: PLC0415 - 1.5 s that Prophet need not pay

    # Taking the seasonal difference here instead of in the model halves its state and makes it ten times as fast.
    changes = series[DAY:] - series[:-DAY]
    return SARIMAX(changes, order=(1, 0, 1), seasonal_order=(0, 0, 1, DAY))


def _integrated(known: Floats, changes: Floats) -> Floats:
    """Values from their changes against the day before."""
    values = np.concatenate([known[-DAY:], changes])
    for hour in range(DAY, len(values)):
        values[hour] += values[hour - DAY]
    return values[DAY:]
