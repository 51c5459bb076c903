"""Forecasts without a fit: the plain ones that a model must beat, and a profile of the week."""

import numpy as np

from assets.analyses.forecasting.calendar import DAY, WEEK
from assets.analyses.forecasting.hours import Hours
from storage.arrays import Floats, Indices

PROFILE_WEEKS = 6
MAX_DAYS_BACK = 35

# The baselines by what they are called in results.
DAY_BEFORE = "the value 24 hours before"
WEEK_BEFORE = "the value 168 hours before"
SAME_KIND = "the same hour of the last day of the same kind"


def seasonal_naive(hours: Hours, origins: list[int], horizon: int, season: int = DAY) -> Floats:
    """The values of one season before; later seasons repeat it."""
    ahead = np.arange(horizon) % season
    return np.stack([hours.values[origin - season + ahead] for origin in origins])


def same_kind_of_day(hours: Hours, origins: list[int], horizon: int) -> Floats:
    """The same hour of the newest day of the same kind: working day, Saturday, or Sunday and holidays.

    Where there is none within five weeks, it is the newest day.
    """
    return np.stack([_newest_alike(hours, origin, horizon) for origin in origins])


def _newest_alike(hours: Hours, origin: int, horizon: int) -> Floats:
    ahead = np.arange(origin, origin + horizon)
    first = ahead - DAY * ((ahead - origin) // DAY + 1)  # the newest known value of that hour of the day
    days = np.arange(min(MAX_DAYS_BACK, int(first.min()) // DAY + 1))
    before = first[:, None] - DAY * days
    kinds = hours.clock.kind_of_day
    alike = (kinds(before) == kinds(ahead)[:, None]) & (before >= 0)
    found: Floats = hours.values[before[np.arange(horizon), alike.argmax(axis=1)]]
    return found


def baselines(hours: Hours, origins: list[int], horizon: int) -> dict[str, Floats]:
    """The baselines that the history allows, by name; of shape (origins, horizon)."""
    found = {DAY_BEFORE: seasonal_naive(hours, origins, horizon)}
    if min(origins) >= WEEK:
        found[WEEK_BEFORE] = seasonal_naive(hours, origins, horizon, WEEK)
        found[SAME_KIND] = same_kind_of_day(hours, origins, horizon)
    return found


def week_profile(hours: Hours, origins: list[int], horizon: int) -> Floats:
    """The mean of the same hour of the week over the newest six weeks.

    Holidays are left out of working days' means; a holiday is forecast as a Sunday.
    """
    return np.stack([profile_at(hours, origin, np.arange(origin, origin + horizon)) for origin in origins])


def profile_at(hours: Hours, origin: int, at: Indices) -> Floats:
    """The profile's values for the given hours, from what is known before `origin`."""
    past = np.arange(max(0, origin - PROFILE_WEEKS * WEEK), origin)
    of_week = _of_week(hours, past)
    sums = np.bincount(of_week, hours.values[past], WEEK)
    counts = np.bincount(of_week, minlength=WEEK)
    by_day = np.bincount(of_week % DAY, hours.values[past], DAY) / np.maximum(
        np.bincount(of_week % DAY, minlength=DAY), 1
    )
    profile = np.where(counts > 0, sums / np.maximum(counts, 1), np.tile(by_day, 7))
    values: Floats = profile[_of_week(hours, at)]
    return values


def _of_week(hours: Hours, at: Indices) -> Indices:
    return np.asarray(hours.clock.weekday(at) * DAY + hours.clock.hour_of_day(at))
