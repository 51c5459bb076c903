"""Telemetry in PostgreSQL: one table, partitioned by month so that old months are dropped, not deleted.

A batch is written by one statement over column arrays, and read into Arrow without a Python object per value.
"""

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, LiteralString

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import msgspec
import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import make_conninfo

from storage import database
from storage.devices import NAMED_METRICS
from storage.settings import Settings
from storage.telemetry.store import (
    CONTEXT,
    COUNT,
    TIME,
    Aggregate,
    MetricStatistics,
    Reading,
    Refused,
    Statistics,
    StoreUnavailable,
    merge,
    order_metrics,
)
from storage.times import DAY, moment

COLUMNS = ("device_id", "time", *NAMED_METRICS, "extra", "schema_version", "enrichment_status", "device_type",
           "location", "out_of_band", "received_at")  # fmt: skip

CHECK_SECONDS = 5.0

# The batch as a relation. Exact: a whole number of microseconds never passes through a float.
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
STORED: LiteralString = f"""
SELECT device_id, (extract(epoch FROM t.time) * 1000000)::int8, {", ".join(NAMED_METRICS)}, extra::text, schema_version,
       enrichment_status, device_type, location, out_of_band, (extract(epoch FROM received_at) * 1000000)::int8
FROM device_telemetry t
JOIN unnest(%b::text[], %b::int8[]) AS b (device_id, at)
  USING (device_id) WHERE t.time = 'epoch'::timestamptz + b.at * interval '1 microsecond'
ORDER BY t.device_id, t.time FOR UPDATE OF t
"""

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


class PostgresTelemetry:
    """The embedded telemetry store; see `storage.telemetry.TelemetryStore` for the contract."""

    def __init__(self, settings: Settings, *, readers: int = 4) -> None:
        self._settings = settings
        self._writer: psycopg.Connection[Any] | None = None
        self._months: set[tuple[int, int]] = set()
        self._readers: queue.LifoQueue[adbc.Connection | None] = queue.LifoQueue()
        for _ in range(readers):
            self._readers.put(None)

    # Writing: from one thread at a time

    def write(self, readings: Sequence[Reading]) -> list[Refused]:
        batch = merge(readings)
        if not batch:
            return []
        with self._writing() as connection:
            try:
                self._insert(connection, batch)
            except psycopg.errors.CheckViolation:  # retention dropped a month that this process had seen
                self._months.clear()
                self._insert(connection, batch)
        return []

    def _insert(self, connection: psycopg.Connection[Any], batch: list[Reading]) -> None:
        self._ensure_months(connection, batch)
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(INSERT, _columns(batch))
            if cursor.rowcount < len(batch):
                self._merge_stored(cursor, batch)

    def _merge_stored(self, cursor: psycopg.Cursor[Any], batch: list[Reading]) -> None:
        """Some rows were there before. Merging a row that was new with itself changes nothing."""
        cursor.execute(STORED, ([r.device_id for r in batch], [r.time for r in batch]))
        stored = [_reading(row) for row in cursor]
        cursor.execute(UPDATE, _columns(merge([*stored, *batch])))

    def _ensure_months(self, connection: psycopg.Connection[Any], batch: list[Reading]) -> None:
        for day in {r.time // DAY for r in batch}:
            month = moment(day * DAY)
            if (month.year, month.month) in self._months:
                continue
            start = datetime(month.year, month.month, 1, tzinfo=UTC)
            end = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
            name = f"device_telemetry_{start:%Y_%m}"
            table = sql.Identifier(name)
            # Made first and attached then: that lets readers of other months go on, CREATE … PARTITION OF does not.
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(hashtext('device_telemetry'))")
                if connection.execute("SELECT to_regclass(%s)", (name,)).fetchone() == (None,):
                    connection.execute(sql.SQL("CREATE TABLE {} (LIKE device_telemetry)").format(table))
                    connection.execute(
                        sql.SQL("ALTER TABLE device_telemetry ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                            table, sql.Literal(start), sql.Literal(end)
                        )
                    )
            self._months.add((month.year, month.month))

    @contextmanager
    def _writing(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            if self._writer is None or self._writer.closed:
                self._writer = database.connect(self._settings, autocommit=True, patience=database.PATIENCE)
            yield self._writer
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
            if self._writer:
                self._writer.close()
            self._writer = None
            self._months.clear()  # the server that comes back may be another one
            raise StoreUnavailable(f"PostgreSQL: {str(error).strip()}") from error

    # Reading: from any thread

    def read(
        self,
        device_id: str,
        start: int,
        end: int,
        *,
        metrics: Sequence[str] | None = None,
        context: bool = False,
        newest: int | None = None,
    ) -> pa.Table:
        wanted = list(NAMED_METRICS) if metrics is None else list(metrics)
        columns = [f'{_metric(name)} AS "{name}"' for name in wanted]
        if metrics is None:
            columns.append("extra::text AS _extra")
        if context:
            columns += ["device_type", "location", "schema_version", "enrichment_status", "out_of_band", "received_at"]
        query = f"SELECT {', '.join(['time', *columns])} FROM device_telemetry WHERE {_RANGE}"
        if metrics is not None:
            query += f" AND coalesce({', '.join(map(_metric, wanted)) or 'NULL'}) IS NOT NULL"
        query += " ORDER BY time" if newest is None else f" ORDER BY time DESC LIMIT {int(newest)}"
        table = self._fetch(query, device_id, start, end)
        if newest is not None:
            table = table.take(pa.array(range(len(table) - 1, -1, -1), pa.int64()))
        return _shape(table, None if metrics is None else wanted, context=context)

    def aggregate(
        self,
        device_id: str,
        start: int,
        end: int,
        *,
        function: Aggregate,
        every: int,
        metrics: Sequence[str] | None = None,
    ) -> pa.Table:
        wanted = order_metrics(self._extra_names(device_id, start, end)) if metrics is None else list(metrics)
        columns = "".join(f', ({FUNCTIONS[function].format(_metric(name))})::float8 AS "{name}"' for name in wanted)
        table = self._fetch(
            f"""SELECT date_bin({int(every)} * interval '1 microsecond', time, 'epoch'::timestamptz) AS "time",
                       count(*) AS _count{columns}
                FROM device_telemetry WHERE {_RANGE} GROUP BY 1 ORDER BY 1""",
            device_id, start, end,
        )  # fmt: skip
        return table.cast(pa.schema([("time", TIME), (COUNT, pa.int64()), *((name, pa.float64()) for name in wanted)]))

    def statistics(self, device_id: str, start: int, end: int) -> Statistics:
        names = order_metrics(self._extra_names(device_id, start, end))
        columns = ", ".join(
            f"count({m}) AS c{i}, min({m}) AS a{i}, max({m}) AS b{i}, avg({m}) AS m{i}, sum({m}) AS s{i}"
            for i, m in enumerate(map(_metric, names))
        )
        query = f"SELECT count(*) AS n, {columns} FROM device_telemetry WHERE {_RANGE}"
        values: dict[str, Any] = self._fetch(query, device_id, start, end).to_pylist()[0]
        return Statistics(
            readings=values["n"],
            metrics={
                name: MetricStatistics(*(values[f"{part}{i}"] for part in "cabms"))
                for i, name in enumerate(names)
                if values[f"c{i}"]
            },
        )

    def device_days(self, since: int) -> list[tuple[str, int]]:
        found = self._fetch(
            "SELECT DISTINCT device_id, (extract(epoch FROM date_trunc('day', time)) * 1000000)::int8 AS day"
            " FROM device_telemetry"
            " WHERE received_at >= 'epoch'::timestamptz + $1 * interval '1 microsecond' ORDER BY 1, 2",
            since,
        )
        return list(zip(found["device_id"].to_pylist(), found["day"].to_pylist(), strict=True))

    def _extra_names(self, device_id: str, start: int, end: int) -> set[str]:
        query = f"SELECT DISTINCT jsonb_object_keys(extra) AS name FROM device_telemetry WHERE {_RANGE}"
        return set(self._fetch(query, device_id, start, end)["name"].to_pylist())

    def forget(self, before: int) -> None:
        """Months are dropped as a whole: at once, and without work left for the database."""
        month = f"device_telemetry_{moment(before):%Y_%m}"
        with self._writing() as connection:
            partitions = connection.execute(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                " WHERE i.inhparent = 'device_telemetry'::regclass AND c.relname < %s",
                (month,),
            ).fetchall()
            for (name,) in partitions:
                connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        self._months.clear()

    def check(self) -> None:
        """Over a connection of its own: the pooled ones may all be waiting for a server that has stopped to answer."""
        try:
            with database.connect(self._settings, patience=CHECK_SECONDS) as connection:
                connection.execute("SELECT 1 FROM device_telemetry LIMIT 0")
        except psycopg.Error as error:
            raise StoreUnavailable(f"PostgreSQL: {str(error).strip()}") from error

    def close(self) -> None:
        if self._writer:
            self._writer.close()
        while not self._readers.empty():
            reader = self._readers.get_nowait()
            if reader:
                reader.close()

    def _connect(self) -> adbc.Connection:
        return adbc.connect(make_conninfo(self._settings.database_url, **database.ALIVE), autocommit=True)

    def _fetch(self, query: str, *parameters: str | int) -> pa.Table:
        """Run a query on a pooled connection; a connection that failed is not used again."""
        try:
            reader = self._readers.get(timeout=database.PATIENCE)
        except queue.Empty:
            raise StoreUnavailable("PostgreSQL: the reads that are under way do not come to an end") from None
        fresh = reader is None
        try:
            reader = reader or self._connect()
            table = _execute(reader, query, parameters)
        except adbc_driver_manager.Error as error:
            if reader:
                reader.close()
            self._readers.put(None)
            if fresh:
                raise StoreUnavailable(f"PostgreSQL: {str(error).strip()}") from error
            return self._fetch(query, *parameters)  # the pooled connection was stale; the pool runs out of them
        self._readers.put(reader)
        return table


_RANGE: LiteralString = """device_id = $1 AND time >= 'epoch'::timestamptz + $2 * interval '1 microsecond'
 AND time < 'epoch'::timestamptz + $3 * interval '1 microsecond'"""


def _execute(connection: adbc.Connection, query: str, parameters: tuple[str | int, ...]) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetch_arrow_table()


def _metric(name: str) -> str:
    """The SQL of a metric. Names come from an allow-list (`storage.devices.METRIC`), checked here once more."""
    if not name.replace("_", "a").isalnum() or not name.isascii():
        raise ValueError(f"{name!r} is no metric name")
    return f'"{name}"' if name in NAMED_METRICS else f"(extra->>'{name}')::float8"


def _columns(batch: Sequence[Reading]) -> list[list[Any]]:
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


def _reading(row: tuple[Any, ...]) -> Reading:
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


def _shape(table: pa.Table, metrics: list[str] | None, *, context: bool) -> pa.Table:
    """To the protocol's columns: the JSON of further metrics becomes a column each."""
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"time": table["time"].cast(TIME)}
    extras: list[dict[str, float]] = []
    if metrics is None and table["_extra"].null_count == len(table):
        metrics = list(NAMED_METRICS)
    elif metrics is None:
        texts = ["{}" if text is None else text for text in table["_extra"].to_pylist()]
        extras = msgspec.json.decode(f"[{','.join(texts)}]", type=list[dict[str, float]])
        metrics = order_metrics({name for extra in extras for name in extra})
    for name in metrics:
        if name in table.column_names:
            columns[name] = table[name].cast(pa.float64())
        else:
            columns[name] = pa.array([extra.get(name) for extra in extras], pa.float64())
    if context:
        columns.update({field.name: table[field.name].cast(field.type) for field in CONTEXT})
    return pa.table(columns)
