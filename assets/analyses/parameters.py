"""The parameters that a client can give to an analysis."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from storage.validation import Instant

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
MetricName = Annotated[str, Field(min_length=1, max_length=64)]


def _each_once(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


class Parameters(BaseModel):
    """The parameters of every analysis."""

    model_config = ConfigDict(extra="forbid")

    with_errors: Annotated[
        bool, Field(strict=True, description="Whether days in which quality checks found errors are used too")
    ] = False
    seed: Seed = 1
    refit: Annotated[
        bool,
        Field(strict=True, description="Fits anew, even if a model is kept that was fitted on nearly the same days"),
    ] = False


class AnomalyParameters(Parameters):
    """The parameters of an anomaly detection."""

    trained_until: Annotated[
        Instant | None,
        Field(
            description="Readings before this moment are known to be normal; the model learns from them only."
            " Without it, it learns from all readings"
        ),
    ] = None
    metrics: Annotated[
        Annotated[list[MetricName], AfterValidator(_each_once)] | None,
        Field(min_length=1, max_length=50, description="The metrics to use; by default all"),
    ] = None
    false_events_a_week: Annotated[
        float,
        Field(
            ge=0.01,
            le=100.0,
            strict=True,
            description="The alert budget: about how many events a week are accepted of a device that runs well",
        ),
    ] = 1.0
    strictness: Annotated[
        float,
        Field(
            ge=0.5,
            le=10.0,
            strict=True,
            description="The factor by which the threshold is moved away from the usual score: 2 finds only stronger"
            " anomalies",
        ),
    ] = 1.0


class ForecastParameters(Parameters):
    """The parameters of a forecast."""

    metric: Annotated[
        MetricName | None,
        Field(
            description="What to forecast; by default power if the device measures it, else its energy, else its first"
            " named metric. `energy` and `energy_export` are the energy taken and fed in, in kWh an hour"
        ),
    ] = None
    horizon_hours: Annotated[
        int,
        Field(ge=1, le=744, strict=True, description="How many hours ahead: at most 168, and of energy 744"),
    ] = 24

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
    """The parameters of a failure prediction."""

    failures: Annotated[
        list[Instant],
        Field(
            max_length=10_000, description="The moments at which the device failed; by default the recorded failures"
        ),
    ] = []
    label: Annotated[
        MetricName | None,
        Field(description="A metric that is 1 while the device has failed, to be used in place of recorded failures"),
    ] = None
    fleet: Annotated[
        bool | None,
        Field(
            strict=True,
            description="Whether to learn from all devices of the same type too; by default, if the device's own"
            " failures are too few",
        ),
    ] = None
    horizon_hours: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_HOURS_AHEAD,
            strict=True,
            description="The probability is that of a failure within so many hours",
        ),
    ] = 24
    max_remaining_hours: Annotated[
        float | None,
        Field(
            gt=0,
            le=100_000,
            strict=True,
            description="Longer remaining lives are not told apart; by default 60 % of the median life",
        ),
    ] = None
