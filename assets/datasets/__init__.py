"""Datasets: a device's telemetry as Parquet files, and reads over these files and the telemetry store."""

from assets.datasets.column_cache import ColumnCache
from assets.datasets.columns import COLUMNS
from assets.datasets.consumption import energy_of, state_totals_of, states_of
from assets.datasets.correction_preview import Change, change_of
from assets.datasets.energy import refresh_energy
from assets.datasets.envelope import Envelope, envelope_of, window_for
from assets.datasets.export import Exported, NoTelemetry, days_between, export_day
from assets.datasets.figure_cache import FigureCache
from assets.datasets.files import DatasetReplaced
from assets.datasets.filters import Filter
from assets.datasets.history import (
    DayRows,
    LeftOutDay,
    UnfitDatasets,
    days_in_words,
    provenance,
    read_days,
    read_history,
    select_datasets,
)
from assets.datasets.ranges import export_month, export_range, last_of_month
from assets.datasets.read_plan import Segment
from assets.datasets.reader import TelemetryReader
from assets.datasets.retention import retire_datasets, retire_telemetry

__all__ = [
    "COLUMNS",
    "Change",
    "ColumnCache",
    "DatasetReplaced",
    "DayRows",
    "Envelope",
    "Exported",
    "FigureCache",
    "Filter",
    "LeftOutDay",
    "NoTelemetry",
    "Segment",
    "TelemetryReader",
    "UnfitDatasets",
    "change_of",
    "days_between",
    "days_in_words",
    "energy_of",
    "envelope_of",
    "export_day",
    "export_month",
    "export_range",
    "last_of_month",
    "provenance",
    "read_days",
    "read_history",
    "refresh_energy",
    "retire_datasets",
    "retire_telemetry",
    "select_datasets",
    "state_totals_of",
    "states_of",
    "window_for",
]
