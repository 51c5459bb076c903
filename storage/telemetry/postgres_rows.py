"""Rows of the table `device_telemetry`: the SQL that writes and reads them, and readings as rows.

The four named metrics are columns; other metrics stand in the JSON column `extra`.
"""

from collections.abc import Sequence
from typing import Any, LiteralString

import msgspec
import pyarrow as pa

from storage.devices import NAMED_METRICS, order_metrics
from storage.telemetry.store import CONTEXT, TIME, Aggregate, Reading

COLUMNS = ("device_id", "time", *NAMED_METRICS, "extra", "schema_version", "enrichment_status", "device_type",
           "location", "out_of_band", "received_at")  # fmt: skip

# The batch as a relation. Microseconds are multiplied as integers: a float would not be exact.
_BATCH: LiteralString = """
SELECT device_id, 'epoch'::timestamptz + time * interval '1 microsecond' AS time, voltage, current, power, temperature,
       extra::jsonb AS extra, schema_version, enrichment_status, device_type, location,
       string_to_array(out_of_band, ',') AS out_of_band,
       'epoch'::timestamptz + received_at * interval '1 microsecond' AS received_at
FROM unnest(%b::text[], %b::int8[], %b::float8[], %b::float8[], %b::float8[], %b::float8[], %b::text[],
            %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::int8[])
  AS b (device_id, time, voltage, current, power, temperature, extra,
        schema_version, enrichment_status, device_type, location, out_of_band, received_at)
"""
INSERT: LiteralString = f"INSERT INTO device_telemetry ({', '.join(COLUMNS)}) {_BATCH} ON CONFLICT DO NOTHING"
UPDATE: LiteralString = f"""
UPDATE device_telemetry t SET {", ".join(f"{c} = b.{c}" for c in COLUMNS[2:])}
FROM ({_BATCH}) b WHERE t.device_id = b.device_id AND t.time = b.time
"""
SELECT_STORED: LiteralString = f"""
SELECT device_id, (extract(epoch FROM t.time) * 1000000)::int8, {", ".join(NAMED_METRICS)}, extra::text, schema_version,
       enrichment_status, device_type, location, out_of_band, (extract(epoch FROM received_at) * 1000000)::int8
FROM device_telemetry t
JOIN unnest(%b::text[], %b::int8[]) AS b (device_id, at)
  USING (device_id) WHERE t.time = 'epoch'::timestamptz + b.at * interval '1 microsecond'
ORDER BY t.device_id, t.time FOR UPDATE OF t
"""
# Of a device ($1) from a moment ($2) to another ($3).
IN_RANGE: LiteralString = """device_id = $1 AND time >= 'epoch'::timestamptz + $2 * interval '1 microsecond'
 AND time < 'epoch'::timestamptz + $3 * interval '1 microsecond'"""

FUNCTIONS: dict[Aggregate, LiteralString] = {
    "mean": "avg({})",
    "min": "min({})",
    "max": "max({})",
    "sum": "sum({})",
    "count": "count({})::float8",
    "median": "percentile_cont(0.5) WITHIN GROUP (ORDER BY {})",
    "first": "(array_agg({0} ORDER BY time) FILTER (WHERE {0} IS NOT NULL))[1]",
    "last": "(array_agg({0} ORDER BY time DESC) FILTER (WHERE {0} IS NOT NULL))[1]",
    "stddev": "stddev_samp({})",
}


def metric_sql(name: str) -> str:
    """The SQL expression of a metric.

    Raises:
        ValueError: the name is not on the allow-list `storage.devices.METRIC`. Callers check it first; this is the
            last line of defence against SQL in a name.

    """
    if not name.replace("_", "a").isalnum() or not name.isascii():
        raise ValueError(f"{name!r} is not a metric name")
    return f'"{name}"' if name in NAMED_METRICS else f"(extra->>'{name}')::float8"


def parameters_of(batch: Sequence[Reading]) -> list[list[Any]]:
    """The batch as the parameters of `INSERT` and `UPDATE`: an array per column."""
    extras = [{k: v for k, v in r.metrics.items() if k not in NAMED_METRICS} for r in batch]
    return [
        [r.device_id for r in batch],
        [r.time for r in batch],
        *([r.metrics.get(name) for r in batch] for name in NAMED_METRICS),
        [msgspec.json.encode(extra).decode() if extra else None for extra in extras],
        [r.schema_version for r in batch],
        [r.enrichment_status for r in batch],
        [r.device_type for r in batch],
        [r.location for r in batch],
        [",".join(r.out_of_band) if r.out_of_band else None for r in batch],
        [r.received_at for r in batch],
    ]


def reading_of(row: tuple[Any, ...]) -> Reading:
    """The reading of a row of `SELECT_STORED`."""
    values = dict(zip(COLUMNS, row, strict=True))
    named = {name: values[name] for name in NAMED_METRICS if values[name] is not None}
    return Reading(
        device_id=values["device_id"],
        time=values["time"],
        metrics={**named, **msgspec.json.decode(values["extra"] or "{}", type=dict[str, float])},
        received_at=values["received_at"],
        schema_version=values["schema_version"],
        enrichment_status=values["enrichment_status"],
        device_type=values["device_type"],
        location=values["location"],
        out_of_band=values["out_of_band"],
    )


def select_readings(metrics: Sequence[str] | None, *, context: bool, newest: int | None) -> str:
    """The query that reads a range, for `table_of`; with `newest` its rows are in descending order."""
    wanted = NAMED_METRICS if metrics is None else metrics
    columns = [f'{metric_sql(name)} AS "{name}"' for name in wanted]
    if metrics is None:
        columns.append("extra::text AS _extra")
    if context:
        columns += CONTEXT.names
    query = f"SELECT {', '.join(['time', *columns])} FROM device_telemetry WHERE {IN_RANGE}"
    if metrics is not None:
        query += f" AND coalesce({', '.join(map(metric_sql, wanted)) or 'NULL'}) IS NOT NULL"
    return query + (" ORDER BY time" if newest is None else f" ORDER BY time DESC LIMIT {int(newest)}")


def table_of(rows: pa.Table, metrics: Sequence[str] | None, *, context: bool) -> pa.Table:
    """Rows of `select_readings` as what `TelemetryStore.read` returns: `extra` becomes a column per metric."""
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"time": rows["time"].cast(TIME)}
    extras: list[dict[str, float]] = []
    if metrics is None and rows["_extra"].null_count == len(rows):
        metrics = NAMED_METRICS
    elif metrics is None:
        texts = ["{}" if text is None else text for text in rows["_extra"].to_pylist()]
        extras = msgspec.json.decode(f"[{','.join(texts)}]", type=list[dict[str, float]])
        metrics = order_metrics({name for extra in extras for name in extra})
    for name in metrics:
        if name in rows.column_names:
            columns[name] = rows[name].cast(pa.float64())
        else:
            columns[name] = pa.array([extra.get(name) for extra in extras], pa.float64())
    if context:
        columns.update({field.name: rows[field.name].cast(field.type) for field in CONTEXT})
    return pa.table(columns)
