"""A fitted forecast: models with their weights, and their test on the past. It can be kept for later days."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assets.analyses.forecasting.backtest import Backtest, bounded, combined
from assets.analyses.forecasting.hours import Fit, Hours
from assets.analyses.forecasting.models import MODELS
from storage.arrays import Floats

MIN_WEIGHT = 0.05


@dataclass(frozen=True)
class FittedForecast:
    """Models and how good they were.

    `fits`: what each model has fitted on all hours. `test`, `paths`: the test on the past, and the combined forecasts
    in it. `plain`: those of the best baseline. `models`, `figures`: what a result says of them.
    """

    metric: str
    weights: dict[str, float]
    fits: dict[str, Fit]
    test: Backtest
    paths: Floats
    plain: Floats
    models: list[dict[str, Any]]
    figures: dict[str, Any]

    @property
    def tested(self) -> int:
        """How many hours ahead the test went."""
        return int(self.paths.shape[1])

    def ahead(self, hours: Hours, horizon: int, limit: float | None) -> Floats:
        """The coming hours after a newer history, without a new fit."""
        origins = [len(hours)]
        coming = {
            name: bounded(hours, origins, MODELS[name].forecast(hours, origins, horizon, self.fits[name]), limit)
            for name in self.weights
        }
        found: Floats = combined(coming, self.weights)[0]
        return found


def used(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of the models that a forecast is made of, without those of nearly no weight; they add up to 1."""
    some = {name: weight for name, weight in weights.items() if weight >= MIN_WEIGHT}
    return {name: weight / sum(some.values()) for name, weight in some.items()}
