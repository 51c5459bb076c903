"""Bands around a forecast: how far the model was off in the past, by the hour ahead and the hour of the day.

Split conformal prediction: V. Vovk, A. Gammerman, G. Shafer: Algorithmic Learning in a Random World (2005); J. Lei et
al.: Distribution-Free Predictive Inference for Regression (JASA, 2018).
"""

from dataclasses import dataclass

import numpy as np

from assets.analyses.forecasting.calendar import DAY
from storage.arrays import Floats, Indices

SHARES = (0.80, 0.95)
PRIOR = 5.0  # errors: an hour of the day with few errors of its own has nearly the mean of all
NEAR = 2  # hours of the day beside one whose errors count for it
OWN_SHARE = 0.6  # of an hour's own errors in its factor; the others are those of all hours


@dataclass(frozen=True)
class Bands:
    """Half the width of the bands for errors of one hour ahead and hour of the day.

    `by_lead` and `by_hour` are how large errors usually are; `levels` have for each hour of the day the factors that
    the shares of past errors stay within. Hours further ahead than the test went have the width of the last day that
    was tested.
    """

    by_lead: Floats
    by_hour: Floats
    levels: dict[float, Floats]

    def half_widths(self, share: float, hours_of_day: Indices) -> Floats:
        """Half the widths for the coming hours, which have these hours of the day."""
        ahead = np.arange(len(hours_of_day))
        tested = len(self.by_lead)
        last_day = max(tested - DAY, 0) + (ahead - tested) % min(DAY, tested)
        lead = self.by_lead[np.where(ahead < tested, ahead, last_day)]
        widths: Floats = self.levels[share][hours_of_day] * lead * self.by_hour[hours_of_day]
        return widths


def bands_of(errors: Floats, hours_of_day: Indices) -> Bands:
    """Bands from absolute errors, NaN where nothing was measured; both arrays have the shape (origins, horizon)."""
    overall = max(float(np.nanmean(errors)), 1e-12)
    by_hour = _smooth_around(_mean_by(errors / overall, hours_of_day, DAY))
    scaled = errors / overall / by_hour[hours_of_day]
    by_lead = (
        _smooth(_mean_by(scaled, np.broadcast_to(np.arange(errors.shape[1]), errors.shape), errors.shape[1])) * overall
    )
    ratios = errors / (by_lead * by_hour[hours_of_day])
    levels = {}
    for share in SHARES:
        # As many origins as there are, not errors: those of one origin depend on one another.
        corrected = min(share * (1 + 1 / len(errors)), 1.0)
        of_hours = [_quantile_around(ratios, hours_of_day, hour, corrected) for hour in range(DAY)]
        levels[share] = OWN_SHARE * np.array(of_hours) + (1 - OWN_SHARE) * float(np.nanquantile(ratios, corrected))
    return Bands(by_lead, by_hour, levels)


def _quantile_around(ratios: Floats, hours_of_day: Indices, hour: int, share: float) -> float:
    """The quantile of the ratios at an hour of the day and beside it; of all ratios if there are none."""
    near = ratios[(hours_of_day - hour + NEAR) % DAY <= 2 * NEAR]
    return float(np.nanquantile(near if np.isfinite(near).any() else ratios, share))


def _mean_by(errors: Floats, groups: Indices, count: int) -> Floats:
    """The mean of each group, drawn towards the mean of all."""
    is_known = np.isfinite(errors)
    errors, groups = errors[is_known], groups[is_known]
    sums, sizes = np.bincount(groups, errors, count), np.bincount(groups, minlength=count)
    means = (sums + PRIOR * errors.mean()) / (sizes + PRIOR)
    return np.asarray(np.maximum(means, 0.02))


def _smooth_around(values: Floats) -> Floats:
    """Each value averaged with its neighbours; the first is the last's neighbour."""
    return np.asarray((np.roll(values, 1) + 4 * values + np.roll(values, -1)) / 6)


def _smooth(values: Floats) -> Floats:
    """Means over a few hours ahead: the first hours differ, later ones hardly do."""
    half = np.minimum(np.arange(len(values)) // 2, 6)
    smooth = [float(values[max(0, i - h) : i + h + 1].mean()) for i, h in enumerate(half.tolist())]
    return np.asarray(smooth).clip(1e-9)
