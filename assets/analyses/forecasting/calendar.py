"""The clock and the calendar of a device's place, by the hour."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from storage.arrays import Indices, Mask

DAY, WEEK = 24, 168  # hours
HOUR = timedelta(hours=1)
SUNDAY = 6


@dataclass(frozen=True)
class Slots:
    """Where hours are in their calendar: the hour of the day, the day in a count of days, and the kind of the day.

    The arrays have the same shape. The kinds are those of `LocalHours.kind_of_day`.
    """

    hour: Indices
    day: Indices
    kind: Indices

    def __getitem__(self, rows: int | slice) -> "Slots":
        return Slots(self.hour[rows], self.day[rows], self.kind[rows])


@dataclass(frozen=True)
class LocalHours:
    """Hours of a local clock, counted from `start` on. A change of the clock leaves an hour out, or has one twice.

    `is_holiday` tells whether a local day is a public holiday.
    """

    zone: ZoneInfo
    start: datetime
    is_holiday: Callable[[date], bool]

    def positions(self, times: pd.DatetimeIndex) -> Indices:
        """The hours of UTC times."""
        local = times.tz_convert(self.zone).tz_localize(None).floor("h")
        hours: Indices = ((local - pd.Timestamp(self.start)) // pd.Timedelta(HOUR)).to_numpy().astype(np.intp)
        return hours

    def hour_of_day(self, at: Indices) -> Indices:
        return np.asarray((self.start.hour + at) % DAY)

    def weekday(self, at: Indices) -> Indices:
        """0 is Monday; a holiday counts as a Sunday."""
        days = (self.start.hour + at) // DAY
        weekdays = (self.start.weekday() + days) % 7
        return np.where(self.holidays(at), SUNDAY, weekdays)

    def holidays(self, at: Indices) -> Mask:
        days = (self.start.hour + np.asarray(at)) // DAY
        first, last = int(days.min()), int(days.max())
        of_days = np.array([self.is_holiday(self.start.date() + timedelta(days=d)) for d in range(first, last + 1)])
        return np.asarray(of_days[days - first])

    def kind_of_day(self, at: Indices) -> Indices:
        """0 a working day, 1 Saturday, 2 Sunday or a holiday."""
        return np.maximum(self.weekday(at) - 4, 0)

    def slots(self, at: Indices) -> Slots:
        return Slots(self.hour_of_day(at), np.asarray((self.start.hour + at) // DAY), self.kind_of_day(at))

    def labels(self, at: Indices) -> pd.DatetimeIndex:
        """The hours as readings of the local clock."""
        return pd.DatetimeIndex(pd.Timestamp(self.start) + pd.to_timedelta(np.asarray(at), unit="h"))


def bin_offset(zone: ZoneInfo, moment: pd.Timestamp) -> timedelta:
    """How far the local hours begin after those of UTC: 30 minutes in India."""
    offset = moment.tz_convert(zone).utcoffset() or timedelta()
    return -offset % HOUR
