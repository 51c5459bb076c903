"""Models of an hourly series: each forecasts from any moment of it, knowing only what was before."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import pandas as pd

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
Paths = np.ndarray[tuple[int, int], np.dtype[np.float64]]

DAY, WEEK = 24, 168  # hours
PATIENCE = 60  # seconds for one fit


def seasonal_naive(series: pd.Series, origins: list[int], horizon: int, season: int = DAY) -> Paths:
    """What was measured one season before."""
    values = series.to_numpy()
    ahead = np.arange(horizon) % season
    return np.stack([values[origin - season + ahead] for origin in origins])


def arima(series: pd.Series, origins: list[int], horizon: int) -> Paths:
    """SARIMA(1,0,1)(0,1,1)24 of at most three weeks before each origin.

    Its coefficients are those of the first origin; further ones only see what was measured since.
    """
    from statsmodels.tsa.statespace.sarimax import SARIMAX  # noqa: PLC0415 - 1.5 s that Prophet need not pay

    def model(origin: int) -> "SARIMAX":
        known = series.iloc[max(0, origin - 21 * DAY) : origin].to_numpy()
        # The season's difference taken here and not in the state leaves half the state, and is ten times as fast.
        return SARIMAX(known[DAY:] - known[:-DAY], order=(1, 0, 1), seasonal_order=(0, 0, 1, DAY))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it thinks of its starting values; the backtest judges what comes of them
        fitted = model(origins[0]).fit(disp=False, maxiter=50)
        changes = [model(origin).filter(fitted.params).forecast(horizon) for origin in origins]
    return np.stack([_added_up(series.to_numpy()[:o], change) for o, change in zip(origins, changes, strict=True)])


def _added_up(known: Vector, changes: Vector) -> Vector:
    """Values from their changes against the day before."""
    line = np.concatenate([known[-DAY:], changes])
    for hour in range(DAY, len(line)):
        line[hour] += line[hour - DAY]
    return line[DAY:]


def prophet(series: pd.Series, origins: list[int], horizon: int) -> Paths:
    """Prophet without trend of at most 60 days before each origin, and what its residuals keep from hour to hour."""
    return np.stack([_prophet(series.iloc[max(0, origin - 60 * DAY) : origin], horizon) for origin in origins])


FORECASTERS = {"prophet": prophet, "arima": arima}


def _prophet(known: pd.Series, horizon: int) -> Vector:
    times = pd.DatetimeIndex(known.index).tz_localize(None)
    ahead = pd.date_range(times[-1] + timedelta(hours=1), periods=horizon, freq="h")
    with _silence():
        from prophet import Prophet  # noqa: PLC0415 - 1 s that ARIMA need not pay

        model = Prophet(
            growth="flat",
            daily_seasonality=True,
            weekly_seasonality=len(known) >= 2 * WEEK,
            yearly_seasonality=False,
            uncertainty_samples=0,
        )
        model.fit(pd.DataFrame({"ds": times, "y": known.to_numpy()}), timeout=PATIENCE, seed=1)
        drawn = model.predict(pd.DataFrame({"ds": times.append(ahead)}))["yhat"].to_numpy()
    residuals = known.to_numpy() - drawn[: len(known)]
    expected: Vector = drawn[len(known) :] + _carried_on(residuals, horizon)
    return expected


_LAGS = np.array([1, 2, 3, 23, 24, 25])  # hours


def _carried_on(residuals: Vector, horizon: int) -> list[float]:
    """Residuals of the coming hours by an autoregression, fitted with least squares and a little shrinkage."""
    rows = np.arange(_LAGS[-1], len(residuals))
    before = residuals[rows[:, None] - _LAGS]
    shrinkage = 0.01 * len(rows) * np.var(residuals) * np.eye(len(_LAGS))
    weights = np.linalg.solve(before.T @ before + shrinkage + 1e-9 * np.eye(len(_LAGS)), before.T @ residuals[rows])
    line: list[float] = residuals.tolist()
    for _ in range(horizon):
        line.append(float(np.asarray(line)[len(line) - _LAGS] @ weights))
    return line[len(residuals) :]


@contextmanager
def _silence() -> Iterator[None]:
    """Prophet and the program under it report every fit; a run's log is not the place."""
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
