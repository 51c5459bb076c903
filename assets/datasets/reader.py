"""A device's telemetry as one stream, from files and the telemetry store (`assets.datasets.read_plan` says which).

It answers what `storage.telemetry.TelemetryStore` answers.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from sqlmodel import Session

from assets.datasets import export
from assets.datasets.column_cache import ColumnCache
from assets.datasets.export import DatasetReplaced
from assets.datasets.read_plan import Segment, by_day, read_plan
from storage.catalogue import Dataset
from storage.comparison import is_met
from storage.objects import ObjectStore
from storage.telemetry import (
    CONTEXT,
    COUNT,
    Aggregate,
    MetricStatistics,
    Statistics,
    TelemetryStore,
    order_metrics,
    series,
)

# Days of files that are in memory at once.
MAX_DAYS = 32


@dataclass(frozen=True)
class Filter:
    """Readings whose metric compares to a number; a reading without the metric does not."""

    metric: str
    operator: str
    value: float

    def of(self, table: pa.Table) -> pa.Array:
        """A mask of the readings that meet it, equality as in rules."""
        return pa.array(is_met(table[self.metric].to_numpy(), self.operator, self.value))


class TelemetryReader:
    """Reads of devices over time, for one question: where a range is read is looked up once.

    `permit` is asked about each device first, and raises where it may not be read. `cache` keeps columns of days of
    which a part was asked for.
    """

    def __init__(
        self,
        session: Session,
        store: TelemetryStore,
        objects: ObjectStore,
        *,
        permit: Callable[[str], None] = lambda _: None,
        cache: ColumnCache | None = None,
    ) -> None:
        self._session = session
        self._store = store
        self._objects = objects
        self._permit = permit
        self._cache = cache
        self._read: dict[tuple[str, int, int], pa.Table] = {}
        self._known: dict[tuple[str, int, int], list[Segment]] = {}

    def read(
        self,
        device_id: str,
        start: int,
        end: int,
        *,
        metrics: Sequence[str] | None = None,
        newest: int | None = None,
        filters: Sequence[Filter] = (),
    ) -> pa.Table:
        """Readings, ascending in time, with their metrics only; days that have files are read there."""
        parts: list[pa.Table] = []
        wanted = newest
        segments = self.plan(device_id, start, end)
        for segment in reversed(by_day(segments) if filters else segments):
            if filters:
                part = self._filtered(device_id, segment, metrics, filters)
                part = part if wanted is None else part.slice(max(0, len(part) - wanted))
            else:
                part = self.rows(device_id, segment, metrics, wanted)
            parts.insert(0, part)
            wanted = None if wanted is None else wanted - len(part)
            if wanted == 0:
                break
        return _joined(parts, metrics)

    def read_with_context(
        self, device_id: str, start: int, end: int, *, metrics: Sequence[str] | None = None, newest: int
    ) -> pa.Table:
        """The newest readings with their `CONTEXT`, as the store has them; files stand in for days it has none of.

        A file does not keep `schema_version`, `enrichment_status`, `out_of_band` and `received_at`: they are null.
        """
        self._permit(device_id)
        found = self._store.read(device_id, start, end, metrics=metrics, context=True, newest=newest)
        times = found["time"].cast(pa.int64()).to_numpy()
        since = start if len(found) < newest else int(times[0])
        parts, rows = [found], 0
        for segment in reversed(self.plan(device_id, since, end)):
            held = ((times >= segment.start) & (times < segment.end)).any()
            if segment.file is not None and (segment.is_expired or not held) and rows < newest:
                part = self._read_file(segment, metrics, context=True)
                parts.append(_without(part, found))
                rows += len(parts[-1])
        if len(parts) == 1:
            return found
        table = _joined(parts, metrics, context=True).sort_by("time")
        return table.slice(max(0, len(table) - newest))

    def aggregate(
        self,
        device_id: str,
        start: int,
        end: int,
        *,
        function: Aggregate,
        every: int,
        metrics: Sequence[str] | None = None,
        filters: Sequence[Filter] = (),
    ) -> pa.Table:
        """One row per window of `every` microseconds that holds readings; see `TelemetryStore.aggregate`."""
        parts = []
        segments = self.plan(device_id, start, end)
        for group in _groups(by_day(segments) if filters else segments, every):
            if len(group) == 1 and group[0].file is None and not filters:
                a, b = group[0].start, group[0].end
                part = self._store.aggregate(device_id, a, b, function=function, every=every, metrics=metrics)
            else:
                rows = _joined([self._filtered(device_id, s, metrics, filters) for s in group], metrics)
                part = series.windows(rows, function, every, rows.column_names[1:])
            parts.append(part)
        return _joined(parts, metrics)

    def statistics(self, device_id: str, start: int, end: int) -> Statistics:
        """Statistics of every metric; the catalogue knows those of whole days."""
        parts = []
        for segment in self.plan(device_id, start, end):
            if segment.file is None:
                parts.append(self._store.statistics(device_id, segment.start, segment.end))
            elif segment.catalogued:
                parts.append(_of_catalogue(segment.catalogued))
                if segment.store_from is not None:
                    parts.append(series.statistics(self._newer(device_id, segment.store_from, segment.end)))
            else:
                parts.append(series.statistics(self.rows(device_id, segment, None)))
        return _merged(parts)

    def plan(self, device_id: str, start: int, end: int) -> list[Segment]:
        """The range in parts, in order; neighbouring days of the store are one.

        Raises:
            Exception: what `permit` raises for the device.

        """
        self._permit(device_id)
        asked = (device_id, start, end)
        if asked not in self._known:
            self._known[asked] = read_plan(self._session, *asked)
        return self._known[asked]

    def rows(
        self, device_id: str, segment: Segment, metrics: Sequence[str] | None, newest: int | None = None
    ) -> pa.Table:
        """Readings of one of `segments`."""
        if segment.file is None:
            return self._store.read(device_id, segment.start, segment.end, metrics=metrics, newest=newest)
        try:
            rows = self._read_file(segment, metrics)
        except DatasetReplaced:
            if segment.is_expired:
                raise
            return self._store.read(device_id, segment.start, segment.end, metrics=metrics, newest=newest)
        if segment.store_from is not None:
            newer = self._newer(device_id, segment.store_from, segment.end)
            rows = _joined(
                [rows, newer if metrics is None else _having(_with_columns(newer, metrics), metrics)], metrics
            )
        if segment.is_behind:
            late = self._store.read(device_id, segment.start, segment.end, metrics=metrics)
            rows = _joined([_without(rows, late), late], metrics).sort_by("time")
        return rows if newest is None else rows.slice(max(0, len(rows) - newest))

    def _newer(self, device_id: str, start: int, end: int) -> pa.Table:
        """What the store has from where a file ends, read once: statistics and energy both ask for it."""
        asked = (device_id, start, end)
        if asked not in self._read:
            self._read[asked] = self._store.read(*asked)
        return self._read[asked]

    def _filtered(
        self, device_id: str, segment: Segment, metrics: Sequence[str] | None, filters: Sequence[Filter]
    ) -> pa.Table:
        if not filters:
            return self.rows(device_id, segment, metrics)
        asked = None if metrics is None else [*metrics, *{f.metric for f in filters}.difference(metrics)]
        rows = self.rows(device_id, segment, asked)
        for filter_ in filters:
            rows = rows.filter(filter_.of(rows)) if filter_.metric in rows.column_names else rows.slice(0, 0)
        return rows if metrics is None else _having(rows, metrics).select(["time", *metrics])

    def _read_file(self, segment: Segment, metrics: Sequence[str] | None, *, context: bool = False) -> pa.Table:
        file = segment.file
        assert file is not None  # noqa: S101 - callers looked
        there = set(file.metrics)
        # A file also has a power factor that was worked out; it is no reading, and is given to who asks for it.
        wanted = order_metrics(there - {"power_factor"}) if metrics is None else list(metrics)
        kept = ["device_type", "location"] if context else []
        names = ["timestamp", *kept, *(n for n in wanted if n in there)]

        def read(columns: list[str]) -> pa.Table:
            return export.read(self._objects, [file], columns)

        if self._cache is None or segment.is_of_file:
            rows = read(names)
        else:
            rows = self._cache.columns(file.sha256, names, read)
        if not segment.has_whole_file:
            edges = rows["timestamp"].cast(pa.int64()).to_numpy().searchsorted([segment.start, segment.file_end])
            rows = rows.slice(edges[0], edges[1] - edges[0])
        rows = rows.rename_columns(["time", *rows.column_names[1:]])
        if context:
            for field in CONTEXT:
                if field.name not in kept:
                    rows = rows.append_column(field.name, pa.nulls(len(rows), field.type))
        table = _with_columns(rows, wanted, CONTEXT.names if context else ())
        return table if metrics is None else _having(table, wanted)


def _without(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows of moments that the others have not."""
    return rows.filter(pc.invert(pc.is_in(rows["time"], others["time"].combine_chunks())))


def _with_columns(table: pa.Table, metrics: Sequence[str], beside: Sequence[str] = ()) -> pa.Table:
    """These metrics alone, null where the table lacks one, and what else is to stand beside them."""
    absent = pa.nulls(len(table), pa.float64())
    columns = {name: table[name] if name in table.column_names else absent for name in metrics}
    return pa.table({"time": table["time"], **columns, **{name: table[name] for name in beside}})


def _having(table: pa.Table, metrics: Sequence[str]) -> pa.Table:
    """The rows that have one of the metrics."""
    is_full = any(table[name].null_count == 0 for name in metrics)
    return table if is_full else table.filter(_any_of(table, metrics))


def _any_of(table: pa.Table, metrics: Iterable[str]) -> pa.ChunkedArray:
    """Where a row has one of the metrics."""
    return pc.is_valid(pc.coalesce(*(table[name] for name in metrics)))


def _groups(segments: Iterable[Segment], every: int) -> list[list[Segment]]:
    """Stretches that are aggregated together: each group begins where a window does, and files go many at a time."""
    groups: list[list[Segment]] = []
    for segment in segments:
        cuts_a_window = segment.start % every != 0
        follows_files = groups and segment.file and all(s.file for s in groups[-1]) and len(groups[-1]) < MAX_DAYS
        if groups and (cuts_a_window or follows_files):
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return groups


def _joined(parts: Sequence[pa.Table], metrics: Sequence[str] | None, *, context: bool = False) -> pa.Table:
    """The parts' rows under each other, with the columns of all of them in the protocol's order."""
    table = pa.concat_tables(parts, promote_options="default")
    beside = [name for name in table.column_names if name in ("time", COUNT) or (context and name in CONTEXT.names)]
    names = set(table.column_names) - set(beside)
    ordered = order_metrics(names) if metrics is None else list(metrics)
    first = [name for name in beside if name not in CONTEXT.names]
    return table.select([*first, *ordered, *(name for name in CONTEXT.names if context)])


def _of_catalogue(file: Dataset) -> Statistics:
    return Statistics(
        file.rows,
        {
            name: MetricStatistics(m["count"], m["min"], m["max"], m["sum"] / m["count"], m["sum"])
            for name, m in file.metrics.items()
            if name != "power_factor"
        },
    )


def _merged(parts: Iterable[Statistics]) -> Statistics:
    readings, found = 0, dict[str, MetricStatistics]()
    for part in parts:
        readings += part.readings
        for name, new in part.metrics.items():
            old = found.get(name)
            found[name] = new if old is None else _both(old, new)
    return Statistics(readings, {name: found[name] for name in order_metrics(set(found)) if name in found})


def _both(one: MetricStatistics, other: MetricStatistics) -> MetricStatistics:
    count, total = one.count + other.count, one.sum + other.sum
    return MetricStatistics(count, min(one.min, other.min), max(one.max, other.max), total / count, total)
