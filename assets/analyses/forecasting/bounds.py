"""What is possible at an hour of the day: a forecast never leaves it, nor does a band."""

from dataclasses import dataclass

import numpy as np

from assets.analyses.forecasting.calendar import DAY
from assets.analyses.forecasting.hours import Hours
from storage.arrays import Floats, Indices

NEWEST_DAYS = 56
MARGIN = 0.5  # of the range seen at the hour: what was never seen and is still possible


@dataclass(frozen=True)
class Bounds:
    """The lowest and the highest possible value at each hour of the day."""

    lowest: Floats
    highest: Floats

    def clip(self, values: Floats, hours_of_day: Indices) -> Floats:
        clipped: Floats = np.clip(values, self.lowest[hours_of_day], self.highest[hours_of_day])
        return clipped


def bounds_of(hours: Hours, origin: int, limit: float | None = None) -> Bounds:
    """From the newest eight weeks before `origin`: the range at the hour and beside it, and half of it as a margin.

    A machine that always stands still at night cannot run then; a metric that was never negative cannot become so.
    `limit`: the most that the device can reach, if that is known.
    """
    at = np.arange(max(0, origin - NEWEST_DAYS * DAY), origin)
    values, of_day = hours.values[at], hours.clock.hour_of_day(at)
    low, high = np.full(DAY, np.inf), np.full(DAY, -np.inf)
    np.minimum.at(low, of_day, values)
    np.maximum.at(high, of_day, values)
    low = np.minimum.reduce([np.roll(low, shift) for shift in (-1, 0, 1)])
    high = np.maximum.reduce([np.roll(high, shift) for shift in (-1, 0, 1)])
    margin = MARGIN * (high - low)
    lowest, highest = low - margin, high + margin
    if values.min() >= 0:
        lowest = np.maximum(lowest, 0.0)
    if values.max() <= 0:
        highest = np.minimum(highest, 0.0)
    if limit is not None:
        lowest, highest = np.maximum(lowest, -limit), np.minimum(highest, limit)
    return Bounds(lowest, np.maximum(highest, lowest))
