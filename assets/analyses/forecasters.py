"""Forecasting models of an hourly series.

Each forecasts from any hour of the series and uses only what came before it. Origins are positions in the series; the
result has the shape (origins, horizon).
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import pandas as pd

from storage.arrays import Floats

DAY, WEEK = 24, 168  # hours
FIT_TIMEOUT_SECONDS = 60

Forecaster = Callable[[pd.Series, list[int], int], Floats]


def seasonal_naive(series: pd.Series, origins: list[int], horizon: int, season: int = DAY) -> Floats:
    """The values of one season before."""
    values = series.to_numpy()
    ahead = np.arange(horizon) % season
    return np.stack([values[origin - season + ahead] for origin in origins])


def arima(series: pd.Series, origins: list[int], horizon: int) -> Floats:
    """SARIMA(1,0,1)(0,1,1) with a season of 24 hours, of at most three weeks before each origin.

    The coefficients are fitted at the first origin. Later origins only add what was measured since. G. E. P. Box,
    G. M. Jenkins: Time Series Analysis (1970).
    """
    from statsmodels.tsa.statespace.sarimax import SARIMAX  # noqa: PLC0415 - 1.5 s that Prophet need not pay

    def model(origin: int) -> "SARIMAX":
        known = series.iloc[max(0, origin - 21 * DAY) : origin].to_numpy()
        # Taking the seasonal difference here instead of in the model halves its state and makes it ten times as fast.
        return SARIMAX(known[DAY:] - known[:-DAY], order=(1, 0, 1), seasonal_order=(0, 0, 1, DAY))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about starting values; the backtest judges the result
        fitted = model(origins[0]).fit(disp=False, maxiter=50)
        changes = [model(origin).filter(fitted.params).forecast(horizon) for origin in origins]
    values = series.to_numpy()
    return np.stack([_integrated(values[:origin], change) for origin, change in zip(origins, changes, strict=True)])


def _integrated(known: Floats, changes: Floats) -> Floats:
    """Values from their changes against the day before."""
    values = np.concatenate([known[-DAY:], changes])
    for hour in range(DAY, len(values)):
        values[hour] += values[hour - DAY]
    return values[DAY:]


def prophet(series: pd.Series, origins: list[int], horizon: int) -> Floats:
    """Prophet without a trend, of at most 60 days before each origin, plus an autoregression of its residuals.

    S. J. Taylor, B. Letham: Forecasting at Scale (The American Statistician, 2018).
    """
    return np.stack([_prophet(series.iloc[max(0, origin - 60 * DAY) : origin], horizon) for origin in origins])


# By model name, as in `ANALYSES`.
FORECASTERS: dict[str, Forecaster] = {"prophet": prophet, "arima": arima}


def _prophet(known: pd.Series, horizon: int) -> Floats:
    times = pd.DatetimeIndex(known.index).tz_localize(None)
    ahead = pd.date_range(times[-1] + timedelta(hours=1), periods=horizon, freq="h")
    with _quiet_libraries():
        from prophet import Prophet  # noqa: PLC0415 - 1 s that ARIMA need not pay

        model = Prophet(
            growth="flat",
            daily_seasonality=True,
            weekly_seasonality=len(known) >= 2 * WEEK,
            yearly_seasonality=False,
            uncertainty_samples=0,
        )
        model.fit(pd.DataFrame({"ds": times, "y": known.to_numpy()}), timeout=FIT_TIMEOUT_SECONDS, seed=1)
        fitted = model.predict(pd.DataFrame({"ds": times.append(ahead)}))["yhat"].to_numpy()
    residuals = known.to_numpy() - fitted[: len(known)]
    expected: Floats = fitted[len(known) :] + _autoregression(residuals, horizon)
    return expected


_LAGS = np.array([1, 2, 3, 23, 24, 25])  # hours


def _autoregression(residuals: Floats, horizon: int) -> list[float]:
    """The residuals of the coming hours by a linear autoregression on `_LAGS`, fitted by ridge regression."""
    rows = np.arange(_LAGS[-1], len(residuals))
    lagged = residuals[rows[:, None] - _LAGS]
    shrinkage = 0.01 * len(rows) * np.var(residuals) * np.eye(len(_LAGS))
    weights = np.linalg.solve(lagged.T @ lagged + shrinkage + 1e-9 * np.eye(len(_LAGS)), lagged.T @ residuals[rows])
    values: list[float] = residuals.tolist()
    for _ in range(horizon):
        values.append(float(np.asarray(values)[len(values) - _LAGS] @ weights))
    return values[len(residuals) :]


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep Prophet's and CmdStan's reports of every fit out of the log."""
    loggers = [logging.getLogger(name) for name in ("cmdstanpy", "prophet", "prophet.plot")]
    before = [(logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (level, disabled) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.disabled = disabled
