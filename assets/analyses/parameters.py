"""The parameters that a client can give to an analysis."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Seed = Annotated[
    int, Field(ge=0, lt=2**32, strict=True, description="Seeds every random choice: equal seeds give equal results")
]
MAX_HOURS_AHEAD = 168
# Features are chosen with a life left out. Of the others at least two must be alike, or nothing was seen to recur.
MIN_FAILURES = 3
MIN_STEPS = 48  # of a prediction
MIN_TRAINING_ROWS = 100  # of an anomaly detection
# Metrics that no device sends: they come from `assets.energy`.
ENERGY_METRICS = ("energy", "energy_export")
HorizonHours = Annotated[int, Field(ge=1, le=MAX_HOURS_AHEAD, strict=True)]
MetricName = Annotated[str, Field(min_length=1, max_length=64)]


class Parameters(BaseModel):
    """The parameters of every analysis.

    `with_errors` also uses days in which quality checks found errors. `refit` fits again, although a model is kept that
    was fitted on nearly the same days.
    """

    model_config = ConfigDict(extra="forbid")

    with_errors: Annotated[bool, Field(strict=True)] = False
    seed: Seed = 1
    refit: Annotated[bool, Field(strict=True)] = False


class AnomalyParameters(Parameters):
    """The parameters of an anomaly detection.

    `trained_until`: readings before this moment are known to be normal; the model learns from them only. Without it,
    the model learns from all readings. `metrics`: the metrics to use, by default all. `false_events_a_week`: the
    alert budget: about so many events a week are accepted of a device that runs well. `strictness`: the factor by
    which the threshold that follows is moved away from the usual score.
    """

    trained_until: AwareDatetime | None = None
    metrics: Annotated[list[MetricName], Field(min_length=1, max_length=50)] | None = None
    false_events_a_week: Annotated[float, Field(ge=0.01, le=100.0)] = 1.0
    strictness: Annotated[float, Field(ge=0.5, le=10.0, strict=True)] = 1.0


class ForecastParameters(Parameters):
    """The parameters of a forecast.

    `metric`: by default power if the device measures it, else its energy, else its first named metric. `energy` and
    `energy_export` are the energy taken and fed in, in kWh an hour; only they can be forecast for more than 168 hours.
    """

    metric: MetricName | None = None
    horizon_hours: Annotated[int, Field(ge=1, le=744, strict=True)] = 24

    @property
    def tested_hours(self) -> int:
        """How many hours ahead the test on the past goes."""
        return min(self.horizon_hours, MAX_HOURS_AHEAD)

    @model_validator(mode="after")
    def _only_energy_is_forecast_far_ahead(self) -> "ForecastParameters":
        if self.horizon_hours > MAX_HOURS_AHEAD and self.metric not in ENERGY_METRICS:
            raise ValueError(
                f'horizon_hours above {MAX_HOURS_AHEAD} is for energy only: set metric to "energy", or choose fewer'
            )
        return self


class PredictionParameters(Parameters):
    """The parameters of a failure prediction.

    `failures`: the moments at which the device failed; by default the recorded failures. `label`: a metric that is 1
    while the device has failed, to be used instead. `fleet`: whether to learn from all devices of the same type too; by
    default, if the device's own failures are too few. `max_remaining_hours`: longer remaining lives are not told apart;
    by default 60 % of the median life.
    """

    failures: Annotated[list[AwareDatetime], Field(max_length=10_000)] = []
    label: MetricName | None = None
    fleet: Annotated[bool, Field(strict=True)] | None = None
    horizon_hours: HorizonHours = 24
    max_remaining_hours: Annotated[float, Field(gt=0, le=100_000)] | None = None
