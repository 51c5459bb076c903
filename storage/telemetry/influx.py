"""Telemetry in InfluxDB 2: measurement, tags and fields as the handover has them; `line_protocol` says what is added.

A point is known by its tags too, so a reading that comes again after its device was enriched anew is a second point, in
another series. Every question begins with a cheap one: which series does the range hold? One, nearly always: that is
read, or aggregated by the server, as it stands. Several are collapsed here, the newest `received_at` first. Of two
copies with the same tags the server keeps the one that was written last.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from storage.devices import METRIC, NAMED_METRICS
from storage.settings import Settings
from storage.telemetry import flux_csv, series
from storage.telemetry.influx_server import InfluxServer, Parsed
from storage.telemetry.line_protocol import MEASUREMENT, OUT_OF_BAND, RECEIVED_AT, TAGS, lines, tag_text
from storage.telemetry.store import (
    COUNT,
    TIME,
    Aggregate,
    MetricStatistics,
    Reading,
    Refused,
    Statistics,
    merge,
    order_metrics,
)
from storage.times import DAY, moment

MAX_BATCH = 5_000
LATEST = (2**63 - 1) // 1000  # microseconds: InfluxDB counts nanoseconds in 64 bits, until 2262
# Writing a day as text keeps the server busier than us reading it: of a long range each field is a request of its own,
# so many at once. Shorter ones come quicker in one request.
AT_ONCE = 4
LONG = DAY // 4

# Worked out by the server beside its files. It has median and stddev too, ten times slower than we read.
PUSHED_DOWN = ("mean", "min", "max", "sum", "count", "first", "last")

Tags = tuple[str | None, ...]  # the values of TAGS, as they are stored

_metric = re.compile(METRIC)
_conflict = re.compile(r'input field "([^"]+)"')


@dataclass(frozen=True)
class Survey:
    """What a range of a device holds: for each series and field its tags and its first moment."""

    rows: list[dict[str, Any]]

    @cached_property
    def first(self) -> dict[str, int]:
        """Every field with the moment of its first value."""
        return {row["_field"]: row["_time"] for row in self.rows}

    @cached_property
    def series(self) -> list[Tags]:
        return list(dict.fromkeys(tuple(row.get(tag) for tag in TAGS) for row in self.rows))

    @cached_property
    def metrics(self) -> list[str]:
        return order_metrics({name for name in self.first if _metric.fullmatch(name)} - {RECEIVED_AT})

    @cached_property
    def flagged(self) -> list[str]:
        """Metrics that were out of band somewhere."""
        return [name for name in self.metrics if name + OUT_OF_BAND in self.first]

    def present(self, fields: Iterable[str]) -> list[str]:
        """Those of the fields that are there."""
        return [name for name in fields if name in self.first]

    @property
    def is_plain(self) -> bool:
        """Whether there is one series, and a `received_at` for every reading (older platforms wrote none)."""
        return len(self.first) == len(self.rows) > 0 and self.first.get(RECEIVED_AT) == min(self.first.values())


class InfluxTelemetry:
    """The telemetry store of the production profile; see `storage.telemetry.TelemetryStore` for the contract."""

    def __init__(self, settings: Settings) -> None:
        self._server = InfluxServer(settings)
        self._readers = ThreadPoolExecutor(AT_ONCE, "influxdb-reader")  # its threads start when they are needed

    def write(self, readings: Sequence[Reading]) -> list[Refused]:
        batch = merge(readings)
        parts = (batch[i : i + MAX_BATCH] for i in range(0, len(batch), MAX_BATCH))
        return [refused for part in parts for refused in self._write(part)]

    def _write(self, batch: list[Reading]) -> list[Refused]:
        """Writing twice changes nothing: what spoils a batch is found by writing its parts."""
        reason = self._server.write(lines(batch))
        if reason is None:
            return []
        if len(batch) == 1 or f" dropped={len(batch)}" in re.findall(r" dropped=\d+", reason):
            # What follows are examples and counts of the request, and nothing of the reading.
            reason = re.split(r" - oldest point | dropped=\d", reason, maxsplit=1)[0]
            return [Refused(reading, reason) for reading in batch]
        return [refused for part in _parts(batch, reason) for refused in self._write(part)]

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
        there = survey.present(wanted)
        fields = set(wanted)
        if context:
            fields.update(survey.flagged, (name + OUT_OF_BAND for name in survey.flagged))
        if context or len(survey.series) > 1:
            fields.add(RECEIVED_AT)
        tail = newest
        if there and newest is not None and metrics is not None and RECEIVED_AT in fields:
            # What stands beside a rare metric lies further back than the newest of its own kind.
            start, tail = self._start_of_newest(newest, there, start, end, device_id), None
        points = self._points(survey, device_id, start, end, fields, tail) if there else _no_points(fields)
        table = series.readings(points, wanted, survey.flagged, context=context)
        if newest is not None:
            table = table.slice(max(0, len(table) - newest))
        if metrics is None:  # an extra one may have been there earlier than the newest readings
            gone = [n for n in wanted if n not in NAMED_METRICS and table[n].null_count == len(table)]
            table = table.drop_columns(gone)
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
            return series.windows(self.read(device_id, start, end), function, every, wanted)
        window = f'|> aggregateWindow(every: {int(every)}us, createEmpty: false, timeSrc: "_start", fn:'
        answers = [_yield(RECEIVED_AT, f"{window} count)")]
        answers += [_yield(name, f"{window} {function})") for name in survey.present(wanted)]
        found = flux_csv.wide(self._columns(answers, start, end, device_id), [RECEIVED_AT, *wanted])
        starts = series.window_starts(found["time"], every)  # the server cuts the first one off at the range's start
        counts = {"time": pa.array(starts).cast(TIME), COUNT: found[RECEIVED_AT].cast(pa.int64())}
        return pa.table({**counts, **{name: found[name] for name in wanted}})

    def statistics(self, device_id: str, start: int, end: int) -> Statistics:
        survey = self._survey(device_id, start, end)
        if not survey.is_plain:
            return series.statistics(self.read(device_id, start, end))
        present = survey.present(survey.metrics)
        query = "\n".join(
            f'data() {_only([RECEIVED_AT, *present])} |> {function}() |> keep(columns: ["_field", "_value"])'
            f' |> rename(columns: {{_value: "{function}"}}) |> yield(name: "{function}")'
            for function in ("count", "min", "max", "sum")
        )
        found: dict[str, dict[str, float]] = {name: {} for name in (RECEIVED_AT, *present)}
        for row in self._ask(query, flux_csv.rows, start, end, device_id):
            found[row.pop("_field")].update(row)
        return Statistics(
            readings=int(found[RECEIVED_AT]["count"]),
            metrics={
                name: MetricStatistics(int(s["count"]), s["min"], s["max"], s["sum"] / s["count"], s["sum"])
                for name, s in found.items()
                if name != RECEIVED_AT
            },
        )

    def device_days(self, since: int) -> list[tuple[str, int]]:
        """Readings from since then were received since then; older ones are found by the newest `received_at` of a day.

        That looks at every day there is, in seconds to minutes: a question for a first start.
        """
        day = f'aggregateWindow(every: {DAY}us, createEmpty: false, timeSrc: "_start", fn:'
        found = self._ask(
            f'data() |> {day} count) |> group(columns: ["device_id"]) |> unique(column: "_time")'
            ' |> keep(columns: ["device_id", "_time"])',
            flux_csv.rows, since, LATEST,
        )  # fmt: skip
        found += self._ask(
            f'data() {_only([RECEIVED_AT])} |> {day} max) |> filter(fn: (r) => r._value >= _since)'
            ' |> keep(columns: ["device_id", "_time"])',
            flux_csv.rows, -LATEST, since, _since=since,
        )  # fmt: skip
        return sorted({(row["device_id"], row["_time"] // DAY * DAY) for row in found})

    def forget(self, before: int) -> None:
        """Deleted when the platform says so: a bucket's own retention would not wait for what is not exported yet."""
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
        """The series of a range as one: `time`, the fields, the tags; of each series and field the `newest` values."""
        tail = "" if newest is None else f"|> tail(n: {int(newest)})"
        at_once = newest is None and end - start >= LONG
        parts = []
        for tags in survey.series:
            given = {name: value for name, value in zip(TAGS, tags, strict=True) if value is not None}
            same = " and ".join(f"r.{name} == _{name}" if name in given else f"not exists r.{name}" for name in TAGS)
            answers = [_yield(name, f"|> filter(fn: (r) => {same}) {tail}") for name in survey.present(fields)]
            texts = {f"_{name}": value for name, value in given.items()}
            part = flux_csv.wide(self._columns(answers, start, end, device_id, at_once=at_once, **texts), fields)
            for name in TAGS:
                text = tag_text(given[name]) if name in given else None
                part = part.append_column(name, pa.repeat(pa.scalar(text, pa.string()), len(part)))
            parts.append(part)
        return series.collapse(parts)

    def _start_of_newest(self, newest: int, metrics: list[str], start: int, end: int, device_id: str) -> int:
        """Where the newest readings that have one of the metrics begin."""
        answers = [_yield(name, f"|> tail(n: {int(newest)})") for name in metrics]
        found = self._columns(answers, start, end, device_id)
        moments = np.unique(np.concatenate([times for times, _ in found.values()])) if found else [start]
        return int(moments[-newest:][0])

    def _columns(
        self, answers: Sequence[str], start: int, end: int, device_id: str, *, at_once: bool = False, **texts: str
    ) -> dict[str, flux_csv.Column]:
        """What the answers yield, asked for in one request or in one each, some at once."""

        def ask(query: str) -> dict[str, flux_csv.Column]:
            return self._ask(query, flux_csv.columns, start, end, device_id, **texts)

        found = self._readers.map(ask, answers) if at_once else [ask("\n".join(answers))]
        return {name: column for some in found for name, column in some.items()}

    def _ask(
        self,
        query: str,
        parse: Callable[[bytes], Parsed],
        start: int,
        end: int,
        device_id: str | None = None,
        **parameters: str | int,
    ) -> Parsed:
        """The answer to a query over `data()`. Values travel as parameters, never in the text."""
        given = {"_start": moment(max(start, -LATEST)), "_stop": moment(min(end, LATEST))}
        device = "" if device_id is None else " and r.device_id == _device"
        flux = f"""data = () => from(bucket: _bucket) |> range(start: _start, stop: _stop)
  |> filter(fn: (r) => r._measurement == "{MEASUREMENT}"{device})
{query}"""
        return self._server.query(flux, {**given, **parameters, "_device": device_id}, parse)


def _parts(batch: list[Reading], reason: str) -> tuple[list[Reading], list[Reading]]:
    """Two halves: by the field that the server complains of, or by time if it does of age, so that one may be clean."""
    if named := _conflict.search(reason):
        having = [reading for reading in batch if named[1].removesuffix(OUT_OF_BAND) in reading.metrics]
        if 0 < len(having) < len(batch):
            return having, [reading for reading in batch if named[1].removesuffix(OUT_OF_BAND) not in reading.metrics]
    if "retention" in reason:
        batch = sorted(batch, key=lambda reading: reading.time)
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _checked(metrics: Sequence[str]) -> list[str]:
    """Names go into the text of a query: those of an allow-list only."""
    for name in metrics:
        if not _metric.fullmatch(name) or name == RECEIVED_AT:
            raise ValueError(f"{name!r} is no metric name")
    return list(metrics)


def _yield(field: str, operations: str) -> str:
    """A field's times and values under its name, after some operations."""
    return f'data() {_only([field])} {operations} |> keep(columns: ["_time", "_value"]) |> yield(name: "{field}")'


def _no_points(fields: Collection[str]) -> pa.Table:
    columns = [("time", pa.int64()), *((f, pa.float64()) for f in fields), *((t, pa.string()) for t in TAGS)]
    return pa.schema(columns).empty_table()


def _only(fields: Sequence[str]) -> str:
    condition = " or ".join(f'r._field == "{name}"' for name in fields)
    return f"|> filter(fn: (r) => {condition})"
