"""Readings that tower so far above or below all others that no machine can have measured them."""

from datetime import timedelta

import numpy as np
import pandas as pd

from storage.arrays import Mask

USUAL = (0.01, 0.99)  # quantiles
FAR, ABSURD = 10.0, 1_000.0  # usual ranges beyond the usual range
LEAST_SPREAD = 0.1  # of the level: the usual range of what hardly changes
MAX_RUN_READINGS, MAX_RUN = 5, timedelta(hours=1)
DAYS_PER_RUN, MIN_RUNS = 5, 3


def outliers(column: pd.Series, limit: float | None = None) -> Mask:
    """The readings to leave out.

    A reading counts as an outlier if it is ten usual ranges away from the usual range (1 to 99 %), alone or among at
    most five in an hour, and if that happens rarely: a machine that runs for some minutes each day is none. What is a
    thousand ranges away is always left out. `limit`: what the machine can reach at most, if that is known.
    """
    values, times = column.to_numpy(), pd.DatetimeIndex(column.index)
    low, high = np.quantile(values, USUAL)
    level = max(abs(low), abs(high), 1e-9)
    above = np.maximum(low - values, values - high)
    beyond, is_absurd = above / max(high - low, LEAST_SPREAD * level), above > ABSURD * max(high - low, level)
    left_out = np.zeros(len(values), bool) if limit is None else np.abs(values) > limit
    flagged = np.flatnonzero((beyond > FAR) & ~left_out)
    if not len(flagged):
        return left_out
    runs = np.split(flagged, np.flatnonzero(np.diff(flagged) > 1) + 1)
    short = [
        run for run in runs if len(run) <= MAX_RUN_READINGS and times[run[-1]] - times[run[0]] <= pd.Timedelta(MAX_RUN)
    ]
    allowed = max(MIN_RUNS, (times[-1] - times[0]).days // DAYS_PER_RUN)
    for run in short:
        left_out[run] = (len(runs) <= allowed) | is_absurd[run]
    return left_out
