"""What is usual at an hour of the day, so that a daily course is neither a drift nor an anomaly.

Saturdays and Sundays have hours of their own where a machine runs otherwise on them.
"""

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from storage.arrays import Floats, Indices, Mask
from storage.times import DAY, HOUR

HOURS = 24
MIN_SHARE = 0.8  # of the day's hours with enough days, and of the weekends that are nearer to their kind
MAX_SPREAD = 0.8  # of the residual, in spreads of the values themselves
# Working days, Saturdays and Sundays; a weekend's day needs so many of its kind, or counts as a working day.
KINDS = 3
MIN_DAYS_OF_KIND = 3


def hourly_residual(
    column: pd.Series, training: Mask, zone: ZoneInfo, min_days: int
) -> tuple[pd.Series, Floats] | None:
    """The distance from what is usual at that local time of the day, or None if the time explains little.

    The second result is what is usual, of shape (kinds of days, hours).

    Usual is the median over the training days, hour by hour, and interpolated between the middles of the hours. A
    training row is compared with the other days only: its own would make it look more usual than a new row can be.
    Nearly every hour needs readings of `min_days` training days. Saturdays, and Sundays, are told apart if that
    brings most of them nearer to what is usual: days that differ like a solar plant's do it by chance now and then.
    """
    day, time = _local(column, zone)
    values = column.to_numpy(float)
    days, of_training = np.unique(day[training], return_inverse=True)
    by_day = _hourly_means(values[training], of_training, time[training], len(days))
    if not _is_known(by_day, min_days):
        return None
    kinds = _kind(days)

    def residual_to(usual: Floats, groups: Indices) -> Floats:
        which = len(days) + groups[_kind(day)]
        which[training] = of_training
        return _distance(values, time, usual, which)

    together, apart = np.zeros(KINDS, np.intp), np.arange(KINDS)
    usual = _usual(by_day, together[kinds])
    residual = residual_to(usual, together)
    from_all, from_kind = (
        _means(np.abs(found[training]), of_training, len(days))
        for found in (residual, residual_to(_usual(by_day, apart[kinds]), apart))
    )
    groups = together.copy()
    for kind in range(1, KINDS):
        of_kind = kinds == kind
        nearer = from_kind[of_kind] < MAX_SPREAD * from_all[of_kind]
        if _is_known(by_day[of_kind], MIN_DAYS_OF_KIND) and nearer.mean() >= MIN_SHARE:
            groups[kind] = kind
    if groups.any():
        usual = _usual(by_day, groups[kinds])
        residual = residual_to(usual, groups)
    found = pd.Series(residual, column.index)
    explains = _spread(found[training]) < MAX_SPREAD * _spread(column[training])
    return (found, usual[len(days) :][groups]) if explains else None


def from_usual_hour(column: pd.Series, by_hour: Floats, zone: ZoneInfo) -> pd.Series:
    """The distance from what is known to be usual, by kind of day and hour."""
    day, time = _local(column, zone)
    return pd.Series(_distance(column.to_numpy(float), time, by_hour, _kind(day)), column.index)


def _kind(day: Indices) -> Indices:
    """0 for working days, 1 for Saturdays, 2 for Sundays; `day` counts from 1970-01-01, a Thursday."""
    kinds: Indices = np.clip((day + 3) % 7 - 4, 0, KINDS - 1)
    return kinds


def _is_known(by_day: Floats, min_days: int) -> bool:
    """Whether nearly every hour was measured on enough of these days."""
    return bool((np.isfinite(by_day).sum(axis=0) >= min_days).mean() >= MIN_SHARE)


def _usual(by_day: Floats, kinds: Indices) -> Floats:
    """What is usual on each day by the others of its kind, and after these rows on each kind of day."""
    others, medians = np.empty_like(by_day), np.tile(_medians(by_day), (KINDS, 1))
    for kind in np.unique(kinds):
        of_kind = kinds == kind
        others[of_kind], medians[kind] = _medians_of_others(by_day[of_kind]), _medians(by_day[of_kind])
    return np.vstack([others, medians])


def _medians(by_day: Floats) -> Floats:
    return _without_holes(pd.DataFrame(by_day).median().to_numpy())


def _local(column: pd.Series, zone: ZoneInfo) -> tuple[Indices, Floats]:
    """The number of the local day of each row, and the hours of its clock."""
    clock = pd.DatetimeIndex(column.index).tz_convert(zone).tz_localize(None).as_unit("us").asi8
    return clock // DAY, clock % DAY / HOUR


def _hourly_means(values: Floats, days: Indices, time: Floats, count: int) -> Floats:
    """The mean of each hour of each day, of shape (days, hours); NaN where nothing was measured."""
    return _means(values, days * HOURS + time.astype(np.intp), count * HOURS).reshape(count, HOURS)


def _means(values: Floats, group: Indices, count: int) -> Floats:
    """The mean of each of `count` groups; NaN where nothing was measured."""
    known = np.isfinite(values)
    sums, sizes = (np.bincount(group[known], weights, count) for weights in (values[known], None))
    with np.errstate(invalid="ignore"):
        means: Floats = sums / sizes
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


def _distance(values: Floats, time: Floats, by_hour: Floats, which: Indices) -> Floats:
    """The distance from what is usual at these times, or from what is usual in the hour and its neighbours if nearer.

    A machine that switches on or off, or warms up, does so within an hour, and not at the same minute each day.
    """
    hour = np.floor(time).astype(np.intp)
    around = np.stack([by_hour[which, (hour + beside) % HOURS] for beside in (-1, 0, 1)])
    from_line = values - _at(time, by_hour, which)
    from_hours = values - np.clip(values, around.min(axis=0), around.max(axis=0))
    return np.where(np.abs(from_hours) < np.abs(from_line), from_hours, from_line)


def _at(time: Floats, by_hour: Floats, which: Indices) -> Floats:
    """The values of the rows in `which` at these times, interpolated between the middles of the hours."""
    before = np.floor(time - 0.5).astype(np.intp)
    share = time - 0.5 - before
    values: Floats = (1 - share) * by_hour[which, before % HOURS] + share * by_hour[which, (before + 1) % HOURS]
    return values


def _spread(values: pd.Series) -> float:
    return float(values.quantile(0.84) - values.quantile(0.16))
