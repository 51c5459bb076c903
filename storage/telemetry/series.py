"""What InfluxDB's series of a device become: readings.

A series is a table with the columns `time` (int64 microseconds, ascending), a float64 column per field, and a text
column per tag.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.telemetry.line_protocol import OUT_OF_BAND, RECEIVED_AT, TAGS
from storage.telemetry.store import CONTEXT, TIME
from storage.telemetry.tables import select


def collapse(series: Sequence[pa.Table]) -> pa.Table:
    """One row per moment, from series with the same columns.

    Each field has the value of the newest series that has one, and tags are those of the newest series. A flag comes
    from the series that its metric comes from, or is null if that series has none.
    """
    if len(series) == 1:
        return series[0]
    newest = ", ".join(_newest(name) for name in series[0].column_names[1:])
    return select(f"time, {newest} FROM rows GROUP BY time ORDER BY time", pa.concat_tables(series))


def readings(points: pa.Table, metrics: Sequence[str], flagged: Sequence[str], *, context: bool) -> pa.Table:
    """What `TelemetryStore.read` returns: the points that have one of the metrics.

    `flagged` are the metrics that have a column `<metric>.out_of_band`.
    """
    if all(points[name].null_count for name in metrics):
        none = pa.array(np.zeros(len(points), bool))
        points = points.filter(reduce(pc.or_, (pc.is_valid(points[name]) for name in metrics), none))
    columns = {"time": points["time"].cast(TIME), **{name: points[name] for name in metrics}}
    if context:
        values = {tag: points[tag] for tag in TAGS}
        values["out_of_band"] = _out_of_band(points, flagged)
        values[RECEIVED_AT] = points[RECEIVED_AT].cast(pa.int64())
        columns |= {field.name: values[field.name].cast(field.type) for field in CONTEXT}
    return pa.table(columns)


def _newest(name: str) -> str:
    metric = name.removesuffix(OUT_OF_BAND)
    function = "arg_max_null" if name in TAGS or metric != name else "arg_max"
    only = f' FILTER ("{metric}" IS NOT NULL)' if metric != name else ""
    return f'{function}("{name}", coalesce({RECEIVED_AT}, 0)){only} AS "{name}"'


def _out_of_band(points: pa.Table, flagged: Sequence[str]) -> pa.Array:
    """The metrics of each point whose value is still the one that was flagged; null if the point has no such metric."""
    if not flagged:
        return pa.nulls(len(points), CONTEXT.field("out_of_band").type)
    holds = [pc.equal(points[name], points[name + OUT_OF_BAND]).fill_null(fill_value=False) for name in flagged]
    at, which = np.nonzero(np.column_stack([column.to_numpy() for column in holds]))
    counts = np.bincount(at, minlength=len(points))
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(ends, pa.array(flagged).take(pa.array(which)), mask=pa.array(counts == 0))
