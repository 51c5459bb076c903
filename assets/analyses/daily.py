"""What is usual at an hour of the day, so that a daily course is neither a drift nor an anomaly."""

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from storage.arrays import Floats, Mask

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
    known = pd.Series(column.to_numpy()[training])
    means = known.groupby([np.asarray(day[training]), time[training].astype(int) % HOURS]).mean().unstack()
    means = means.reindex(columns=range(HOURS))
    days_by_hour = means.notna().sum()
    if (days_by_hour >= min_days).mean() < MIN_SHARE:
        return None
    by_day = means.to_numpy()
    median = _median(by_day)
    usual = _at(time, median)
    for i, one in enumerate(means.index):
        of_day = training & np.asarray(day == one)
        usual[of_day] = _at(time[of_day], _median(np.delete(by_day, i, axis=0)))
    residual = pd.Series(column.to_numpy() - usual, column.index)
    explains = _spread(residual[training]) < MAX_SPREAD * _spread(column[training])
    return (residual, median) if explains else None


def from_usual_hour(column: pd.Series, by_hour: Floats, zone: ZoneInfo) -> pd.Series:
    """The distance from what is known to be usual, by hour of the day."""
    _, time = _local(column, zone)
    return pd.Series(column.to_numpy() - _at(time, by_hour), column.index)


def _local(column: pd.Series, zone: ZoneInfo) -> tuple[pd.DatetimeIndex, Floats]:
    """The local day of each row, and the hours since its midnight."""
    local = pd.DatetimeIndex(column.index).tz_convert(zone)
    day = local.normalize()
    return day, np.asarray((local - day) / pd.Timedelta(hours=1), float)


def _median(by_day: Floats) -> Floats:
    """By hour of the day, with hours that were never measured interpolated."""
    medians = pd.DataFrame(by_day).median().to_numpy()
    hours, known = np.arange(HOURS), ~np.isnan(medians)
    if not known.any():
        return np.full(HOURS, np.nan)
    filled: Floats = np.interp(hours, hours[known], medians[known], period=HOURS)
    return filled


def _at(time: Floats, by_hour: Floats) -> Floats:
    values: Floats = np.interp(time, np.arange(HOURS) + 0.5, by_hour, period=HOURS)
    return values


def _spread(values: pd.Series) -> float:
    return float(values.quantile(0.84) - values.quantile(0.16))
