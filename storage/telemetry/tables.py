"""What a store answers, computed from a table of readings instead."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from storage.arrays import Times
from storage.telemetry.statistics import MetricStatistics, Statistics
from storage.telemetry.store import COUNT, TIME, Aggregate

_FUNCTIONS: dict[Aggregate, str] = {
    "mean": 'avg("{}")',
    "min": 'min("{}")',
    "max": 'max("{}")',
    "sum": 'sum("{}")',
    "count": 'count("{}")::DOUBLE',
    "median": 'median("{}")',
    "first": 'arg_min("{}", time)',
    "last": 'arg_max("{}", time)',
    "stddev": 'stddev_samp("{}")',
}


def aggregate(readings: pa.Table, function: Aggregate, every: int, metrics: Sequence[str]) -> pa.Table:
    """What `TelemetryStore.aggregate` returns, from all readings of the range."""
    time = readings["time"].cast(pa.int64())
    rows = readings.set_column(0, "time", time).append_column("_window", pa.array(window_starts(time, every)))
    values = "".join(
        f', {_FUNCTIONS[function].format(name) if name in rows.column_names else "NULL::DOUBLE"} AS "{name}"'
        for name in metrics
    )
    windows = select(f"_window AS time, count(*) AS {COUNT}{values} FROM rows GROUP BY 1 ORDER BY 1", rows)
    return windows.set_column(0, "time", windows["time"].cast(TIME))


def window_starts(time: pa.ChunkedArray, every: int) -> Times:
    """The start of each time's window; windows of `every` microseconds are aligned to 1970."""
    starts: Times = time.to_numpy() // every * every
    return starts


def statistics_of(readings: pa.Table) -> Statistics:
    """What `TelemetryStore.statistics` returns, from all readings of the range."""
    every = {name: MetricStatistics.of(readings[name]) for name in readings.column_names[1:]}
    return Statistics(len(readings), {name: found for name, found in every.items() if found})


def select(query: str, rows: pa.Table) -> Any:
    """The answer to `SELECT <query>`, an Arrow table; the query's relation is `rows`."""
    import duckdb  # noqa: PLC0415 - ingestion only writes, and duckdb takes 50 MB

    with duckdb.connect() as connection:
        connection.register("rows", rows)
        return connection.sql(f"SELECT {query}").to_arrow_table()
