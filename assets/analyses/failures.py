"""Readings and recorded failures as labelled examples: features of the past, and whether a failure followed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from assets.analyses import readings
from assets.analyses.result import CannotAnalyse
from storage.arrays import Indices, Mask

STEPS_PER_HORIZON = 24
MAX_STEPS = 50_000
BASELINE_STEPS = 24  # after a failure: what the repaired machine does in them is its baseline


@dataclass(frozen=True)
class Examples:
    """One row per step, indexed by the step's end; the features know only the past.

    `channels`: the metric that each feature belongs to. `fails`: whether a recorded failure follows within the horizon.
    `labelled`: whether that is known already; it is not for the newest steps. `failures`: the recorded failures within
    the readings. `left_out`: the metrics without features, each with the reason.
    """

    features: pd.DataFrame
    channels: tuple[str, ...]
    fails: Mask
    labelled: Mask
    failures: pd.DatetimeIndex
    left_out: dict[str, str]

    @property
    def ends(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.features.index)


def examples(rows: pd.DataFrame, failures: list[datetime], horizon: timedelta) -> Examples:
    """Examples from readings (`readings.frame`): means over steps of a 24th of the horizon, and how they move.

    One feature of each metric is its distance from the machine's own baseline: the mean of the first steps after the
    previous failure, or of the first readings. Machines differ, and a repair changes a machine.

    Raises:
        CannotAnalyse: no metric changes.

    """
    left_out = {str(name): readings.IS_LABEL for name in rows if name in readings.LABELS}
    left_out |= {str(name): "constant" for name in rows if name not in readings.LABELS and rows[name].nunique() < 2}
    rows = rows.drop(columns=list(left_out))
    if not len(rows.columns):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise CannotAnalyse(f"No metric changes, so none can indicate a failure ({reasons or 'no readings'}).")
    times = pd.DatetimeIndex(rows.index)
    step = max(horizon / STEPS_PER_HORIZON, readings.cadence(times), (times[-1] - times[0]) / MAX_STEPS)
    means = rows.resample(step, label="right", closed="right", origin="epoch").mean().dropna(how="all")
    ends = pd.DatetimeIndex(means.index)
    within = _within(times, failures)
    features = _features(means, life=within.searchsorted(ends, side="left"))
    channels = tuple(str(name) for name in means for _ in range(len(features.columns) // len(means.columns)))
    following = within.searchsorted(ends, side="right")
    fails = np.zeros(len(ends), bool)
    has_next = following < len(within)
    fails[has_next] = within[following[has_next]] <= ends[has_next] + horizon
    labelled = fails | np.asarray(ends + horizon <= times[-1])
    return Examples(features, channels, fails, labelled, within, left_out)


def _within(times: pd.DatetimeIndex, failures: list[datetime]) -> pd.DatetimeIndex:
    """The failures between the first and the last reading, ascending, without duplicates."""
    recorded = pd.to_datetime(sorted(set(failures)), utc=True)
    return pd.DatetimeIndex(recorded[(recorded > times[0]) & (recorded <= times[-1])])


def _features(means: pd.DataFrame, life: Indices) -> pd.DataFrame:
    """Five features of each metric; `life` counts the failures before each step."""
    features: dict[str, pd.Series] = {}
    for name, values in means.items():
        short = values.rolling(STEPS_PER_HORIZON // 4, min_periods=1)
        long = values.rolling(STEPS_PER_HORIZON, min_periods=1)
        smooth = short.mean()
        features |= {
            f"{name}": values,
            f"{name}, rolling mean": smooth,
            f"{name}, rolling spread": long.std(),
            f"{name}, from its baseline": long.mean() - _baseline(values, life),
            f"{name}, trend": smooth - long.mean(),
        }
    return pd.DataFrame(features)


def _baseline(values: pd.Series, life: Indices) -> pd.Series:
    """The mean of the first steps of each life; during these steps, the mean so far."""
    lives = values.groupby(life)
    mean_so_far = lives.expanding().mean().droplevel(0)
    age = lives.cumcount()
    return mean_so_far.where(age < BASELINE_STEPS).groupby(life).ffill()
