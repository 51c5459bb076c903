"""The metrics of a device's dataset rows, as a pandas frame that the analyses work on."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.analyses.result import CannotAnalyse
from assets.datasets.columns import metric_names
from storage.arrays import Indices, Times
from storage.devices import NAMED_METRICS

MAX_ROWS, MAX_VALUES = 200_000, 3_000_000
# Columns with these names mark faults. A model must not learn from the answer that it is meant to find.
LABELS = frozenset(
    ("anomaly", "is_anomaly", "changepoint", "label", "target", "fault", "failure", "machine_failure", "rul")
)
IS_LABEL = "its name is that of a label"
NO_READINGS = "The datasets have no readings of any metric. Choose days in which the device was measured."
_GRIDS = [timedelta(seconds=s) for s in (1, 2, 5, 10, 30, 60, 300, 900, 3600, 86_400)]


def frame(table: pa.Table, metrics: list[str] | None = None) -> pd.DataFrame:
    """The metrics that have values, or those given, as one float64 column each.

    The index is the UTC time, ascending and unique. Missing and infinite values are NaN; rows without any value are
    left out.

    Raises:
        CannotAnalyse: no metric has values, or one of `metrics` has none.

    """
    times, bins = np.unique(_times(table), return_inverse=True)
    return _means(table, _chosen(table, metrics), times, bins)


def thinned(table: pa.Table, metrics: list[str] | None = None) -> tuple[pd.DataFrame, timedelta | None]:
    """As `frame`, of at most MAX_ROWS rows and MAX_VALUES values, and the step of the grid if they had to be averaged.

    The finest sufficient grid is used. The readings are averaged column by column, so that a year of many metrics is
    not in memory twice.

    Raises:
        CannotAnalyse: as `frame`, or even daily means are too many.

    """
    chosen = _chosen(table, metrics)
    most = min(MAX_ROWS, MAX_VALUES // len(chosen))
    if len(table) <= most:
        return frame(table, metrics), None
    times = _times(table)
    for grid in _GRIDS:
        step = round(grid.total_seconds() * 1e6)
        starts, bins = np.unique(times // step, return_inverse=True)
        if len(starts) <= most:
            return _means(table, chosen, starts * step, bins), grid
    raise CannotAnalyse(f"The readings span more than {most:,} days. Choose a shorter range.")


def _times(table: pa.Table) -> Times:
    """The times of the rows (µs)."""
    times: Times = table["timestamp"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    return times


def _chosen(table: pa.Table, metrics: list[str] | None) -> list[str]:
    """The metrics that are wanted, all of which have values."""
    measured = measured_metrics(table)
    if not measured:
        raise CannotAnalyse(NO_READINGS)
    chosen = measured if metrics is None else metrics
    if missing := [name for name in chosen if name not in measured]:
        raise CannotAnalyse(
            f"The datasets have no readings of {', '.join(missing)}. Metrics with readings: {', '.join(measured)}."
        )
    return chosen


def _means(table: pa.Table, names: list[str], times: Times, bins: Indices) -> pd.DataFrame:
    """The mean of each metric at each of the times; `bins` are the rows' places among these."""
    values = np.empty((len(names), len(times)))
    is_plain = len(times) == len(table)  # nothing is averaged
    for column, name in zip(values, names, strict=True):
        raw = table[name].cast(pa.float64()).to_numpy()
        is_known = np.isfinite(raw)
        if is_plain:
            column[bins] = np.where(is_known, raw, np.nan)
        else:
            counts = np.bincount(bins[is_known], minlength=len(times))
            sums = np.bincount(bins[is_known], raw[is_known], minlength=len(times))
            column[:] = np.divide(sums, counts, out=np.full(len(times), np.nan), where=counts > 0)
    index = pd.DatetimeIndex(times.astype("datetime64[us]")).tz_localize("UTC")
    rows = pd.DataFrame(values.T, index=index, columns=names)
    has_any = ~np.isnan(values).all(axis=0)
    return rows if has_any.all() else rows[has_any]


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
