"""A device's telemetry as one stream, read from day files and from the telemetry store.

`assets.datasets.read_plan` says which part is read where. Ranges and tables are those of
`storage.telemetry.TelemetryStore`: half-open, in microseconds, ascending in time.

Readings are as devices sent them, unless the reader is `corrected`. Statistics are always corrected.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa
from sqlmodel import Session

from assets.datasets.column_cache import ColumnCache
from assets.datasets.columns import with_corrections
from assets.datasets.figure_cache import FigureCache
from assets.datasets.file_readings import FileReadings
from assets.datasets.files import DatasetReplaced
from assets.datasets.filters import Filter
from assets.datasets.read_plan import Segment, file_plan, grouped, plan_within, read_plan, split_by_day
from assets.datasets.rows import (
    concatenated,
    having_any,
    newest_rows,
    with_metrics,
    without_flag,
    without_times_of,
)
from assets.energy.corrections import Corrections
from storage import corrections
from storage.objects import ObjectStore
from storage.telemetry import (
    Aggregate,
    Statistics,
    TelemetryStore,
    add_statistics,
    aggregate,
    statistics_of,
)
from storage.times import DAY, HOUR


class TelemetryReader:
    """Reads the telemetry of devices for one request. Plans and newer readings are kept, to be read once.

    Args:
        session: for the catalogue.
        store: the telemetry store.
        objects: the store of the files.
        permit: called with a device before its first read; it raises if the device may not be read.
        cache: keeps columns of files that are read in part.
        figures: keeps what the catalogue says of files.

    """

    def __init__(
        self,
        session: Session,
        store: TelemetryStore,
        objects: ObjectStore,
        *,
        permit: Callable[[str], None] = lambda _: None,
        cache: ColumnCache | None = None,
        figures: FigureCache | None = None,
    ) -> None:
        self._session = session
        self._figures = figures or FigureCache()
        self._store = store
        self._files = FileReadings(objects, cache)
        self._permit = permit
        self._plans: dict[str, dict[tuple[int, int], list[Segment]]] = {}
        self._newer_readings: dict[tuple[str, int], pa.Table] = {}
        self._corrections: dict[str, Corrections] = {}
        self._is_corrected = False

    def corrected(self) -> "TelemetryReader":
        """The same reader with corrected readings; these have the column `CORRECTED` in their tables."""
        reader = copy.copy(self)
        reader._is_corrected = True  # noqa: SLF001 - the same class
        return reader

    def supposing(self, device_id: str, supposed: Corrections) -> "TelemetryReader":
        """The same reader if these were all corrections of the device."""
        reader = copy.copy(self)
        reader._corrections = {**self._corrections, device_id: supposed}  # noqa: SLF001 - the same class
        return reader

    def corrections(self, device_id: str) -> Corrections:
        """The device's corrections that are not undone."""
        if device_id not in self._corrections:
            self._corrections[device_id] = Corrections(corrections.active(self._session, device_id))
        return self._corrections[device_id]

    def plan(self, device_id: str, start: int, end: int, *, by_day: bool = False) -> list[Segment]:
        """The segments of a range, in order; `by_day` cuts them at every midnight UTC.

        Raises:
            Exception: whatever `permit` raises for the device.

        """
        self._permit(device_id)
        plans = self._plans.setdefault(device_id, {})
        wider = next((period for period in plans if period[0] <= start and end <= period[1]), None)
        if wider is None:
            plans[wider := (start, end)] = read_plan(self._session, self._figures, device_id, start, end)
        segments = plan_within(plans[wider], start, end)
        return split_by_day(segments) if by_day else segments

    def file_plan(self, device_id: str, start: int, end: int) -> list[Segment]:
        """A segment for each day with a file, whatever has come since."""
        self._permit(device_id)
        return file_plan(self._session, self._figures, device_id, start, end)

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
        """Readings without context: all metrics or those given, all rows or the newest, that meet all filters."""
        tables: list[pa.Table] = []
        remaining = newest
        # Filters need all rows of a segment, so a segment is a day at most.
        for segment in reversed(self.plan(device_id, start, end, by_day=bool(filters))):
            rows = self._filtered_rows(device_id, segment, metrics, filters, remaining)
            tables.insert(0, rows)
            remaining = None if remaining is None else remaining - len(rows)
            if remaining == 0:
                break
        return concatenated(tables, metrics)

    def read_with_context(
        self, device_id: str, start: int, end: int, *, metrics: Sequence[str] | None = None, newest: int
    ) -> pa.Table:
        """The newest readings with their `CONTEXT`: from the store, and from files for days that it has nothing of.

        Files have no `schema_version`, `enrichment_status`, `out_of_band` and `received_at`; these are null.
        """
        self._permit(device_id)
        stored = self._store.read(device_id, start, end, metrics=metrics, context=True, newest=newest)
        times = stored["time"].cast(pa.int64()).to_numpy()
        since = start if len(stored) < newest else int(times[0])
        tables, added = [stored], 0
        for segment in reversed(self.plan(device_id, since, end)):
            is_stored = ((times >= segment.start) & (times < segment.end)).any()
            if segment.file is not None and (segment.is_expired or not is_stored) and added < newest:
                rows = without_times_of(self._files.read(segment, metrics, context=True), stored)
                tables.append(rows)
                added += len(rows)
        if len(tables) > 1:
            stored = newest_rows(concatenated(tables, metrics, context=True).sort_by("time"), newest)
        return with_corrections(stored, "time", self.corrections(device_id)) if self._is_corrected else stored

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
        """One row per window of `every` microseconds that has readings; see `TelemetryStore.aggregate`."""
        tables = []
        for group in grouped(self.plan(device_id, start, end, by_day=bool(filters)), every):
            first = group[0]
            is_raw = not self._is_corrected or self._is_as_made(device_id, first)
            if len(group) == 1 and first.file is None and not filters and is_raw:
                windows = self._store.aggregate(
                    device_id, first.start, first.end, function=function, every=every, metrics=metrics
                )
            else:
                segments = [self._filtered_rows(device_id, segment, metrics, filters) for segment in group]
                rows = without_flag(concatenated(segments, metrics))
                rows = rows if metrics is None else having_any(rows, metrics)
                windows = aggregate(rows, function, every, rows.column_names[1:])
            tables.append(windows)
        return concatenated(tables, metrics)

    def statistics(self, device_id: str, start: int, end: int) -> Statistics:
        """Statistics of every metric, corrected; those of whole files and hours are taken from the catalogue."""
        parts = []
        for segment in self.plan(device_id, start, end):
            if not self._is_as_made(device_id, segment):
                parts.append(statistics_of(without_flag(self.corrected().rows(device_id, segment, None))))
            elif segment.file is None:
                parts.append(self._store.statistics(device_id, segment.start, segment.end))
            elif segment.is_behind:
                parts.append(statistics_of(self.rows(device_id, segment, None)))
            else:
                parts += self._file_statistics(device_id, segment)
                if segment.store_from is not None:
                    parts.append(statistics_of(self._newer(device_id, segment.store_from, segment.end)))
        return add_statistics(parts)

    def _file_statistics(self, device_id: str, segment: Segment) -> list[Statistics]:
        """Statistics of the part of a segment that is read from its file: parts of hours need the file's rows."""
        file, figures, day = segment.file, segment.figures, segment.start // DAY * DAY
        assert file is not None and figures is not None  # noqa: S101, PT018 - the caller has checked it
        if segment.has_whole_file:
            return [figures.statistics]
        first, last = -(-(segment.start - day) // HOUR), (segment.file_end - day) // HOUR
        of_hours = figures.of_hours(file, first, last) if first < last else None
        if of_hours is None:
            edges = [(segment.start, segment.file_end)]
        else:
            edges = [(segment.start, day + first * HOUR), (day + last * HOUR, segment.file_end)]
        rows = [
            self.rows(device_id, replace(segment, start=start, end=end, store_from=None), None)
            for start, end in edges
            if start < end
        ]
        parts = [] if of_hours is None else [of_hours]
        return [*parts, *map(statistics_of, rows)]

    def rows(
        self,
        device_id: str,
        segment: Segment,
        metrics: Sequence[str] | None,
        newest: int | None = None,
        *,
        keep: bool = False,
    ) -> pa.Table:
        """The readings of one segment of `plan`, all or the newest; `keep` caches the columns of a whole file too."""
        rows = self._raw_rows(device_id, segment, metrics, newest, keep=keep)
        return with_corrections(rows, "time", self.corrections(device_id)) if self._is_corrected else rows

    def _is_as_made(self, device_id: str, segment: Segment) -> bool:
        """Whether the figures that store and catalogue have of a segment hold the device's corrections."""
        known, file = self.corrections(device_id), segment.file
        if file is not None and segment.is_of_file:
            return file.corrections == known.name_of(segment.start // DAY * DAY)
        return not known.metrics(segment.start, segment.end) and (file is None or file.corrections is None)

    def _raw_rows(
        self, device_id: str, segment: Segment, metrics: Sequence[str] | None, newest: int | None, *, keep: bool
    ) -> pa.Table:
        if segment.file is None:
            return self._store.read(device_id, segment.start, segment.end, metrics=metrics, newest=newest)
        try:
            rows = self._files.read(segment, metrics, keep=keep)
        except DatasetReplaced:
            if segment.is_expired:
                raise
            return self._store.read(device_id, segment.start, segment.end, metrics=metrics, newest=newest)
        if segment.store_from is not None:
            newer = self._newer(device_id, segment.store_from, segment.end)
            if metrics is not None:
                newer = having_any(with_metrics(newer, metrics), metrics)
            rows = concatenated([rows, newer], metrics)
        if segment.is_behind:
            late = self._store.read(device_id, segment.start, segment.end, metrics=metrics)
            rows = concatenated([without_times_of(rows, late), late], metrics).sort_by("time")
        return newest_rows(rows, newest)

    def _newer(self, device_id: str, start: int, end: int) -> pa.Table:
        """The store's readings from where a file ends, all of the day's kept: statistics and energy both need them."""
        key = (device_id, start)
        if key not in self._newer_readings:
            self._newer_readings[key] = self._store.read(device_id, start, start // DAY * DAY + DAY)
        rows = self._newer_readings[key]
        return rows.slice(0, int(rows["time"].cast(pa.int64()).to_numpy().searchsorted(end)))

    def _filtered_rows(
        self,
        device_id: str,
        segment: Segment,
        metrics: Sequence[str] | None,
        filters: Sequence[Filter],
        newest: int | None = None,
    ) -> pa.Table:
        """The readings of a segment that meet all filters, all or the newest."""
        if not filters:
            return self.rows(device_id, segment, metrics, newest)
        needed = None if metrics is None else [*metrics, *{f.metric for f in filters}.difference(metrics)]
        rows = self.rows(device_id, segment, needed)
        for condition in filters:
            rows = condition.apply(rows)
        if metrics is not None:
            rows = concatenated([having_any(rows, metrics)], metrics)
        return newest_rows(rows, newest)
