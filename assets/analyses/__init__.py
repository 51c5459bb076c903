"""Analyses of a device's datasets: anomaly detection, forecasts and failure prediction.

Importing this package loads no machine learning library.
"""

from assets.analyses.context import DeviceContext, device_context
from assets.analyses.measured_hour import measured_hour
from assets.analyses.parameters import AnomalyParameters, ForecastParameters, Parameters, PredictionParameters
from assets.analyses.ranking import ranking_of, strongest_event
from assets.analyses.registry import ANALYSES, Analysis, AnalysisType, analyse
from assets.analyses.result import CannotAnalyse, Progress, Result

__all__ = [
    "ANALYSES",
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
    "analyse",
    "device_context",
    "measured_hour",
    "ranking_of",
    "strongest_event",
]
