"""Readings and recorded failures as examples to learn from: what the device did until a moment, and what came next."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from assets.analyses import CannotAnalyse, readings

STEPS = 24  # of a horizon: readings are taken in means over one
MAX_STEPS = 50_000
SETTLED = 24  # steps after a failure, in which the baseline of the repaired machine is learnt
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Examples:
    """One row per step, known at its end: features of the past only.

    `fails` says whether a recorded failure lies within the horizon after it; `told` is False where that is not known
    yet. `failures` are those within the readings; `channels` says whose each feature is.
    """

    features: pd.DataFrame
    channels: tuple[str, ...]
    fails: Flags
    told: Flags
    failures: pd.DatetimeIndex
    left_out: dict[str, str]

    @property
    def ends(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.features.index)


def examples(rows: pd.DataFrame, failures: list[datetime], horizon: timedelta) -> Examples:
    """Means over steps of a 24th of the horizon, how they moved, and how far they are from the machine's own baseline.

    The baseline is what the machine did in its first steps after the failure before (or since the readings began):
    machines differ, and a repair makes another one.

    Raises:
        CannotAnalyse: no channel carries anything, or the failures lie outside the readings.

    """
    left_out = {str(name): readings.IS_LABEL for name in rows if name in readings.LABELS}
    left_out |= {str(name): "constant" for name in rows if name not in readings.LABELS and rows[name].nunique() < 2}
    rows = rows.drop(columns=list(left_out))
    if not len(rows.columns):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise CannotAnalyse(f"no metric changes, so that none can tell of a failure ({reasons or 'no readings'})")
    times = pd.DatetimeIndex(rows.index)
    step = max(horizon / STEPS, readings.cadence(times), (times[-1] - times[0]) / MAX_STEPS)
    means = rows.resample(step, label="right", closed="right", origin="epoch").mean().dropna(how="all")
    ends = pd.DatetimeIndex(means.index)
    within = _within(times, failures)
    life = within.searchsorted(ends, side="left")
    made: dict[str, pd.Series] = {}
    for name, values in means.items():
        short, long = values.rolling(STEPS // 4, min_periods=1), values.rolling(STEPS, min_periods=1)
        smooth = short.mean()
        made |= {
            f"{name}": values,
            f"{name}, rolling mean": smooth,
            f"{name}, rolling spread": long.std(),
            f"{name}, from its baseline": long.mean() - _baseline(values, life),
            f"{name}, trend": smooth - long.mean(),
        }
    features = pd.DataFrame(made)
    channels = tuple(str(name) for name in means for _ in range(len(made) // len(means.columns)))
    following = within.searchsorted(ends, side="right")
    fails = np.zeros(len(ends), bool)
    has_next = following < len(within)
    fails[has_next] = within[following[has_next]] <= ends[has_next] + horizon
    told = fails | np.asarray(ends + horizon <= times[-1])
    return Examples(features, channels, fails, told, within, left_out)


def _within(times: pd.DatetimeIndex, failures: list[datetime]) -> pd.DatetimeIndex:
    """The failures between the first and the last reading, each once."""
    recorded = pd.to_datetime(sorted(set(failures)), utc=True)
    return pd.DatetimeIndex(recorded[(recorded > times[0]) & (recorded <= times[-1])])


def _baseline(values: pd.Series, life: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> pd.Series:
    """Mean of the first steps of each life; while they run, of those so far."""
    lives = values.groupby(life)
    so_far = lives.expanding().mean().droplevel(0)
    age = lives.cumcount()
    return so_far.where(age < SETTLED).groupby(life).ffill()
