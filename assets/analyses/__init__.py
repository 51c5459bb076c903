"""Analyses of a device's past: which there are, what they may be told, and what they answer.

Importing this loads no ML library: the API reads names and parameters here. `analyse` loads what a model needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict


class CannotAnalyse(Exception):
    """The data do not carry the analysis; the message says what is missing."""


class Parameters(BaseModel):
    """What a client may tell an analysis; `with_errors` takes days in which quality checks found errors as well."""

    model_config = ConfigDict(extra="forbid")

    with_errors: bool = False


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
    "anomaly": Analysis("anomaly_detection", (), Parameters),
    "prediction": Analysis("failure_prediction", (), Parameters),
    "forecast": Analysis("forecasting", (), Parameters),
}


def analyse(
    analysis_type: str,
    model_name: str,
    table: pa.Table,  # noqa: ARG001
    parameters: Parameters,  # noqa: ARG001
    progress: Callable[[float, str], None],  # noqa: ARG001
) -> Result:
    """Run a model on the rows of datasets (columns as in a dataset, ascending in time).

    `progress` is told percent and words; what it raises ends the work.

    Raises:
        CannotAnalyse: the data do not carry it.

    """
    raise CannotAnalyse(f"there is no model {model_name} for {analysis_type}")
