"""The metrics of a device's dataset rows, as a pandas frame that the analyses work on."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.analyses.result import CannotAnalyse
from assets.datasets.columns import metric_names
from storage.devices import NAMED_METRICS

MAX_ROWS = 200_000
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
    measured = measured_metrics(table)
    if not measured:
        raise CannotAnalyse(NO_READINGS)
    chosen = measured if metrics is None else metrics
    if missing := [name for name in chosen if name not in measured]:
        raise CannotAnalyse(
            f"The datasets have no readings of {', '.join(missing)}. Metrics with readings: {', '.join(measured)}."
        )
    columns = {name: table[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in chosen}
    time = pd.DatetimeIndex(table["timestamp"].cast(pa.timestamp("us")).to_numpy()).tz_localize("UTC")
    rows = pd.DataFrame(columns, index=time).replace([np.inf, -np.inf], np.nan).dropna(how="all")
    return rows.groupby(level=0).mean()


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


def thinned(rows: pd.DataFrame) -> tuple[pd.DataFrame, timedelta | None]:
    """At most MAX_ROWS rows, and the step of the grid if they had to be averaged; the finest sufficient grid is used.

    Raises:
        CannotAnalyse: even daily means are more than MAX_ROWS.

    """
    if len(rows) <= MAX_ROWS:
        return rows, None
    for grid in _GRIDS:
        means = rows.groupby(pd.DatetimeIndex(rows.index).floor(grid)).mean()
        if len(means) <= MAX_ROWS:
            return means, grid
    raise CannotAnalyse(f"The readings span more than {MAX_ROWS:,} days. Choose a shorter range.")


def measured_metrics(table: pa.Table) -> list[str]:
    """The numeric metrics that have at least one finite value."""
    return [name for name in metric_names(table) if _is_measured(table[name])]


def _is_measured(column: pa.ChunkedArray) -> bool:
    is_numeric = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    return is_numeric and bool(pc.any(pc.is_finite(column)).as_py())
