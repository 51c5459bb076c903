"""Telemetry in PostgreSQL: one table, partitioned by month, so that retention drops tables instead of deleting rows.

One statement over column arrays writes a batch. Reads go into Arrow without a Python object per value.
"""

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import make_conninfo

from storage import database
from storage.devices import NAMED_METRICS, order_metrics
from storage.settings import Settings
from storage.telemetry.postgres_rows import (
    FUNCTIONS,
    IN_RANGE,
    INSERT,
    SELECT_STORED,
    UPDATE,
    metric_sql,
    parameters_of,
    reading_of,
    select_readings,
    table_of,
)
from storage.telemetry.statistics import MetricStatistics, Statistics
from storage.telemetry.store import (
    COUNT,
    TIME,
    Aggregate,
    Reading,
    Refused,
    StoreUnavailable,
    merge,
)
from storage.times import DAY, moment

CHECK_SECONDS = 5.0
# Of aggregated metrics: a query returns at most 1,664. Only a device of an older release can have more.
MAX_COLUMNS = 1_500


class PostgresTelemetry:
    """The telemetry store of the embedded profile; `storage.telemetry.TelemetryStore` documents the methods."""

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
            except psycopg.errors.CheckViolation:  # retention dropped the partition of a month that is in `_months`
                self._months.clear()
                self._insert(connection, batch)
        return []

    def _insert(self, connection: psycopg.Connection[Any], batch: list[Reading]) -> None:
        self._ensure_months(connection, batch)
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(INSERT, parameters_of(batch))
            if cursor.rowcount < len(batch):
                self._merge_stored(cursor, batch)

    def _merge_stored(self, cursor: psycopg.Cursor[Any], batch: list[Reading]) -> None:
        """Merge with rows that were stored before. A new row is merged with itself, which changes nothing."""
        cursor.execute(SELECT_STORED, ([r.device_id for r in batch], [r.time for r in batch]))
        stored = [reading_of(row) for row in cursor]
        cursor.execute(UPDATE, parameters_of(merge([*stored, *batch])))

    def _ensure_months(self, connection: psycopg.Connection[Any], batch: list[Reading]) -> None:
        for day in {r.time // DAY for r in batch}:
            month = moment(day * DAY)
            if (month.year, month.month) in self._months:
                continue
            start = datetime(month.year, month.month, 1, tzinfo=UTC)
            end = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
            name = f"device_telemetry_{start:%Y_%m}"
            table = sql.Identifier(name)
            # Created first and attached afterwards: CREATE … PARTITION OF would block reads of other months.
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
                self._writer = database.connect(
                    self._settings, autocommit=True, answer_timeout=database.ANSWER_TIMEOUT_SECONDS
                )
            yield self._writer
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
            if self._writer:
                self._writer.close()
            self._writer = None
            self._months.clear()  # the server that comes back may have other data
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
        rows = self._fetch(select_readings(metrics, context=context, newest=newest), device_id, start, end)
        if newest is not None:
            rows = rows.take(pa.array(range(len(rows) - 1, -1, -1), pa.int64()))
        return table_of(rows, metrics, context=context)

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
        names = order_metrics(self._extra_names(device_id, start, end)) if metrics is None else list(metrics)
        wanted = names[:MAX_COLUMNS]
        columns = "".join(f', ({FUNCTIONS[function].format(metric_sql(name))})::float8 AS "{name}"' for name in wanted)
        table = self._fetch(
            f"""SELECT date_bin({int(every)} * interval '1 microsecond', time, 'epoch'::timestamptz) AS "time",
                       count(*) AS _count{columns}
                FROM device_telemetry WHERE {IN_RANGE} GROUP BY 1 ORDER BY 1""",
            device_id, start, end,
        )  # fmt: skip
        return table.cast(pa.schema([("time", TIME), (COUNT, pa.int64()), *((name, pa.float64()) for name in wanted)]))

    def statistics(self, device_id: str, start: int, end: int) -> Statistics:
        columns = ", ".join(f"count({m}), min({m}), max({m}), sum({m})" for m in NAMED_METRICS)
        query = f"SELECT count(*), {columns} FROM device_telemetry WHERE {IN_RANGE}"
        readings, *values = (column[0].as_py() for column in self._fetch(query, device_id, start, end).columns)
        # A row per metric: a table has no more than 1,664 columns.
        extras = self._fetch(
            f"""SELECT key, count(*), min(value::float8), max(value::float8), sum(value::float8)
                FROM device_telemetry, jsonb_each(extra) WHERE {IN_RANGE} GROUP BY key""",
            device_id, start, end,
        )  # fmt: skip
        of_metric = {name: values[4 * i : 4 * i + 4] for i, name in enumerate(NAMED_METRICS)}
        of_metric |= {name: parts for name, *parts in zip(*(c.to_pylist() for c in extras.columns), strict=True)}
        return Statistics(
            readings=readings,
            metrics={
                name: MetricStatistics(*of_metric[name]) for name in order_metrics(set(of_metric)) if of_metric[name][0]
            },
        )

    def device_days(self, since: int) -> list[tuple[str, int]]:
        rows = self._fetch(
            "SELECT DISTINCT device_id, (extract(epoch FROM date_trunc('day', time)) * 1000000)::int8 AS day"
            " FROM device_telemetry"
            " WHERE received_at >= 'epoch'::timestamptz + $1 * interval '1 microsecond' ORDER BY 1, 2",
            since,
        )
        return list(zip(rows["device_id"].to_pylist(), rows["day"].to_pylist(), strict=True))

    def _extra_names(self, device_id: str, start: int, end: int) -> set[str]:
        query = f"SELECT DISTINCT jsonb_object_keys(extra) AS name FROM device_telemetry WHERE {IN_RANGE}"
        return set(self._fetch(query, device_id, start, end)["name"].to_pylist())

    def forget(self, before: int) -> None:
        """Drop whole months, which is instant and leaves nothing to clean up."""
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
        """Use a new connection: all pooled ones may be waiting for a server that has stopped answering."""
        try:
            with database.connect(self._settings, answer_timeout=CHECK_SECONDS) as connection:
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
        """Run a query on a pooled connection. A connection that fails is closed."""
        try:
            reader = self._readers.get(timeout=database.ANSWER_TIMEOUT_SECONDS)
        except queue.Empty:
            raise StoreUnavailable("PostgreSQL: all connections are busy with reads that do not end") from None
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
            return self._fetch(query, *parameters)  # the connection was stale; at the latest a new one answers
        self._readers.put(reader)
        return table


def _execute(connection: adbc.Connection, query: str, parameters: tuple[str | int, ...]) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetch_arrow_table()
