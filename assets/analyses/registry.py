"""The analyses and their models, and the one function that runs them.

Importing this module loads no machine learning library; `analyse` loads those that its model needs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from assets.analyses.context import DeviceContext
from assets.analyses.parameters import AnomalyParameters, ForecastParameters, Parameters, PredictionParameters
from assets.analyses.result import CannotAnalyse, Progress, Result

AnalysisType = Literal["anomaly", "prediction", "forecast"]


@dataclass(frozen=True)
class Analysis:
    """A kind of analysis: its name in `GET /api/v1/analytics/models`, its models, its parameters, the default model."""

    family: str
    models: tuple[str, ...]
    parameters: type[Parameters]
    default: str


# By analysis type, one entry for each name of `AnalysisType`.
ANALYSES: Mapping[str, Analysis] = {
    "anomaly": Analysis(
        "anomaly_detection",
        ("isolation_forest", "autoencoder", "covariance", "auto"),
        AnomalyParameters,
        "isolation_forest",
    ),
    "prediction": Analysis(
        "failure_prediction", ("random_forest", "gradient_boosting"), PredictionParameters, "random_forest"
    ),
    "forecast": Analysis("forecasting", ("prophet", "arima", "gradient_boosting", "auto"), ForecastParameters, "auto"),
}


def analyse(
    analysis_type: str,
    model_name: str,
    table: pa.Table,
    parameters: Parameters,
    progress: Progress,
    *,
    context: DeviceContext | None = None,
) -> Result:
    """Run a model on a device's dataset rows.

    Args:
        analysis_type: a key of `ANALYSES`.
        model_name: one of the analysis's models.
        table: the columns of a dataset, ascending in `timestamp`.
        parameters: an instance of the analysis's parameter class.
        progress: called with percent and a message; an exception that it raises ends the analysis.
        context: what is known of the device besides its rows; by default nothing, and its clock is UTC.

    Raises:
        CannotAnalyse: the model does not exist, or the data do not allow the analysis.

    """
    if analysis_type not in ANALYSES or model_name not in ANALYSES[analysis_type].models:
        raise CannotAnalyse(f"There is no model {model_name} for the analysis type {analysis_type}.")
    import sklearn  # noqa: F401, PLC0415 - a limit holds for the pools of threads that are loaded when it is set
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - only a run needs it

    # The matrices are small: on two busy cores several threads wait for one another up to 40 times as long.
    with threadpool_limits(1):
        result = _run(model_name, table, parameters, progress, context or DeviceContext())
    figures = _json_value(result.accuracy_metrics)
    return replace(result, results=_json_value(result.results), accuracy_metrics=figures)


def _run(
    model_name: str, table: pa.Table, parameters: Parameters, progress: Progress, context: DeviceContext
) -> Result:
    # The models' libraries take two seconds and 200 MB to load. Only a run should pay for that.
    match parameters:
        case AnomalyParameters():
            from assets.analyses.anomaly import detect  # noqa: PLC0415

            return detect(model_name, table, parameters, context, progress)
        case ForecastParameters():
            from assets.analyses.forecast import forecast  # noqa: PLC0415

            return forecast(model_name, table, parameters, context, progress)
        case PredictionParameters():
            from assets.analyses.prediction import predict  # noqa: PLC0415

            return predict(model_name, table, parameters, context, progress)
    raise TypeError(f"no analysis takes {type(parameters).__name__}")


def _json_value(value: Any) -> Any:
    """The value as JSON: numbers with seven significant digits, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    number = float(value)
    return float(f"{number:.7g}") if math.isfinite(number) else None
