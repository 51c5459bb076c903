"""A linear regression of the coming day on the hours of the week before.

A. Zeng et al.: Are Transformers Effective for Time Series Forecasting? (AAAI 2023): NLinear, fitted by ridge
regression.
"""

import numpy as np

from assets.analyses.forecasting.calendar import DAY, WEEK
from assets.analyses.forecasting.hours import Fit, Hours
from storage.arrays import Floats, Indices

MAX_HISTORY = 400 * DAY
MIN_HISTORY = 2 * WEEK  # before the first origin
SHRINKAGE = 0.01


def linear(hours: Hours, origins: list[int], horizon: int, fit: Fit) -> Floats:
    """Each of the 24 hours after an origin as a sum of the 168 hours before it, relative to the newest value.

    The weights are fitted at the first origin; later days are forecast from the days before them.
    """
    if "weights" not in fit:
        fit["weights"] = _weights(hours, origins[0])
    weights = fit["weights"]
    paths = []
    for origin in origins:
        known = hours.values[origin - WEEK : origin]
        while len(known) < WEEK + horizon:
            coming = _changes(known, np.array([len(known)])) @ weights + known[-1]
            known = np.concatenate([known, coming[0]])
        paths.append(known[WEEK : WEEK + horizon])
    return np.stack(paths)


def _weights(hours: Hours, origin: int) -> Floats:
    training = np.arange(max(WEEK, origin - MAX_HISTORY), origin - DAY + 1)
    changes = _changes(hours.values, training)
    scale = max(float(changes.std()), 1e-12)
    target = (hours.values[training[:, None] + np.arange(DAY)] - hours.values[training - 1][:, None]) / scale
    changes /= scale
    shrunk = changes.T @ changes + SHRINKAGE * len(training) * np.eye(changes.shape[1])
    weights: Floats = np.linalg.solve(shrunk, changes.T @ target)
    return weights


def _changes(values: Floats, origins: Indices) -> Floats:
    """The values of the week before each origin but the newest, relative to the newest."""
    week = np.lib.stride_tricks.sliding_window_view(values, WEEK)[origins - WEEK]
    return np.asarray(week[:, :-1] - week[:, -1:])
