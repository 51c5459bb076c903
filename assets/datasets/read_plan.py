"""Where a range of a device's telemetry is read: exported days in their files, what came since and else in the store.

The ledger knows from which moment on a day's file may lack readings: from there the store is asked. A file stands for a
day that retention has taken from the store.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from sqlmodel import Session

from storage import catalogue
from storage.catalogue import Dataset, DayFile
from storage.times import DAY, microseconds, midnight, moment


@dataclass(frozen=True)
class Segment:
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

    @cached_property
    def has_whole_file(self) -> bool:
        """Whether every reading of the file belongs to it, and to the file's part of it."""
        file = self.file
        if file is None:
            return False
        if file.first_at is None or file.last_at is None:
            return self.end - self.start == DAY and self.store_from is None
        return self.start <= microseconds(file.first_at) and microseconds(file.last_at) < self.file_end

    @property
    def is_in_file(self) -> bool:
        """Whether the file has all of its readings."""
        return self.file is not None and self.store_from is None and not self.is_behind

    @property
    def is_of_file(self) -> bool:
        """Whether it is the file's readings, all of them and no others."""
        return self.is_in_file and self.has_whole_file

    @property
    def catalogued(self) -> Dataset | None:
        """The file, where what the catalogue knows of it holds for the file's part of the segment."""
        return self.file if self.has_whole_file and not self.is_behind else None

    @property
    def file_end(self) -> int:
        return self.end if self.store_from is None else self.store_from


def read_plan(session: Session, device_id: str, start: int, end: int) -> list[Segment]:
    """The range (µs, half-open) in parts, in order; neighbouring days of the store are one."""
    if start >= end:
        return []
    days = catalogue.day_files(session, device_id, moment(start).date(), moment(end - 1).date())
    files = {microseconds(midnight(day.dataset.start_date)): day for day in days}
    found: list[Segment] = []
    at = start
    while at < end:
        day_start = at // DAY * DAY
        until = min(day_start + DAY, end)
        part = _from_file(files[day_start], at, until) if day_start in files else Segment(at, until, None)
        if part.file is None and found and found[-1].file is None:
            found[-1] = Segment(found[-1].start, until, None)
        else:
            found.append(part)
        at = until
    return found


def by_day(segments: Iterable[Segment]) -> list[Segment]:
    """The same without one that is longer than a day, since what is filtered is read whole."""
    return [day for segment in segments for day in _days_of(segment)]


def _days_of(segment: Segment) -> Iterator[Segment]:
    if segment.file is not None:  # which is one day's
        yield segment
        return
    at = segment.start
    while at < segment.end:
        until = min(at // DAY * DAY + DAY, segment.end)
        yield replace(segment, start=at, end=until)
        at = until


def _from_file(day: DayFile, start: int, end: int) -> Segment:
    """A part of a day that has a file: the file's as far as it has all readings."""
    if day.is_expired:
        return Segment(start, end, day.dataset, is_expired=True, is_behind=day.changed_from is not None)
    if day.changed_from is None or (since := microseconds(day.changed_from)) >= end:
        return Segment(start, end, day.dataset)
    return Segment(start, end, day.dataset, store_from=since) if since > start else Segment(start, end, None)
