"""Bands around a forecast: how far the model was off in the past, by the hour ahead, the hour and the kind of the day.

Split conformal prediction: V. Vovk, A. Gammerman, G. Shafer: Algorithmic Learning in a Random World (2005); J. Lei et
al.: Distribution-Free Predictive Inference for Regression (JASA, 2018).
"""

from dataclasses import dataclass

import numpy as np

from assets.analyses.forecasting.calendar import DAY, Slots
from storage.arrays import Floats, Indices

SHARES = (0.80, 0.95)
DOUBT = 2.0  # times the variance of a mean: of 24 hours and 3 kinds of days some means are far off by chance
PRIOR = 5.0  # errors: an hour of the day with few errors of its own has nearly the mean of all
NEAR = 2  # hours of the day beside one whose errors count for it
OWN_SHARE = 0.6  # of an hour's own errors in its factor; the others are those of all hours
KINDS = 3  # of days: see `LocalHours.kind_of_day`
MIN_KIND = 0.05  # errors of one kind of day are taken to be no smaller than this share of the usual ones


@dataclass(frozen=True)
class Bands:
    """Half the width of the bands for errors of one hour ahead, on one kind of day, at one hour of the day.

    `by_lead` and `by_hour` are how large errors usually are, and `by_kind`, of shape (kinds, hours of the day), how
    many times as large they are on one kind of day. `levels` have for each hour of the day the factors that the shares
    of past errors stay within. Hours further ahead than the test went have the width of the last day that was tested.
    """

    by_lead: Floats
    by_hour: Floats
    by_kind: Floats
    levels: dict[float, Floats]

    def usual(self, coming: Slots) -> Floats:
        """How large errors usually are in the coming hours, of which these are the slots."""
        ahead = np.arange(len(coming.hour))
        tested = len(self.by_lead)
        last_day = max(tested - DAY, 0) + (ahead - tested) % min(DAY, tested)
        lead = self.by_lead[np.where(ahead < tested, ahead, last_day)]
        sizes: Floats = lead * self.by_hour[coming.hour] * self.by_kind[coming.kind, coming.hour]
        return sizes

    def half_widths(self, share: float, coming: Slots) -> Floats:
        """Half the widths for the coming hours."""
        widths: Floats = self.levels[share][coming.hour] * self.usual(coming)
        return widths


def bands_of(errors: Floats, slots: Slots) -> Bands:
    """Bands from absolute errors, NaN where nothing was measured; all arrays have the shape (origins, horizon)."""
    overall = max(float(np.nanmean(errors)), 1e-12)
    by_hour = _smooth_around(_mean_by(errors / overall, slots.hour, DAY))
    scaled = errors / overall / by_hour[slots.hour]
    by_kind = _by_kind(scaled, slots)
    scaled /= by_kind[slots.kind, slots.hour]
    by_lead = (
        _smooth(_mean_by(scaled, np.broadcast_to(np.arange(errors.shape[1]), errors.shape), errors.shape[1])) * overall
    )
    ratios = errors / (by_lead * by_hour[slots.hour] * by_kind[slots.kind, slots.hour])
    levels = {}
    for share in SHARES:
        # As many origins as there are, not errors: those of one origin depend on one another.
        corrected = min(share * (1 + 1 / len(errors)), 1.0)
        of_hours = [_quantile_around(ratios, slots.hour, hour, corrected) for hour in range(DAY)]
        levels[share] = OWN_SHARE * np.array(of_hours) + (1 - OWN_SHARE) * float(np.nanquantile(ratios, corrected))
    return Bands(by_lead, by_hour, by_kind, levels)


def _by_kind(scaled: Floats, slots: Slots) -> Floats:
    """How many times as large the errors of each kind of day are, by the hour: 1 unless they clearly differ.

    The mean of few days is uncertain, so its distance from 1 is made smaller, down to nothing, by the positive-part
    estimate of W. James, C. Stein: Estimation with Quadratic Loss (1961).
    """
    days, of_day = np.unique(slots.day, return_inverse=True)
    by_day = _means_near(scaled, of_day.reshape(scaled.shape), slots.hour, len(days))
    kinds = np.zeros(len(days), int)
    kinds[of_day.ravel()] = slots.kind.ravel()
    counts = np.stack([np.isfinite(by_day[kinds == kind]).sum(axis=0) for kind in range(KINDS)])
    sums = np.stack([np.nansum(by_day[kinds == kind], axis=0) for kind in range(KINDS)])
    means = sums / np.maximum(counts, 1)
    variance = np.nansum((by_day - means[kinds]) ** 2, axis=0) / np.maximum(counts.sum(axis=0) - KINDS, 1)
    uncertain = DOUBT * variance / np.maximum(counts, 1)
    distance = means - 1
    kept = np.clip(1 - uncertain / np.maximum(distance**2, 1e-12), 0, 1)
    return np.where(counts > 0, np.maximum(1 + kept * distance, MIN_KIND), 1.0)


def _means_near(errors: Floats, of_day: Indices, hours: Indices, days: int) -> Floats:
    """Means of the errors of each day at each hour and beside it, of shape (days, 24); NaN where there are none."""
    is_known = np.isfinite(errors)
    cells = (of_day * DAY + hours)[is_known]
    sums, counts = (np.bincount(cells, weights, days * DAY).reshape(days, DAY) for weights in (errors[is_known], None))
    near = range(-NEAR, NEAR + 1)
    sums, counts = (np.sum([np.roll(part, shift, axis=1) for shift in near], axis=0) for part in (sums, counts))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


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
