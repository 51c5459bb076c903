"""Frozen channels: stretches in which all metrics hold their values, as after a gateway or a sensor bus has failed."""

from datetime import timedelta

import numpy as np
import pandas as pd

from storage.arrays import Floats, Indices

MIN_DURATION = timedelta(hours=1)
MIN_ROWS = 20
TIMES_USUAL = 5  # as many rows as all metrics usually hold their values


def frozen_runs(rows: pd.DataFrame, held_rows: int) -> list[slice]:
    """The runs of rows in which every metric repeats its first value exactly, far longer than it usually does.

    A run lasts at least an hour and 20 rows. A machine at rest repeats its values too, but it does so again at other
    times: a run whose values are held for half as many rows elsewhere is not frozen. Neither are zeros.

    Args:
        rows: readings as of `readings.frame`.
        held_rows: how many rows a value holds if a metric is not in each row.

    """
    held = rows.ffill(limit=held_rows).loc[:, rows.nunique() > 1]
    if not len(held.columns) or len(rows) <= MIN_ROWS:
        return []
    values = held.to_numpy()
    repeats = np.r_[False, np.isclose(values[1:], values[:-1], rtol=1e-9, atol=0).all(axis=1)]
    starts = np.flatnonzero(~repeats)
    ends = np.r_[starts[1:], len(values)]
    lengths = ends - starts
    min_rows = max(MIN_ROWS, TIMES_USUAL * float(np.quantile(lengths, 0.95)))
    times = pd.DatetimeIndex(rows.index)
    long = np.flatnonzero((lengths >= min_rows) & (times[ends - 1] - times[starts] >= MIN_DURATION))
    return [
        slice(int(starts[i]), int(ends[i]))
        for i in long.tolist()
        if values[starts[i]].any() and not _rests_elsewhere(i, lengths, values[starts])
    ]


def _rests_elsewhere(run: int, lengths: Indices, values: Floats) -> bool:
    """Whether the same values are held again, for at least half as many rows; one line of `values` a run."""
    same = np.isclose(values, values[run], rtol=1e-9, atol=0).all(axis=1)
    same[run] = False
    return bool((lengths[same] * 2 >= lengths[run]).any())
