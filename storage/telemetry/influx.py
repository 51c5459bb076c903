"""Telemetry in InfluxDB 2, in the measurement, tags and fields that other readers know; `line_protocol` has more.

Tags are part of a point's identity. A reading that is written again after its device's tags changed is a second point,
in another series. So every query begins with a cheap one, a `Survey`: which series does the range hold? Nearly always
it is one, which the server can read or aggregate directly. Several are collapsed here, newest `received_at` first. Of
two points with the same tags and time the server keeps the one that was written last.
"""

import re
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from storage.devices import NAMED_METRICS
from storage.settings import Settings
from storage.telemetry import flux_csv, series, tables
from storage.telemetry.influx_server import InfluxServer, Parsed
from storage.telemetry.line_protocol import MEASUREMENT, OUT_OF_BAND, RECEIVED_AT, TAGS, lines, tag_text
from storage.telemetry.statistics import MetricStatistics, Statistics
from storage.telemetry.store import (
    COUNT,
    TIME,
    Aggregate,
    Reading,
    Refused,
    merge,
)
from storage.telemetry.survey import Survey, is_metric
from storage.times import DAY, moment

MAX_BATCH = 5_000
LATEST = (2**63 - 1) // 1000  # microseconds: InfluxDB counts nanoseconds in 64 bits, until 2262
# The server needs longer to write a day as text than we need to parse it. In long ranges each field is a request of its
# own, and this many run at once. Shorter ranges are quicker in one request.
CONCURRENT_REQUESTS = 4
LONG_RANGE = DAY // 4
# The server refuses conditions of some hundred alternatives. A pattern may have more, but takes longer to match.
MAX_ALTERNATIVES = 50

# Functions that the server computes. It has median and stddev too, but ten times slower than we read.
PUSHED_DOWN = ("mean", "min", "max", "sum", "count", "first", "last")

_conflict = re.compile(r'input field "([^"]+)"')


class InfluxTelemetry:
    """The telemetry store of the production profile; `storage.telemetry.TelemetryStore` documents the methods."""

    def __init__(self, settings: Settings) -> None:
        self._server = InfluxServer(settings)
        self._readers = ThreadPoolExecutor(CONCURRENT_REQUESTS, "influxdb-reader")  # threads start on use

    def write(self, readings: Sequence[Reading]) -> list[Refused]:
        batch = merge(readings)
        parts = (batch[i : i + MAX_BATCH] for i in range(0, len(batch), MAX_BATCH))
        return [refused for part in parts for refused in self._write(part)]

    def _write(self, batch: list[Reading]) -> list[Refused]:
        """Write a batch. If the server refuses some of it, write its halves, until the refused readings are found.

        Writing a reading twice changes nothing.
        """
        reason = self._server.write(lines(batch))
        if reason is None:
            return []
        if len(batch) == 1 or f" dropped={len(batch)}" in re.findall(r" dropped=\d+", reason):
            # Examples and counts follow, which describe the request and not the reading.
            reason = re.split(r" - oldest point | dropped=\d", reason, maxsplit=1)[0]
            return [Refused(reading, reason) for reading in batch]
        return [refused for part in _halves(batch, reason) for refused in self._write(part)]

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
        survey = self._survey(device_id, start, end)
        wanted = survey.metrics if metrics is None else _checked(metrics)
        present = survey.present(wanted)
        fields = set(wanted)
        if context:
            fields.update(survey.flagged, (name + OUT_OF_BAND for name in survey.flagged))
        if context or len(survey.series) > 1:
            fields.add(RECEIVED_AT)
        tail = newest
        if present and newest is not None and metrics is not None and RECEIVED_AT in fields:
            # The newest readings of a rare metric are older than the newest values of other fields.
            start, tail = self._start_of_newest(newest, present, start, end, device_id), None
        points = self._points(survey, device_id, start, end, fields, tail) if present else _no_points(fields)
        table = series.readings(points, wanted, survey.flagged, context=context)
        if newest is not None:
            table = table.slice(max(0, len(table) - newest))
        if metrics is None:  # other metrics may have values only before the newest readings
            empty = [n for n in wanted if n not in NAMED_METRICS and table[n].null_count == len(table)]
            table = table.drop_columns(empty)
        return table

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
        survey = self._survey(device_id, start, end)
        wanted = survey.metrics if metrics is None else _checked(metrics)
        if function not in PUSHED_DOWN or not survey.is_plain:
            return tables.aggregate(self.read(device_id, start, end), function, every, wanted)
        window = f'|> aggregateWindow(every: {int(every)}us, createEmpty: false, timeSrc: "_start", fn:'
        yields = [_yield(RECEIVED_AT, f"{window} count)")]
        yields += [_yield(name, f"{window} {function})") for name in survey.present(wanted)]
        windows = flux_csv.wide(self._columns(yields, start, end, device_id), [RECEIVED_AT, *wanted])
        starts = tables.window_starts(windows["time"], every)  # the server moves the first to the range's start
        counts = {"time": pa.array(starts).cast(TIME), COUNT: windows[RECEIVED_AT].cast(pa.int64())}
        return pa.table({**counts, **{name: windows[name] for name in wanted}})

    def statistics(self, device_id: str, start: int, end: int) -> Statistics:
        survey = self._survey(device_id, start, end)
        if not survey.is_plain:
            return tables.statistics_of(self.read(device_id, start, end))
        present = survey.present(survey.metrics)
        query = "\n".join(
            f'data() {_only([RECEIVED_AT, *present])} |> {function}() |> keep(columns: ["_field", "_value"])'
            f' |> rename(columns: {{_value: "{function}"}}) |> yield(name: "{function}")'
            for function in ("count", "min", "max", "sum")
        )
        values: dict[str, dict[str, float]] = {name: {} for name in (RECEIVED_AT, *present)}
        for row in self._ask(query, flux_csv.rows, start, end, device_id):
            values[row.pop("_field")].update(row)
        return Statistics(
            readings=int(values[RECEIVED_AT]["count"]),
            metrics={
                name: MetricStatistics(int(s["count"]), s["min"], s["max"], s["sum"])
                for name, s in values.items()
                if name != RECEIVED_AT
            },
        )

    def device_days(self, since: int) -> list[tuple[str, int]]:
        """Find days in two queries.

        Readings of days since then were received since then. Of earlier days, those count whose newest `received_at`
        lies since then. This looks at every day that there is, which takes seconds to minutes: it is for a first start.
        """
        day = f'aggregateWindow(every: {DAY}us, createEmpty: false, timeSrc: "_start", fn:'
        rows = self._ask(
            f'data() |> {day} count) |> group(columns: ["device_id"]) |> unique(column: "_time")'
            ' |> keep(columns: ["device_id", "_time"])',
            flux_csv.rows, since, LATEST,
        )  # fmt: skip
        rows += self._ask(
            f'data() {_only([RECEIVED_AT])} |> {day} max) |> filter(fn: (r) => r._value >= _since)'
            ' |> keep(columns: ["device_id", "_time"])',
            flux_csv.rows, -LATEST, since, _since=since,
        )  # fmt: skip
        return sorted({(row["device_id"], row["_time"] // DAY * DAY) for row in rows})

    def forget(self, before: int) -> None:
        """Delete on request only: the bucket's own retention would not wait until readings are exported."""
        self._server.delete(f'_measurement="{MEASUREMENT}"', moment(before - 1))

    def check(self) -> None:
        self._server.check()

    def close(self) -> None:
        self._readers.shutdown()
        self._server.close()

    def _survey(self, device_id: str, start: int, end: int) -> Survey:
        columns = ", ".join(f'"{name}"' for name in ("_time", "_field", "_value", *TAGS))
        query = f"data() |> first() |> keep(columns: [{columns}])"
        return Survey(self._ask(query, flux_csv.rows, start, end, device_id) if start < end else [])

    def _points(
        self, survey: Survey, device_id: str, start: int, end: int, fields: Collection[str], newest: int | None
    ) -> pa.Table:
        """The series of a range as one table: `time`, the fields, the tags. `newest` limits the values per field."""
        tail = "" if newest is None else f"|> tail(n: {int(newest)})"
        at_once = newest is None and end - start >= LONG_RANGE
        parts = []
        for tags in survey.series:
            present = {name: value for name, value in zip(TAGS, tags, strict=True) if value is not None}
            same = " and ".join(f"r.{name} == _{name}" if name in present else f"not exists r.{name}" for name in TAGS)
            yields = [_yield(name, f"|> filter(fn: (r) => {same}) {tail}") for name in survey.present(fields)]
            texts = {f"_{name}": value for name, value in present.items()}
            part = flux_csv.wide(self._columns(yields, start, end, device_id, at_once=at_once, **texts), fields)
            for name in TAGS:
                text = tag_text(present[name]) if name in present else None
                part = part.append_column(name, pa.repeat(pa.scalar(text, pa.string()), len(part)))
            parts.append(part)
        return series.collapse(parts)

    def _start_of_newest(self, newest: int, metrics: list[str], start: int, end: int, device_id: str) -> int:
        """The time of the earliest of the newest readings that have one of the metrics."""
        yields = [_yield(name, f"|> tail(n: {int(newest)})") for name in metrics]
        columns = self._columns(yields, start, end, device_id)
        times = np.unique(np.concatenate([times for times, _ in columns.values()])) if columns else [start]
        return int(times[-newest:][0])

    def _columns(
        self, yields: Sequence[str], start: int, end: int, device_id: str, *, at_once: bool = False, **texts: str
    ) -> dict[str, flux_csv.Column]:
        """The columns that the queries yield, fetched in one request, or `at_once` in one request each."""

        def ask(query: str) -> dict[str, flux_csv.Column]:
            return self._ask(query, flux_csv.columns, start, end, device_id, **texts)

        parts = self._readers.map(ask, yields) if at_once else [ask("\n".join(yields))]
        return {name: column for part in parts for name, column in part.items()}

    def _ask(
        self,
        query: str,
        parse: Callable[[bytes], Parsed],
        start: int,
        end: int,
        device_id: str | None = None,
        **parameters: str | int,
    ) -> Parsed:
        """The parsed answer to a query over `data()`. Values travel as parameters, never in the query's text."""
        bounds = {"_start": moment(max(start, -LATEST)), "_stop": moment(min(end, LATEST))}
        device = "" if device_id is None else " and r.device_id == _device"
        flux = f"""data = () => from(bucket: _bucket) |> range(start: _start, stop: _stop)
  |> filter(fn: (r) => r._measurement == "{MEASUREMENT}"{device})
{query}"""
        return self._server.query(flux, {**bounds, **parameters, "_device": device_id}, parse)


def _halves(batch: list[Reading], reason: str) -> tuple[list[Reading], list[Reading]]:
    """Split a refused batch by the field or the age that the server names, so that one half may be accepted whole."""
    if named := _conflict.search(reason):
        metric = named[1].removesuffix(OUT_OF_BAND)
        having = [reading for reading in batch if metric in reading.metrics]
        if 0 < len(having) < len(batch):
            return having, [reading for reading in batch if metric not in reading.metrics]
    if "retention" in reason:
        batch = sorted(batch, key=lambda reading: reading.time)
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _checked(metrics: Sequence[str]) -> list[str]:
    """The names, which become part of a query's text, after a check against the allow-list."""
    for name in metrics:
        if not is_metric(name):
            raise ValueError(f"{name!r} is not a metric name")
    return list(metrics)


def _yield(field: str, operations: str) -> str:
    """A query that yields a field's times and values, after some operations, under the field's name."""
    return f'data() {_only([field])} {operations} |> keep(columns: ["_time", "_value"]) |> yield(name: "{field}")'


def _no_points(fields: Collection[str]) -> pa.Table:
    columns = [("time", pa.int64()), *((f, pa.float64()) for f in fields), *((t, pa.string()) for t in TAGS)]
    return pa.schema(columns).empty_table()


def _only(fields: Sequence[str]) -> str:
    condition = " or ".join(f'r._field == "{name}"' for name in fields)
    if len(fields) > MAX_ALTERNATIVES:
        condition = f"r._field =~ /^(?:{'|'.join(fields).replace('.', '[.]')})$/"
    return f"|> filter(fn: (r) => {condition})"
