"""Prophet with an autoregression of its residuals.

S. J. Taylor, B. Letham: Forecasting at Scale (The American Statistician, 2018).
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from assets.analyses.forecasting.baselines import profile_at
from assets.analyses.forecasting.calendar import DAY, WEEK
from assets.analyses.forecasting.hours import Fit, Hours
from assets.analyses.forecasting.weekly import is_weekly, known_values
from storage.arrays import Floats

DAYS = 60  # of history; more does not make it better
FIT_TIMEOUT_SECONDS = 60
LAGS = np.array([1, 2, 3, 23, 24, 25])  # hours
MONDAY = "1990-01-01"  # of a week before all readings, and so without the holidays of any


def prophet(hours: Hours, origins: list[int], horizon: int, fit: Fit) -> Floats:
    """Prophet without a trend, of at most 60 days before the first origin, plus an autoregression of its residuals.

    Where the days of the week differ much, it is a model of what the week's profile leaves: its own week is too smooth
    for a machine that is on or off. The seasons are fitted at the first origin; later origins only add what was
    measured since.
    """
    first = max(0, origins[0] - DAYS * DAY)
    last = max(origins) + horizon
    if "week" not in fit:
        fit["is_weekly"] = is_weekly(hours, origins[0])
        known = known_values(hours, first, origins[0], of_week=fit["is_weekly"])
        fit["week"], fit["holiday"] = _week_and_holiday(hours, known, first, last)
    of_week = fit["is_weekly"]
    labels = hours.clock.labels(np.arange(first, last))
    seasons = fit["week"][np.asarray(labels.day_of_week * DAY + labels.hour)]
    seasons += fit["holiday"] * hours.clock.holidays(np.arange(first, last))
    paths = []
    for origin in origins:
        residuals = known_values(hours, first, origin, of_week=of_week) - seasons[: origin - first]
        path = seasons[origin - first :][:horizon] + _autoregression(residuals[-DAYS * DAY :], horizon)
        paths.append(path + profile_at(hours, origin, np.arange(origin, origin + horizon)) if of_week else path)
    return np.stack(paths)


def _week_and_holiday(hours: Hours, known: Floats, first: int, last: int) -> tuple[Floats, float]:
    """What Prophet, fitted on the known hours from `first` on, expects of each hour of a week, and of holidays.

    Without a trend and a yearly season its forecast is the week's course, with a constant added on holidays.
    """
    labels = hours.clock.labels(np.arange(first, last))
    with _quiet_libraries():
        from prophet import Prophet  # noqa: PLC0415 - 1 s that ARIMA need not pay

        holidays = hours.clock.holidays(np.arange(first, last))
        days = pd.DatetimeIndex(labels[holidays].normalize().unique())
        model = Prophet(
            growth="flat",
            daily_seasonality=True,
            weekly_seasonality=len(known) >= 2 * WEEK,
            yearly_seasonality=False,
            holidays=pd.DataFrame({"holiday": "holiday", "ds": days}) if len(days) else None,
            uncertainty_samples=0,
        )
        model.fit(pd.DataFrame({"ds": labels[: len(known)], "y": known}), timeout=FIT_TIMEOUT_SECONDS, seed=1)
        week = pd.date_range(MONDAY, periods=WEEK, freq="h")
        expected: Floats = model.predict(pd.DataFrame({"ds": week}))["yhat"].to_numpy()
        holiday = float(model.predict(pd.DataFrame({"ds": days[:1]}))["holiday"].iloc[0]) if len(days) else 0.0
    return expected, holiday


def _autoregression(residuals: Floats, horizon: int) -> Floats:
    """The residuals of the coming hours by a linear autoregression on `LAGS`, fitted by ridge regression."""
    rows = np.arange(LAGS[-1], len(residuals))
    lagged = residuals[rows[:, None] - LAGS]
    shrinkage = 0.01 * len(rows) * np.var(residuals) * np.eye(len(LAGS))
    weights = np.linalg.solve(lagged.T @ lagged + shrinkage + 1e-9 * np.eye(len(LAGS)), lagged.T @ residuals[rows])
    values: list[float] = residuals[-LAGS[-1] :].tolist()
    for _ in range(horizon):
        values.append(float(np.asarray(values)[len(values) - LAGS] @ weights))
    return np.asarray(values[LAGS[-1] :])


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
