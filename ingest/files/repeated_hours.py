"""The hour that a zone repeats in autumn: in which half of it a file's rows are, if they pass it only once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ingest.files.times import Half, both_moments


@dataclass
class _Visit:
    """Rows in a row of one series within the repeated hour; `before` and `after` are the moments beside them."""

    lines: range
    first: datetime
    last: datetime
    before: datetime | None
    after: datetime | None = None
    rises: bool = False  # at least once a time is not before the last one
    falls: bool = False


@dataclass
class RepeatedHours:
    """Watches the local times of one series, in the order of the file."""

    zone: ZoneInfo
    _visits: list[_Visit] = field(default_factory=list)
    _current: _Visit | None = None
    _before: datetime | None = None

    def add(self, local: datetime, line: int) -> None:
        try:
            moment, other = both_moments(local, self.zone)
        except OverflowError:
            return
        if moment == other:
            if self._current:
                self._current.after = moment
            self._current, self._before = None, moment
        if moment >= other:
            return
        visit = self._current
        if visit is None or abs(local - visit.last) > other - moment:
            self._current = _Visit(range(line, line + 1), local, local, None if visit else self._before)
            self._visits.append(self._current)
            return
        visit.rises |= local >= visit.last
        visit.falls |= local <= visit.last
        visit.lines, visit.last = range(visit.lines.start, line + 1), local

    def halves(self, *, descending: bool) -> list[Half]:
        """The half of each visit that passes the hour only once, in a file that ascends or descends."""
        return [
            Half(visit.lines, *self._half(visit, descending=descending))
            for visit in self._visits
            if not (visit.rises if descending else visit.falls)
        ]

    def _half(self, visit: _Visit, *, descending: bool) -> tuple[int, bool]:
        """The half that leaves no gap beside one that is otherwise there, and whether there is such a half."""
        ends: Sequence[tuple[datetime | None, datetime]] = [(visit.before, visit.first), (visit.after, visit.last)]
        (earlier, start), (later, end) = reversed(ends) if descending else ends
        start_moment, other = both_moments(start, self.zone)
        hour = other - start_moment
        # What lies between the hour's rows and their neighbours, if the rows are in the half that is next to them.
        to_first = start_moment - earlier if earlier else None
        to_second = later - both_moments(end, self.zone)[1] if later else None
        if to_first and to_second and start == end and abs(to_first - to_second) == hour:
            return int(to_second > to_first), True  # with steps of hours, both gaps are alike in the right half
        touches_first, touches_second = _is_short(to_first, hour), _is_short(to_second, hour)
        if touches_first != touches_second:
            return int(touches_second), True
        return 0, False


def _is_short(gap: timedelta | None, hour: timedelta) -> bool:
    return gap is not None and timedelta(0) <= gap <= hour
