"""A device's rows as analyses see them: metrics by time, one row a moment, no more rows than can be worked."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.analyses import CannotAnalyse
from storage.devices import NAMED_METRICS

MAX_ROWS = 200_000
_NOT_METRICS = {"timestamp", "device_id", "device_type", "location", "hour", "day_of_week", "is_weekend"}
# Names under which labels travel: what tells of faults must not be learnt from to find them.
LABELS = frozenset(
    ("anomaly", "is_anomaly", "changepoint", "label", "target", "fault", "failure", "machine_failure", "rul")
)
IS_LABEL = "its name is that of a label"
_GRIDS = [timedelta(seconds=s) for s in (1, 2, 5, 10, 30, 60, 300, 900, 3600, 86_400)]


def frame(table: pa.Table, metrics: list[str] | None = None) -> pd.DataFrame:
    """The metrics that have values, as float64 by UTC time (ascending, each moment once; null is NaN).

    Raises:
        CannotAnalyse: there is none, or one that is asked for is missing.

    """
    there = [name for name in table.column_names if _is_metric(table, name)]
    if metrics is not None and (missing := [name for name in metrics if name not in there]):
        raise CannotAnalyse(f"no readings of {', '.join(missing)}; there are {', '.join(there) or 'none'}")
    chosen = there if metrics is None else metrics
    if not chosen:
        raise CannotAnalyse("the datasets hold no readings of any metric; choose days in which the device was measured")
    columns = {name: table[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in chosen}
    time = pd.DatetimeIndex(table["timestamp"].cast(pa.timestamp("us")).to_numpy()).tz_localize("UTC")
    found = pd.DataFrame(columns, index=time).replace([np.inf, -np.inf], np.nan).dropna(how="all")
    return found.groupby(level=0).mean()


def first_metric(table: pa.Table) -> str:
    """Power where the device has it, else the first named metric it has, else any.

    Raises:
        CannotAnalyse: it has none.

    """
    there = [name for name in table.column_names if _is_metric(table, name)]
    for name in ("power", *NAMED_METRICS, *there):
        if name in there:
            return str(name)
    raise CannotAnalyse("the datasets hold no readings of any metric; choose days in which the device was measured")


def cadence(index: "pd.Index[Any]") -> timedelta:
    """The usual distance between two rows; a minute where there is one row only."""
    if len(index) < 2:
        return timedelta(minutes=1)
    return timedelta(seconds=float(np.median(np.diff(pd.DatetimeIndex(index).as_unit("us").asi8))) / 1e6)


def thinned(rows: pd.DataFrame) -> tuple[pd.DataFrame, timedelta | None]:
    """At most MAX_ROWS rows: as they are, or as means over the finest grid that gives so few (told beside)."""
    if len(rows) <= MAX_ROWS:
        return rows, None
    for grid in _GRIDS:
        means = rows.groupby(pd.DatetimeIndex(rows.index).floor(grid)).mean()
        if len(means) <= MAX_ROWS:
            return means, grid
    raise CannotAnalyse(f"more than {MAX_ROWS:,} days of readings are more than an analysis can take")


def _is_metric(table: pa.Table, name: str) -> bool:
    kind = table.schema.field(name).type
    numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    return name not in _NOT_METRICS and numeric and bool(pc.any(pc.is_finite(table[name])).as_py())
