"""Telemetry: what a reading is, the protocol of a store that keeps readings, and its adapters."""

from storage.telemetry.statistics import MetricStatistics, Statistics, add_metrics, add_statistics
from storage.telemetry.store import (
    AGGREGATES,
    CONTEXT,
    COUNT,
    TIME,
    Aggregate,
    Reading,
    Refused,
    StoreUnavailable,
    TelemetryStore,
    merge,
)
from storage.telemetry.tables import aggregate, statistics_of

__all__ = [
    "AGGREGATES",
    "CONTEXT",
    "COUNT",
    "TIME",
    "Aggregate",
    "MetricStatistics",
    "Reading",
    "Refused",
    "Statistics",
    "StoreUnavailable",
    "TelemetryStore",
    "add_metrics",
    "add_statistics",
    "aggregate",
    "merge",
    "statistics_of",
]
