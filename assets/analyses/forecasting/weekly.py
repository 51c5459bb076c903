"""Series whose days of the week differ: some models take what the profile of the week leaves of them."""

import numpy as np

from assets.analyses.forecasting.baselines import profile_at
from assets.analyses.forecasting.calendar import DAY, WEEK
from assets.analyses.forecasting.hours import Hours
from storage.arrays import Floats

DAYS = 21
GAIN = 0.8  # how much smaller the daily changes must be without the week's profile


def known_values(hours: Hours, first: int, origin: int, *, of_week: bool) -> Floats:
    """The values from `first` to `origin`, or what the week's profile leaves of them as it is known at `origin`."""
    at = np.arange(first, origin)
    return hours.values[at] - (profile_at(hours, origin, at) if of_week else 0.0)


def is_weekly(hours: Hours, origin: int) -> bool:
    """Whether the days of the week differ so much that their profile explains much of a day's change."""
    if origin < 2 * WEEK:
        return False
    first = max(0, origin - DAYS * DAY)
    values, left = (known_values(hours, first, origin, of_week=of_week) for of_week in (False, True))
    changes, of_left = (float(np.mean(np.abs(series[DAY:] - series[:-DAY]))) for series in (values, left))
    return of_left < GAIN * changes
