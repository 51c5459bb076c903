"""What shows anomalies of a single series, whose values alone say too little: its shapes, and its half-day means."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import numpy as np
import pandas as pd

from assets.analyses.events import without_tails
from storage.arrays import Floats, Indices

SHORT_ROWS, LONG_ROWS = 6, 48
HALF_DAY_MEAN = "half-day mean"
SPAN = timedelta(hours=12)  # means of a whole day would hide how much the daily course varies
HISTORY, MIN_ROWS = timedelta(days=7), 48  # less says too little about other half days
LIMIT = 3.5  # usual spreads of the means before
RECURRING, BEYOND = 0.03, 1.25  # a mean recurs if it is not this much farther away than 3 % of those before
MIN_SPREAD = 0.25  # of the readings' usual spread: a shift that is lost among the readings is no event
SHOWN = 0.5  # of the limit: what is nearer to the usual explains no event
FILLED = 0.5  # of the rows of half a day


def shapes(column: pd.Series) -> dict[str, tuple[pd.Series, str]]:
    """Six features of a single series, each with its words."""
    filled = column.interpolate(limit_direction="both")
    short, long = filled.rolling(SHORT_ROWS, min_periods=1), filled.rolling(LONG_ROWS, min_periods=1)
    return {
        "value": (filled, "{}"),
        "mean": (short.mean(), f"the mean of {{}} over {SHORT_ROWS} readings"),
        "spread": (short.std().fillna(0.0), f"the spread of {{}} over {SHORT_ROWS} readings"),
        "long spread": (long.std().fillna(0.0), f"the spread of {{}} over {LONG_ROWS} readings"),
        "change": (filled.diff().abs().fillna(0.0), "the change of {} between two readings"),
        "from its mean": (
            filled - long.mean(),
            f"the distance of {{}} from its mean over {LONG_ROWS} readings",
        ),
    }


@dataclass(frozen=True)
class HalfDays:
    """By row, how far the mean of the newest half day is from the median of those before.

    A long weak deviation is as strange as a short strong one, though no row of it need be. A few days of training hold
    too few half days to tell. So each mean is compared with all those before it: what is usual is learnt as the rows
    pass.

    `strengths`: in limits. `distances`: in the metric's unit, with its sign; 0 if they are usual. Both are 0 where too
    little is known. `spread`: the usual spread of the means at the end, in the metric's unit.
    """

    strengths: Floats
    distances: Floats
    spread: float

    @classmethod
    def of(cls, column: pd.Series, step: timedelta, since: int = 0) -> Self:
        """Those of a series without gaps; what is usual is learnt from row `since` on."""
        known = column.iloc[since:]
        times = pd.DatetimeIndex(known.index)
        means = known.rolling(SPAN, min_periods=max(int(FILLED * (SPAN / step)), 1)).mean()
        before = times.searchsorted(times - SPAN, side="right") - 1
        low, median, high = (_so_far(means, share, before) for share in (0.16, 0.5, 0.84))
        lowest, highest = (_so_far(known, share, before) for share in (0.16, 0.84))
        spreads = np.maximum(high - low, MIN_SPREAD * (highest - lowest)) / 2
        tails = [np.abs(_so_far(means, share, before) - median) for share in (RECURRING, 1 - RECURRING)]
        spreads = np.maximum(spreads, BEYOND / LIMIT * np.maximum(*tails))
        spreads[(times < times[0] + HISTORY + SPAN) | ~(spreads > 0)] = np.nan
        newest = means.to_numpy() - median
        ahead = means.to_numpy()[times.searchsorted(times + SPAN, side="right") - 1] - median
        strengths, later = (np.nan_to_num(np.abs(distances) / spreads) / LIMIT for distances in (newest, ahead))
        strengths = without_tails(strengths, later, step, 1.0)
        not_learnt, last = np.zeros(since), spreads[np.isfinite(spreads)]
        return cls(
            strengths=np.r_[not_learnt, strengths],
            distances=np.r_[not_learnt, np.where(strengths > SHOWN, newest, 0.0)],
            spread=float(last[-1]) if len(last) else 1.0,
        )


def _so_far(values: pd.Series, share: float, until: Indices) -> Floats:
    """The quantile of all values up to each of these rows."""
    quantiles = values.expanding(MIN_ROWS).quantile(share).to_numpy()
    return np.where(until >= 0, quantiles[until], np.nan)
