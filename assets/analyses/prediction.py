"""Failure prediction: how likely the device fails within the horizon, learnt from its recorded failures."""

import pyarrow as pa

from assets.analyses import CannotAnalyse, PredictionParameters, Progress, Result


def predict(model_name: str, table: pa.Table, parameters: PredictionParameters, progress: Progress) -> Result:
    """Raises CannotAnalyse without failures."""
    raise CannotAnalyse(
        "no recorded failures: give the moments at which the device failed as parameters.failures, "
        'for example {"failures": ["2026-01-05T08:30:00Z", ...], "horizon_hours": 24}'
    )
