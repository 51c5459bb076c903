"""The metrics of a device's dataset rows, as a pandas frame that the analyses work on."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.analyses.request_checks import no_readings_of
from assets.analyses.result import CannotAnalyse
from assets.datasets.columns import metric_names
from assets.datasets.means import GRID, GRIDS, max_rows, means_over, times_of
from storage.devices import NAMED_METRICS

# Columns with these names mark faults. A model must not learn from the answer that it is meant to find.
LABELS = frozenset(
    ("anomaly", "is_anomaly", "changepoint", "label", "target", "fault", "failure", "machine_failure", "rul")
)
IS_LABEL = "its name is that of a label"
NO_READINGS = "The datasets have no readings of any metric. Choose days in which the device was measured."


def frame(table: pa.Table, metrics: list[str] | None = None) -> pd.DataFrame:
    """The metrics that have values, or those given, as one float64 column each.

    The index is the UTC time, ascending and unique. Missing and infinite values are NaN; rows without any value are
    left out.

    Raises:
        CannotAnalyse: no metric has values, or one of `metrics` has none.

    """
    chosen = _chosen(table, metrics)
    means = means_over(table.select(["timestamp", *chosen]), 1)
    values = np.empty((len(chosen), len(means)))
    for column, name in zip(values, chosen, strict=True):
        column[:] = means[name].to_numpy()
    index = pd.DatetimeIndex(times_of(means).astype("datetime64[us]")).tz_localize("UTC")
    rows = pd.DataFrame(values.T, index=index, columns=chosen)
    with_any = np.flatnonzero(np.isfinite(values).any(axis=0))
    return rows if len(with_any) == len(rows) else rows.iloc[with_any]


def thinned(table: pa.Table, metrics: list[str] | None = None) -> tuple[pd.DataFrame, timedelta | None]:
    """As `frame`, of few enough rows to work on, and the step of the grid if they had to be averaged.

    The finest sufficient grid is used. A table of means that was read so stays as it is.

    Raises:
        CannotAnalyse: as `frame`, or even daily means are too many.

    """
    if grid := (table.schema.metadata or {}).get(GRID):
        return frame(table, metrics), timedelta(microseconds=int(grid))
    chosen = _chosen(table, metrics)
    most = max_rows(len(chosen))
    if len(table) <= most:
        return frame(table, metrics), None
    wanted, times = table.select(["timestamp", *chosen]), times_of(table)
    for step in GRIDS:
        if len(np.unique(times // step)) <= most:
            return frame(means_over(wanted, step), metrics), timedelta(microseconds=step)
    raise CannotAnalyse(f"The readings span more than {most:,} days. Choose a shorter range.")


def _chosen(table: pa.Table, metrics: list[str] | None) -> list[str]:
    """The metrics that are wanted, all of which have values."""
    measured = measured_metrics(table)
    if not measured:
        raise CannotAnalyse(NO_READINGS)
    chosen = measured if metrics is None else metrics
    if missing := [name for name in chosen if name not in measured]:
        raise CannotAnalyse(no_readings_of(missing, measured))
    return chosen


def first_metric(table: pa.Table) -> str:
    """Power if the table has readings of it, else the first named metric with readings, else the first further one.

    Raises:
        CannotAnalyse: no metric has readings.

    """
    measured = measured_metrics(table)
    for name in ("power", *NAMED_METRICS, *measured):
        if name in measured:
            return name
    raise CannotAnalyse(NO_READINGS)


def cadence(index: "pd.Index[Any]") -> timedelta:
    """The median step between two rows; one minute if there are fewer than two rows."""
    if len(index) < 2:
        return timedelta(minutes=1)
    return timedelta(seconds=float(np.median(np.diff(pd.DatetimeIndex(index).as_unit("us").asi8))) / 1e6)


def measured_metrics(table: pa.Table) -> list[str]:
    """The numeric metrics that have at least one finite value."""
    return [name for name in metric_names(table) if _is_measured(table[name])]


def _is_measured(column: pa.ChunkedArray) -> bool:
    is_numeric = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    return is_numeric and bool(pc.any(pc.is_finite(column)).as_py())
