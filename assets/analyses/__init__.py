"""Analyses of a device's past: which there are, what they may be told, and what they answer.

Importing this loads no ML library: the API reads names and parameters here. `analyse` loads what a model needs.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Progress = Callable[[float, str], None]
Seed = Annotated[
    int, Field(ge=0, lt=2**32, strict=True, description="Of everything random: the same seed, the same result")
]
HorizonHours = Annotated[int, Field(ge=1, le=168, strict=True)]
MetricName = Annotated[str, Field(min_length=1, max_length=64)]


class CannotAnalyse(Exception):
    """The data do not carry the analysis; the message says what is missing."""


class Parameters(BaseModel):
    """What a client may tell an analysis; `with_errors` takes days in which quality checks found errors as well."""

    model_config = ConfigDict(extra="forbid")

    with_errors: Annotated[bool, Field(strict=True)] = False
    seed: Seed = 1


class AnomalyParameters(Parameters):
    """`trained_until`: what normal is, is learnt from the readings before it; without it, from all readings.

    `metrics` are the channels to look at (default: all); `strictness` times the usual threshold has to be exceeded.
    """

    trained_until: AwareDatetime | None = None
    metrics: Annotated[list[MetricName], Field(min_length=1, max_length=50)] | None = None
    strictness: Annotated[float, Field(ge=0.5, le=10.0, strict=True)] = 1.0


class ForecastParameters(Parameters):
    """`metric`: power where the device has it, else its first named metric."""

    metric: MetricName | None = None
    horizon_hours: HorizonHours = 24


class PredictionParameters(Parameters):
    """`failures`: the moments at which the device failed, as the plant's records have them."""

    failures: Annotated[list[AwareDatetime], Field(max_length=10_000)] = []
    horizon_hours: HorizonHours = 24


@dataclass(frozen=True)
class Analysis:
    """A family of models, as `GET /api/v1/analytics/models` names it; the first model is the default."""

    family: str
    models: tuple[str, ...]
    parameters: type[Parameters]


@dataclass(frozen=True)
class Result:
    """What goes into the job's row: JSON values only, never NaN."""

    results: dict[str, Any]
    accuracy_metrics: dict[str, Any]


ANALYSES: dict[str, Analysis] = {
    "anomaly": Analysis("anomaly_detection", ("isolation_forest", "autoencoder"), AnomalyParameters),
    "prediction": Analysis("failure_prediction", ("random_forest", "gradient_boosting"), PredictionParameters),
    "forecast": Analysis("forecasting", ("prophet", "arima"), ForecastParameters),
}


def analyse(analysis_type: str, model_name: str, table: pa.Table, parameters: Parameters, progress: Progress) -> Result:
    """Run a model on the rows of datasets (columns as in a dataset, ascending in time).

    `progress` is told percent and words; what it raises ends the work.

    Raises:
        CannotAnalyse: the data do not carry it.

    """
    if analysis_type not in ANALYSES or model_name not in ANALYSES[analysis_type].models:
        raise CannotAnalyse(f"there is no model {model_name} for {analysis_type}")
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    # The matrices are small: on two busy cores several threads wait for one another up to 40 times as long.
    with threadpool_limits(1):
        result = _run(model_name, table, parameters, progress)
    return Result(_plain(result.results), _plain(result.accuracy_metrics))


def _run(model_name: str, table: pa.Table, parameters: Parameters, progress: Progress) -> Result:
    # Two seconds and 200 MB of libraries, which only the run of an analysis is to pay.
    if isinstance(parameters, AnomalyParameters):
        from assets.analyses import anomaly  # noqa: PLC0415

        return anomaly.detect(model_name, table, parameters, progress)
    if isinstance(parameters, ForecastParameters):
        from assets.analyses import forecast  # noqa: PLC0415

        return forecast.forecast(model_name, table, parameters, progress)
    from assets.analyses import prediction  # noqa: PLC0415

    asked = PredictionParameters.model_validate(parameters.model_dump())
    return prediction.predict(model_name, table, asked, progress)


def _plain(value: Any) -> Any:
    """JSON values: what is not a finite number is null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    number = float(value)
    return float(f"{number:.7g}") if math.isfinite(number) else None
