"""The read plan: which parts of a range are read from day files, and which from the telemetry store.

`storage.dirty_days` knows from which reading on a day's file may be outdated; from there on the store is read. A file
also stands in for a day whose readings retention has deleted from the store.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from sqlmodel import Session

from assets.datasets.figure_cache import DayFigures, FigureCache
from storage import day_figures
from storage.catalogue import Dataset
from storage.day_figures import DayFile
from storage.times import DAY, microseconds, midnight, moment

MAX_FILES_IN_MEMORY = 32


@dataclass(frozen=True)
class Segment:
    """A part of a range, half-open, in microseconds, and the day file to read it from; without `file`, the store.

    `figures` are those of the file.
    `store_from`: the store is read from this moment on, since the file may lack later readings. `is_expired`: the store
    may have only late readings of this day. `is_behind`: the file lacks some of these late readings, so both are read.
    """

    start: int
    end: int
    file: Dataset | None
    figures: DayFigures | None = None
    store_from: int | None = None
    is_expired: bool = False
    is_behind: bool = False

    def within(self, start: int, end: int) -> "Segment":
        """The part that lies in a range, which the segment overlaps."""
        if start <= self.start and self.end <= end:
            return self
        start, end, changed_from = max(start, self.start), min(end, self.end), self.store_from
        if changed_from is None or changed_from >= end:
            return replace(self, start=start, end=end, store_from=None)
        return Segment(start, end, None) if changed_from <= start else replace(self, start=start, end=end)

    @property
    def file_end(self) -> int:
        """Where the part that is read from the file ends."""
        return self.end if self.store_from is None else self.store_from

    @cached_property
    def has_whole_file(self) -> bool:
        """Whether every reading of the file lies in the part that is read from the file."""
        file = self.file
        if file is None:
            return False
        if file.first_at is None or file.last_at is None:
            return self.end - self.start == DAY and self.store_from is None
        return self.start <= microseconds(file.first_at) and microseconds(file.last_at) < self.file_end

    @property
    def is_in_file(self) -> bool:
        """Whether the file has all readings of the segment."""
        return self.file is not None and self.store_from is None and not self.is_behind

    @property
    def is_of_file(self) -> bool:
        """Whether the segment has exactly the file's readings."""
        return self.is_in_file and self.has_whole_file


def read_plan(session: Session, cache: FigureCache, device_id: str, start: int, end: int) -> list[Segment]:
    """The segments of a half-open range in microseconds, in order; neighbouring days of the store are one segment."""
    if start >= end:
        return []
    files = _files(session, cache, device_id, start, end)
    return _joined(
        _file_segment(*file, day_start, day_end)
        if (file := files.get(day_start // DAY * DAY))
        else Segment(day_start, day_end, None)
        for day_start, day_end in _days(start, end)
    )


def file_plan(session: Session, cache: FigureCache, device_id: str, start: int, end: int) -> list[Segment]:
    """A segment for each day with a file, all of it from the file."""
    files = _files(session, cache, device_id, start, end)
    return [Segment(day, day + DAY, file.dataset, figures) for day, (file, figures) in files.items()]


def _files(
    session: Session, cache: FigureCache, device_id: str, start: int, end: int
) -> dict[int, tuple[DayFile, DayFigures]]:
    """The day files of the range by the µs at which their day begins."""
    days = day_figures.day_files(session, device_id, moment(start).date(), moment(end - 1).date())
    return {microseconds(midnight(file.dataset.start_date)): (file, of) for file, of in cache.of(session, days)}


def plan_within(segments: Iterable[Segment], start: int, end: int) -> list[Segment]:
    """The plan of a range from that of a wider one."""
    inside = (segment for segment in segments if segment.start < end and start < segment.end)
    return _joined(segment.within(start, end) for segment in inside)


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    """The segments in their order; neighbouring ones of the store are one."""
    joined: list[Segment] = []
    for segment in segments:
        if segment.file is None and joined and joined[-1].file is None:
            joined[-1] = replace(joined[-1], end=segment.end)
        else:
            joined.append(segment)
    return joined


def split_by_day(segments: Iterable[Segment]) -> list[Segment]:
    """The segments, cut at every midnight UTC. A segment with a file lies within one day and stays whole."""
    return [
        part if start == part.start and end == part.end else replace(part, start=start, end=end)
        for part in segments
        for start, end in _days(part.start, part.end)
    ]


def grouped(segments: Iterable[Segment], every: int) -> list[list[Segment]]:
    """The segments that are aggregated together.

    A segment that does not begin with a window joins the one before it. Otherwise, files are read up to
    MAX_FILES_IN_MEMORY at a time.
    """
    groups: list[list[Segment]] = []
    for segment in segments:
        cuts_window = segment.start % every != 0
        follows_files = (
            groups and segment.file and all(s.file for s in groups[-1]) and len(groups[-1]) < MAX_FILES_IN_MEMORY
        )
        if groups and (cuts_window or follows_files):
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return groups


def _days(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a range between the midnights within it."""
    while start < end:
        day_end = min(start // DAY * DAY + DAY, end)
        yield start, day_end
        start = day_end


def _file_segment(day: DayFile, figures: DayFigures, start: int, end: int) -> Segment:
    """A part of a day that has a file, read from the file as far as it is up to date."""
    if day.is_expired:
        return Segment(start, end, day.dataset, figures, is_expired=True, is_behind=day.changed_from is not None)
    changed_from = end if day.changed_from is None else microseconds(day.changed_from)
    if changed_from <= start:
        return Segment(start, end, None)
    return Segment(start, end, day.dataset, figures, store_from=changed_from if changed_from < end else None)
