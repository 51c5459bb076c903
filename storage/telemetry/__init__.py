"""Telemetry: what a reading is, the protocol of a store that keeps them, and its adapters."""

from storage.telemetry.store import (
    AGGREGATES,
    CONTEXT,
    COUNT,
    TIME,
    Aggregate,
    MetricStatistics,
    Reading,
    Refused,
    Statistics,
    StoreUnavailable,
    TelemetryStore,
    merge,
    order_metrics,
)

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
    "merge",
    "order_metrics",
]
