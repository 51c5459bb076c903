"""A device's telemetry as one stream: exported days from their files, what came since and all else from the store.

It answers what `storage.telemetry.TelemetryStore` answers. The ledger knows from which moment on a day's file may lack
readings: from there the store is asked. A file stands for a day that retention has taken from the store.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time

import pyarrow as pa
import pyarrow.compute as pc
from sqlmodel import Session

from assets import datasets
from assets.column_cache import ColumnCache
from assets.datasets import DatasetReplaced
from storage import catalogue, series
from storage.catalogue import Dataset, DayFile
from storage.objects import ObjectStore
from storage.telemetry import (
    CONTEXT,
    COUNT,
    DAY,
    TIME,
    Aggregate,
    MetricStatistics,
    Statistics,
    TelemetryStore,
    microseconds,
    moment,
    order_metrics,
)

# Days of files that are in memory at once.
MOST_DAYS = 32
EQUAL_WITHIN = 1e-9


@dataclass(frozen=True)
class Filter:
    """Readings whose metric compares to a number; a reading without the metric does not."""

    metric: str
    operator: str
    value: float

    def of(self, table: pa.Table) -> pa.ChunkedArray:
        """Where it holds. Equal is within a relative 1e-9, as in rules."""
        values = table[self.metric]
        near = pc.multiply(pc.max_element_wise(pc.abs(values), abs(self.value)), EQUAL_WITHIN)
        equal = pc.less_equal(pc.abs(pc.subtract(values, self.value)), near)
        holds = {
            ">": pc.greater(values, self.value),
            "<": pc.less(values, self.value),
            ">=": pc.or_(pc.greater(values, self.value), equal),
            "<=": pc.or_(pc.less(values, self.value), equal),
            "=": equal,
            "!=": pc.invert(equal),
        }[self.operator]
        return pc.fill_null(pc.if_else(pc.is_valid(values), holds, None), fill_value=False)


@dataclass(frozen=True)
class Stretch:
    """A part of a range and where it is read: the file of the day it lies in, or else the store.

    `store_from`: from then on it is the store's even so, since the file may lack readings. `is_expired`: retention may
    have taken the day from the store, but for what came late. `is_behind`: and of that the file has not all; the day is
    read from both.
    """

    start: int
    end: int
    file: Dataset | None
    store_from: int | None = None
    is_expired: bool = False
    is_behind: bool = False

    @property
    def has_whole_file(self) -> bool:
        """Whether every reading of the file belongs to it, and to the file's part of it."""
        file = self.file
        if file is None:
            return False
        if file.first_at is None or file.last_at is None:
            return self.end - self.start == DAY and self.store_from is None
        return self.start <= microseconds(file.first_at) and microseconds(file.last_at) < self.file_end

    @property
    def is_of_file(self) -> bool:
        """Whether it is the file's readings, all of them and no others."""
        return self.has_whole_file and self.store_from is None and not self.is_behind

    @property
    def file_end(self) -> int:
        return self.end if self.store_from is None else self.store_from


class Timeline:
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
        self._known: dict[tuple[str, int, int], list[Stretch]] = {}

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
        stretches = self.stretches(device_id, start, end)
        for stretch in reversed(by_day(stretches) if filters else stretches):
            if filters:
                part = self._filtered(device_id, stretch, metrics, filters)
                part = part if wanted is None else part.slice(max(0, len(part) - wanted))
            else:
                part = self.rows(device_id, stretch, metrics, wanted)
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
        for stretch in reversed(self.stretches(device_id, since, end)):
            held = ((times >= stretch.start) & (times < stretch.end)).any()
            if stretch.file is not None and (stretch.is_expired or not held) and rows < newest:
                part = self._read_file(stretch, metrics, context=True)
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
        stretches = self.stretches(device_id, start, end)
        for group in _groups(by_day(stretches) if filters else stretches, every):
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
        for stretch in self.stretches(device_id, start, end):
            if stretch.file is None:
                parts.append(self._store.statistics(device_id, stretch.start, stretch.end))
            elif stretch.has_whole_file and not stretch.is_behind:
                parts.append(_of_catalogue(stretch.file))
                if stretch.store_from is not None:
                    parts.append(self._store.statistics(device_id, stretch.store_from, stretch.end))
            else:
                parts.append(series.statistics(self.rows(device_id, stretch, None)))
        return _merged(parts)

    def stretches(self, device_id: str, start: int, end: int) -> list[Stretch]:
        """The range in parts, in order; neighbouring days of the store are one.

        Raises:
            Exception: what `permit` raises for the device.

        """
        self._permit(device_id)
        asked = (device_id, start, end)
        if asked not in self._known:
            self._known[asked] = self._stretches(*asked)
        return self._known[asked]

    def _stretches(self, device_id: str, start: int, end: int) -> list[Stretch]:
        files = self._files(device_id, start, end)
        found: list[Stretch] = []
        at = start
        while at < end:
            midnight = at // DAY * DAY
            until = min(midnight + DAY, end)
            part = _from_file(files[midnight], at, until) if midnight in files else Stretch(at, until, None)
            if part.file is None and found and found[-1].file is None:
                found[-1] = Stretch(found[-1].start, until, None)
            else:
                found.append(part)
            at = until
        return found

    def _files(self, device_id: str, start: int, end: int) -> dict[int, DayFile]:
        """The files of days, by their midnight."""
        found = catalogue.day_files(self._session, device_id, moment(start).date(), moment(end - 1).date())
        return {microseconds(datetime.combine(f.dataset.start_date, time(), UTC)): f for f in found}

    def rows(
        self, device_id: str, stretch: Stretch, metrics: Sequence[str] | None, newest: int | None = None
    ) -> pa.Table:
        """Readings of one of `stretches`."""
        if stretch.file is None:
            return self._store.read(device_id, stretch.start, stretch.end, metrics=metrics, newest=newest)
        try:
            rows = self._read_file(stretch, metrics)
        except DatasetReplaced:
            if stretch.is_expired:
                raise
            return self._store.read(device_id, stretch.start, stretch.end, metrics=metrics, newest=newest)
        if stretch.store_from is not None:
            since = self._store.read(device_id, stretch.store_from, stretch.end, metrics=metrics)
            rows = _joined([rows, since], metrics)
        if stretch.is_behind:
            late = self._store.read(device_id, stretch.start, stretch.end, metrics=metrics)
            rows = _joined([_without(rows, late), late], metrics).sort_by("time")
        return rows if newest is None else rows.slice(max(0, len(rows) - newest))

    def _filtered(
        self, device_id: str, stretch: Stretch, metrics: Sequence[str] | None, filters: Sequence[Filter]
    ) -> pa.Table:
        if not filters:
            return self.rows(device_id, stretch, metrics)
        asked = None if metrics is None else [*metrics, *{f.metric for f in filters}.difference(metrics)]
        rows = self.rows(device_id, stretch, asked)
        for filter_ in filters:
            rows = rows.filter(filter_.of(rows)) if filter_.metric in rows.column_names else rows.slice(0, 0)
        return rows if metrics is None else rows.filter(_any_of(rows, metrics)).select(["time", *metrics])

    def _read_file(self, stretch: Stretch, metrics: Sequence[str] | None, *, context: bool = False) -> pa.Table:
        file = stretch.file
        assert file is not None  # noqa: S101 - callers looked
        there = set(file.metrics)
        # A file also has a power factor that was worked out; it is no reading, and is given to who asks for it.
        wanted = order_metrics(there - {"power_factor"}) if metrics is None else list(metrics)
        kept = ["device_type", "location"] if context else []
        names = ["timestamp", *kept, *(n for n in wanted if n in there)]

        def read(columns: list[str]) -> pa.Table:
            return datasets.read(self._objects, [file], columns)

        if self._cache is None or stretch.is_of_file:
            rows = read(names)
        else:
            rows = self._cache.columns(file.sha256, names, read)
        if not stretch.has_whole_file:
            edges = rows["timestamp"].cast(pa.int64()).to_numpy().searchsorted([stretch.start, stretch.file_end])
            rows = rows.slice(edges[0], edges[1] - edges[0])
        columns = {"time": rows["timestamp"].cast(TIME)}
        columns |= {n: rows[n] if n in rows.column_names else pa.nulls(len(rows), pa.float64()) for n in wanted}
        if context:
            empty = {f.name: pa.nulls(len(rows), f.type) for f in CONTEXT if f.name not in kept}
            columns |= {f.name: empty[f.name] if f.name in empty else rows[f.name] for f in CONTEXT}
        table = pa.table(columns)
        is_full = metrics is None or any(table[name].null_count == 0 for name in wanted)
        return table if is_full else table.filter(_any_of(table, wanted))


def _from_file(day: DayFile, start: int, end: int) -> Stretch:
    """A part of a day that has a file: the file's as far as it has all readings."""
    if day.is_expired:
        return Stretch(start, end, day.dataset, is_expired=True, is_behind=day.changed_from is not None)
    if day.changed_from is None or (since := microseconds(day.changed_from)) >= end:
        return Stretch(start, end, day.dataset)
    return Stretch(start, end, day.dataset, store_from=since) if since > start else Stretch(start, end, None)


def _without(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows of moments that the others have not."""
    return rows.filter(pc.invert(pc.is_in(rows["time"], others["time"].combine_chunks())))


def by_day(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same without one that is longer than a day, since what is filtered is read whole."""
    found = []
    for stretch in stretches:
        at = stretch.start
        while at < stretch.end:
            until = min(at // DAY * DAY + DAY, stretch.end)
            found.append(replace(stretch, start=at, end=until))
            at = until
    return found


def _any_of(table: pa.Table, metrics: Iterable[str]) -> pa.ChunkedArray:
    """Where a row has one of the metrics."""
    return pc.is_valid(pc.coalesce(*(table[name] for name in metrics)))


def _groups(stretches: Iterable[Stretch], every: int) -> list[list[Stretch]]:
    """Stretches that are aggregated together: each group begins where a window does, and files go many at a time."""
    groups: list[list[Stretch]] = []
    for stretch in stretches:
        cuts_a_window = stretch.start % every != 0
        follows_files = groups and stretch.file and all(s.file for s in groups[-1]) and len(groups[-1]) < MOST_DAYS
        if groups and (cuts_a_window or follows_files):
            groups[-1].append(stretch)
        else:
            groups.append([stretch])
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
