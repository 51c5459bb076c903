"""Readings as an unbroken series of local hours, with what had to be filled in."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from assets.analyses import readings
from assets.analyses.forecasting.calendar import DAY, WEEK, LocalHours, bin_offset
from assets.analyses.forecasting.hours import Hours
from assets.analyses.result import CannotAnalyse
from storage.arrays import Floats, Indices, Mask, runs

MAX_INTERPOLATED_HOURS = 6  # in a row
MAX_GAP_HOURS = 14 * DAY  # older history is not used
MAX_FILLED_SHARE = 0.4
SILENT_SHARE = 0.8  # of the days on which an hour has no readings
MIN_DAYS, MIN_WEEKS = 3, 2
MAX_SILENT_HOURS = 4 * DAY  # in a row; longer is an outage
NEARLY_NOTHING = 0.25  # of the usual maximum: what a machine does before it falls silent


def hourly_means(column: pd.Series, zone: ZoneInfo) -> pd.Series:
    """Means of UTC hours that begin when the local hours do. The last hour counts once it is half covered."""
    column = column.dropna()
    means = column.resample("1h", offset=bin_offset(zone, column.index[-1])).mean()
    covered = column.index[-1] + readings.cadence(column.index) - means.index[-1]
    if len(means) > 1 and covered < timedelta(minutes=30):
        means = means.iloc[:-1]
    return means


def local_hours(means: pd.Series, clock: LocalHours, *, fades: bool, needed: int) -> Hours:
    """The series of local hours, from the last gap of more than 14 days on.

    Args:
        means: hourly means by UTC hour, NaN where there are no readings.
        clock: the device's, whose `start` is the first hour's or an earlier one.
        fades: whether the metric of a device that falls silent is zero, such as power.
        needed: hours with readings.

    Raises:
        CannotAnalyse: the history is too short, or constant.

    """
    at = clock.positions(pd.DatetimeIndex(means.index))
    by_hour = pd.Series(means.to_numpy(), at).groupby(level=0).mean()
    positions = np.arange(at[0], at[-1] + 1)
    values = by_hour.reindex(positions).to_numpy(copy=True)
    known = ~np.isnan(values)
    silent = _silent(values, positions, clock)
    is_silent = ~known & ~_outages(values) & np.isin(_hour_of_week(clock, positions), list(silent))
    missing = ~known & ~is_silent & np.isin(positions, at)  # where the clock goes forward an hour is not missing
    gaps = [run for run in runs(missing) if run.stop - run.start > MAX_INTERPOLATED_HOURS]
    first = max((gap.stop for gap in gaps if gap.stop - gap.start > MAX_GAP_HOURS), default=0)
    gaps = [gap for gap in gaps if gap.start >= first]
    _check_enough(values[first:], missing[first:], (known | is_silent)[first:], needed, is_cut=first > 0)
    if values[first:][known[first:]].min() == values[first:][known[first:]].max():
        raise CannotAnalyse(f"{means.name} is constant, so there is nothing to forecast.")
    edges = _edges(values, is_silent)
    if fades and len(edges) and np.median(edges) <= NEARLY_NOTHING * np.nanquantile(values, 0.95):
        values[is_silent] = 0.0
    _fill(values, gaps, positions, clock)
    filled = sum(gap.stop - gap.start for gap in gaps)
    labels = clock.labels(positions)
    moments = labels.tz_localize(clock.zone, ambiguous=np.ones(len(labels), bool), nonexistent="shift_forward")
    moments = moments.tz_convert("UTC")
    return Hours(
        values=pd.Series(values[first:]).interpolate(limit_direction="both").to_numpy(),
        clock=LocalHours(clock.zone, labels[first].to_pydatetime(), clock.is_holiday),
        known=known[first:],
        silent=silent,
        interpolated=int(missing[first:].sum()) - filled,
        filled=filled,
        gaps=tuple((moments[gap.start], moments[gap.stop - 1]) for gap in gaps),
    )


def _check_enough(values: Floats, missing: Mask, counted: Mask, needed: int, *, is_cut: bool) -> None:
    if counted.sum() < needed:
        since = f" since the last gap of more than {MAX_GAP_HOURS // DAY} days" if is_cut else ""
        raise CannotAnalyse(
            f"A forecast and its test on the past need {needed} hours of history; there are {counted.sum()}{since}."
            " Choose more days."
        )
    if missing.mean() > MAX_FILLED_SHARE:
        raise CannotAnalyse(
            f"{missing.sum()} of the {len(values)} hours have no readings, more than {MAX_FILLED_SHARE:.0%} of them. "
            "Choose days in which the device was measured."
        )


def _outages(values: Floats) -> Mask:
    """Hours without readings in runs of more than four days."""
    is_outage = np.zeros(len(values), bool)
    for run in runs(np.isnan(values)):
        is_outage[run] = run.stop - run.start > MAX_SILENT_HOURS
    return is_outage


def _hour_of_week(clock: LocalHours, at: Indices) -> Indices:
    plain = LocalHours(clock.zone, clock.start, lambda _day: False)
    return plain.weekday(at) * DAY + plain.hour_of_day(at)


def _silent(values: Floats, positions: Indices, clock: LocalHours) -> frozenset[int]:
    """The hours of the week without readings, in the newest eight weeks.

    An hour of the day is silent if it has no readings on nearly all days; an hour of the week, if that holds for its
    day of the week.
    """
    newest = np.flatnonzero(~_outages(values))[-8 * WEEK :]
    missing, of_week = np.isnan(values[newest]), _hour_of_week(clock, positions[newest])
    silent: set[int] = set()
    for hour in range(DAY):
        share = missing[of_week % DAY == hour]
        if len(share) >= MIN_DAYS and share.mean() >= SILENT_SHARE:
            silent |= {hour + DAY * day for day in range(7)}
    for hour in range(WEEK):
        share = missing[of_week == hour]
        if len(share) >= MIN_WEEKS and share.mean() >= SILENT_SHARE:
            silent.add(hour)
    return frozenset(silent)


def _edges(values: Floats, is_silent: Mask) -> Floats:
    """The values beside silent hours."""
    near = np.zeros(len(values), bool)
    near[:-1] |= is_silent[1:]
    near[1:] |= is_silent[:-1]
    return values[near & ~np.isnan(values)]


def _fill(values: Floats, gaps: list[slice], positions: Indices, clock: LocalHours) -> None:
    """Fill long gaps with the mean of the same hour of the week, or else of the day."""
    if not gaps:
        return
    of_week = _hour_of_week(clock, positions)
    frame = pd.Series(values)
    by_week, by_day = frame.groupby(of_week).mean(), frame.groupby(of_week % DAY).mean()
    for gap in gaps:
        usual = by_week.reindex(of_week[gap]).to_numpy()
        values[gap] = np.where(np.isnan(usual), by_day.reindex(of_week[gap] % DAY).to_numpy(), usual)
