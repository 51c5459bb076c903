"""What is usual at an hour of the day, so that a daily course is neither a drift nor an anomaly."""

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from storage.arrays import Floats, Indices, Mask
from storage.times import DAY, HOUR

HOURS = 24
MIN_SHARE = 0.8  # of the day's hours with enough days
MAX_SPREAD = 0.8  # of the residual, in spreads of the values themselves


def hourly_residual(
    column: pd.Series, training: Mask, zone: ZoneInfo, min_days: int
) -> tuple[pd.Series, Floats] | None:
    """The distance from what is usual at that local time of the day, or None if the time explains little.

    The second result is what is usual, by hour of the day.

    Usual is the median over the training days, hour by hour, and interpolated between the middles of the hours. A
    training row is compared with the other days only: its own would make it look more usual than a new row can be.
    Nearly every hour needs readings of `min_days` training days.
    """
    day, time = _local(column, zone)
    values = column.to_numpy(float)
    days, of_training = np.unique(day[training], return_inverse=True)
    by_day = _hourly_means(values[training], of_training, time[training], len(days))
    if (np.isfinite(by_day).sum(axis=0) >= min_days).mean() < MIN_SHARE:
        return None
    median = _without_holes(pd.DataFrame(by_day).median().to_numpy())
    which = np.full(len(values), len(days))
    which[training] = of_training
    residual = pd.Series(values - _at(time, np.vstack([_medians_of_others(by_day), median]), which), column.index)
    explains = _spread(residual[training]) < MAX_SPREAD * _spread(column[training])
    return (residual, median) if explains else None


def from_usual_hour(column: pd.Series, by_hour: Floats, zone: ZoneInfo) -> pd.Series:
    """The distance from what is known to be usual, by hour of the day."""
    _, time = _local(column, zone)
    usual = _at(time, by_hour[None, :], np.zeros(len(time), np.intp))
    return pd.Series(column.to_numpy() - usual, column.index)


def _local(column: pd.Series, zone: ZoneInfo) -> tuple[Indices, Floats]:
    """The number of the local day of each row, and the hours of its clock."""
    clock = pd.DatetimeIndex(column.index).tz_convert(zone).tz_localize(None).as_unit("us").asi8
    return clock // DAY, clock % DAY / HOUR


def _hourly_means(values: Floats, days: Indices, time: Floats, count: int) -> Floats:
    """The mean of each hour of each day, of shape (days, hours); NaN where nothing was measured."""
    known = np.isfinite(values)
    cell = (days * HOURS + time.astype(np.intp))[known]
    sums, sizes = (np.bincount(cell, weights, count * HOURS) for weights in (values[known], None))
    with np.errstate(invalid="ignore"):
        means: Floats = (sums / sizes).reshape(count, HOURS)
    return means


def _medians_of_others(by_day: Floats) -> Floats:
    """For each day the medians of the other days, by hour, of shape (days, hours)."""
    ascending = np.sort(by_day, axis=0)  # NaN comes last
    rank = np.argsort(np.argsort(by_day, axis=0), axis=0)
    known = np.isfinite(by_day)
    others = known.sum(axis=0) - known

    def of_others(position: Indices) -> Floats:
        found = np.clip(position + (position >= rank), 0, len(by_day) - 1)
        return np.take_along_axis(ascending, found, axis=0)

    medians = np.where(others > 0, (of_others((others - 1) // 2) + of_others(others // 2)) / 2, np.nan)
    return np.stack([_without_holes(row) for row in medians])


def _without_holes(by_hour: Floats) -> Floats:
    """Hours that were never measured are interpolated, around the clock."""
    known = np.isfinite(by_hour)
    if known.all() or not known.any():
        return by_hour
    hours = np.arange(HOURS)
    filled: Floats = np.interp(hours, hours[known], by_hour[known], period=HOURS)
    return filled


def _at(time: Floats, by_hour: Floats, which: Indices) -> Floats:
    """The values of the rows in `which` at these times, interpolated between the middles of the hours."""
    before = np.floor(time - 0.5).astype(np.intp)
    share = time - 0.5 - before
    values: Floats = (1 - share) * by_hour[which, before % HOURS] + share * by_hour[which, (before + 1) % HOURS]
    return values


def _spread(values: pd.Series) -> float:
    return float(values.quantile(0.84) - values.quantile(0.16))
