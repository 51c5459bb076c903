"""What InfluxDB's series of a device become: readings, and what is worked out from them here.

A series is a table of `time` (int64, microseconds, ascending), a float64 column per field, a column per tag.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.telemetry.line_protocol import OUT_OF_BAND, RECEIVED_AT, TAGS
from storage.telemetry.store import CONTEXT, COUNT, TIME, Aggregate, MetricStatistics, Statistics

FUNCTIONS: dict[Aggregate, str] = {
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


def collapse(series: Sequence[pa.Table]) -> pa.Table:
    """One row per moment of series with the same columns: each field of the newest that has it, tags of the newest.

    A flag comes from where its metric comes from, there or not.
    """
    if len(series) == 1:
        return series[0]
    newest = ", ".join(_newest(name) for name in series[0].column_names[1:])
    return _select(f"time, {newest} FROM rows GROUP BY time ORDER BY time", pa.concat_tables(series))


def readings(points: pa.Table, metrics: Sequence[str], flagged: Sequence[str], *, context: bool) -> pa.Table:
    """What `TelemetryStore.read` answers: the points that have one of the metrics.

    `flagged` are the metrics with a column that says where they were out of band.
    """
    if all(points[name].null_count for name in metrics):
        none = pa.array(np.zeros(len(points), bool))
        points = points.filter(reduce(pc.or_, (pc.is_valid(points[name]) for name in metrics), none))
    columns = {"time": points["time"].cast(TIME), **{name: points[name] for name in metrics}}
    if context:
        beside = {tag: points[tag] for tag in TAGS}
        beside["out_of_band"] = _out_of_band(points, flagged)
        beside[RECEIVED_AT] = points[RECEIVED_AT].cast(pa.int64())
        columns |= {field.name: beside[field.name].cast(field.type) for field in CONTEXT}
    return pa.table(columns)


def windows(table: pa.Table, function: Aggregate, every: int, metrics: Sequence[str]) -> pa.Table:
    """What `TelemetryStore.aggregate` answers, from all readings of the range."""
    time = table["time"].cast(pa.int64())
    rows = table.set_column(0, "time", time).append_column("_window", pa.array(window_starts(time, every)))
    values = "".join(
        f', {FUNCTIONS[function].format(name) if name in rows.column_names else "NULL::DOUBLE"} AS "{name}"'
        for name in metrics
    )
    found = _select(f"_window AS time, count(*) AS {COUNT}{values} FROM rows GROUP BY 1 ORDER BY 1", rows)
    return found.set_column(0, "time", found["time"].cast(TIME))


def window_starts(time: pa.ChunkedArray, every: int) -> NDArray[np.int64]:
    """The windows of `every` microseconds, aligned to 1970, that the times are in."""
    starts: NDArray[np.int64] = time.to_numpy() // every * every
    return starts


def statistics(table: pa.Table) -> Statistics:
    """What `TelemetryStore.statistics` answers, from all readings of the range."""
    found: dict[str, MetricStatistics] = {}
    for name in table.column_names[1:]:
        values = table[name].drop_null().to_numpy()  # which goes through them in a fifth of the time of pyarrow
        if count := len(values):
            total = float(values.sum())
            found[name] = MetricStatistics(count, float(values.min()), float(values.max()), total / count, total)
    return Statistics(len(table), found)


def _newest(name: str) -> str:
    metric = name.removesuffix(OUT_OF_BAND)
    function = "arg_max_null" if name in TAGS or metric != name else "arg_max"
    only = f' FILTER ("{metric}" IS NOT NULL)' if metric != name else ""
    return f'{function}("{name}", coalesce({RECEIVED_AT}, 0)){only} AS "{name}"'


def _out_of_band(points: pa.Table, flagged: Sequence[str]) -> pa.Array:
    """The metrics of each point whose value is still the one that was out of band; null where there is none."""
    if not flagged:
        return pa.nulls(len(points), CONTEXT.field("out_of_band").type)
    holds = [pc.equal(points[name], points[name + OUT_OF_BAND]).fill_null(fill_value=False) for name in flagged]
    at, which = np.nonzero(np.column_stack([column.to_numpy() for column in holds]))
    counts = np.bincount(at, minlength=len(points))
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(ends, pa.array(flagged).take(pa.array(which)), mask=pa.array(counts == 0))


def _select(query: str, rows: pa.Table) -> Any:
    import duckdb  # noqa: PLC0415 - ingestion only writes, and it costs 50 MB

    with duckdb.connect() as connection:
        connection.register("rows", rows)
        return connection.sql(f"SELECT {query}").to_arrow_table()
