"""The forecasting models by name.

Each forecasts from any hours of a series (`origins`, ascending positions) and uses only what came before each of them.
The result has the shape (origins, horizon). What a model fits at the first origin goes into its `Fit`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from assets.analyses.forecasting.arima import arima
from assets.analyses.forecasting.baselines import week_profile
from assets.analyses.forecasting.boosting import MIN_HISTORY, gradient_boosting
from assets.analyses.forecasting.calendar import DAY, WEEK
from assets.analyses.forecasting.hours import Fit, Hours
from assets.analyses.forecasting.linear import MIN_HISTORY as LINEAR_HISTORY, linear
from assets.analyses.forecasting.prophet import prophet
from storage.arrays import Floats


@dataclass(frozen=True)
class Model:
    """`needed`: hours before the first origin. `fits`: how often it is fitted again in the test on the past."""

    forecast: Callable[[Hours, list[int], int, Fit], Floats]
    needed: int
    fits: int

    def paths(self, hours: Hours, origins: list[int], horizon: int) -> Floats:
        """Forecasts from past origins: fitted at the first of each part of them."""
        parts = [part.tolist() for part in np.array_split(origins, self.fits) if len(part)]
        return np.concatenate([self.forecast(hours, part, horizon, {}) for part in parts])


def _profile(hours: Hours, origins: list[int], horizon: int, _fit: Fit) -> Floats:
    return week_profile(hours, origins, horizon)


MODELS: Mapping[str, Model] = {
    "prophet": Model(prophet, 3 * DAY, 3),
    "arima": Model(arima, 3 * DAY, 2),
    "gradient_boosting": Model(gradient_boosting, MIN_HISTORY, 2),
    "linear": Model(linear, LINEAR_HISTORY, 4),
    "day_type_profile": Model(_profile, WEEK, 1),
}
