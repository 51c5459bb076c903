"""Analyses of a device's datasets: anomaly detection, forecasts and failure prediction.

Importing this package loads no machine learning library.
"""

from assets.analyses.changed_data import changed_days
from assets.analyses.context import DeviceContext, device_context
from assets.analyses.forecasting.best_baseline import best_baseline
from assets.analyses.measured_hour import measured_hour
from assets.analyses.parameters import (
    MIN_FAILURES,
    AnomalyParameters,
    ForecastParameters,
    Parameters,
    PredictionParameters,
)
from assets.analyses.ranking import ranking_of, strongest_event
from assets.analyses.registry import ANALYSES, Analysis, AnalysisType, analyse
from assets.analyses.request_checks import WrongParameter, check_parameters
from assets.analyses.result import CannotAnalyse, Progress, Result

__all__ = [
    "ANALYSES",
    "MIN_FAILURES",
    "Analysis",
    "AnalysisType",
    "AnomalyParameters",
    "CannotAnalyse",
    "DeviceContext",
    "ForecastParameters",
    "Parameters",
    "PredictionParameters",
    "Progress",
    "Result",
    "WrongParameter",
    "analyse",
    "best_baseline",
    "changed_days",
    "check_parameters",
    "device_context",
    "measured_hour",
    "ranking_of",
    "strongest_event",
]
