"""Series whose days of the week differ: some models take what the profile of the week leaves of them."""

import numpy as np

from assets.analyses.forecasting.baselines import profile_at
from assets.analyses.forecasting.calendar import DAY, WEEK
from assets.analyses.forecasting.hours import Hours
from storage.arrays import Floats, Indices

DAYS = 21
GAIN = 0.8  # how much smaller the daily changes must be without the week's profile


def is_weekly(hours: Hours, origin: int) -> bool:
    """Whether the days of the week differ so much that their profile explains much of a day's change."""
    if origin < 2 * WEEK:
        return False
    at = np.arange(max(0, origin - DAYS * DAY), origin)
    changes, of_left = (
        float(np.mean(np.abs(np.subtract(series[DAY:], series[:-DAY]))))
        for series in (hours.values[at], without_week(hours, origin, at))
    )
    return of_left < GAIN * changes


def without_week(hours: Hours, origin: int, at: Indices) -> Floats:
    """What the week's profile, as it is known at `origin`, leaves of the values."""
    return np.asarray(hours.values[at] - profile_at(hours, origin, at))
