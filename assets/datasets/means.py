"""Means of readings over a grid, for long histories of many metrics, which would not fit into memory row by row."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from assets.datasets.columns import metric_names
from storage.arrays import Indices, Times
from storage.catalogue import Dataset
from storage.telemetry import TIME
from storage.times import DAY, SECOND

# Of a table that an analysis works on.
MAX_ROWS, MAX_VALUES = 200_000, 2_000_000
# Each divides a day, so that files of days can be averaged one by one.
GRIDS = tuple(seconds * SECOND for seconds in (1, 2, 5, 10, 30, 60, 300, 900, 1800, 3600, 86_400))
# In the metadata of a table's schema: the grid (µs) that its rows are means over.
GRID = b"grid"


def max_rows(metrics: int) -> int:
    """How many rows of so many metrics an analysis works on."""
    return min(MAX_ROWS, MAX_VALUES // max(metrics, 1))


def grid_of(datasets: Sequence[Dataset], metrics: Sequence[str] | None = None) -> int | None:
    """The finest grid (µs) on which the rows of files are few enough; None if they are already, or never.

    `metrics` are those that are worked on, by default all.
    """
    most = max_rows(len(set().union(*(dataset.metrics for dataset in datasets))) if metrics is None else len(metrics))
    if sum(dataset.rows for dataset in datasets) <= most:
        return None
    return next((grid for grid in GRIDS if sum(_rows(dataset, grid) for dataset in datasets) <= most), None)


def _rows(dataset: Dataset, grid: int) -> int:
    days = (dataset.end_date - dataset.start_date).days + 1
    return min(dataset.rows, days * DAY // grid)


def means_over(table: pa.Table, grid: int) -> pa.Table:
    """The mean of each metric over each step of the grid (µs) that has rows, ascending in `timestamp`.

    Missing and infinite values do not count; without others a mean is null. Each column is averaged by itself, so that
    the rows are not in memory twice.
    """
    starts, bins = np.unique(times_of(table) // grid, return_inverse=True)
    columns = {name: _means(table[name], len(starts), bins) for name in _numeric(table)}
    means = pa.table({"timestamp": pa.array(starts * grid).cast(TIME), **columns})
    return means.replace_schema_metadata({GRID: str(grid)})


def times_of(table: pa.Table) -> Times:
    """The times of the rows (µs)."""
    times: Times = table["timestamp"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    return times


def _numeric(table: pa.Table) -> list[str]:
    kinds = {name: table.schema.field(name).type for name in metric_names(table)}
    return [name for name, kind in kinds.items() if pa.types.is_floating(kind) or pa.types.is_integer(kind)]


def _means(column: pa.ChunkedArray, count: int, bins: Indices) -> pa.Array:
    values = column.cast(pa.float64()).to_numpy()
    known = np.isfinite(values)
    if count == len(values):  # nothing is averaged
        means = np.empty(count)
        means[bins] = np.where(known, values, np.nan)
    else:
        counts = np.bincount(bins[known], minlength=count)
        sums = np.bincount(bins[known], values[known], minlength=count)
        means = np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0)
    return pa.array(means, mask=np.isnan(means))
