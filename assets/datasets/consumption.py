"""What a device used over a range, from the days that the catalogue and the telemetry store know.

Of closed days the catalogue has the figures; of days that a range cuts, of the open day and of days whose figures rest
on other metadata they are worked out from readings, to the same numbers.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from sqlmodel import Session

from assets.datasets.read_plan import Segment
from assets.datasets.reader import TelemetryReader
from assets.energy.basis import Basis, bases_of
from assets.energy.figures import EnergyFigures, energy_figures
from assets.energy.kept import KeptDay
from assets.energy.meters import POWER, meters_of
from assets.energy.period import DevicePeriods
from assets.energy.register_states import register_states
from assets.energy.samples import Samples, samples_of
from assets.energy.states import STATES, StateFigures, machine_states
from assets.energy.working import merged
from storage import dirty_days
from storage.devices import Device, metadata_of
from storage.maintenance import windows_during
from storage.times import DAY, microseconds, midnight, moment, utc_now

# Days next to a range that are looked up together with it.
NEAR = 7 * DAY


def energy_of(
    session: Session, reader: TelemetryReader, device_id: str, start: int, end: int, *, files_only: bool = False
) -> EnergyFigures:
    """Energy of a device over the half-open range (µs), by what its metadata say now.

    With `files_only` days without a file, and readings that came after a file was made, are left out.
    """
    metadata = metadata_of(session, device_id)
    corrections = reader.corrections(device_id)
    bases = bases_of(metadata, meters_of(metadata), corrections)
    days = ReaderDays(session, reader, device_id, bases, (start, end), files_only=files_only)
    energy = energy_figures(days, metadata, start, end, microseconds(utc_now()), corrections=corrections)
    outdated = sum(start // DAY * DAY <= day < end for day in days.outdated)
    return replace(energy, outdated_days=outdated)


def states_of(
    session: Session,
    reader: TelemetryReader,
    device_id: str,
    start: int,
    end: int,
    *,
    maintenance: Sequence[tuple[int, int]],
    files_only: bool = False,
) -> tuple[StateFigures, str | None]:
    """The states of a device over the half-open range (µs), and the source of its power.

    A device that sends no power has that of its counters by the quarter hour. `files_only` is that of `energy_of`.
    """
    metadata = metadata_of(session, device_id)
    corrections = reader.corrections(device_id)
    bases = bases_of(metadata, meters_of(metadata), corrections)
    now = microseconds(utc_now())
    until = max(min(end, now), start)
    days = ReaderDays(session, reader, device_id, bases, (start, end), files_only=files_only)
    windows = merged(maintenance)
    pieces = DevicePeriods(days, bases, now).power_segments(start, end)
    if any(len(piece.start) for piece in pieces):
        return machine_states(pieces, metadata, windows, start, until), POWER
    states, energy = register_states(days, metadata, windows, (start, end), now, corrections=corrections)
    return states, energy.source


def state_totals_of(
    session: Session, reader: TelemetryReader, device_id: str, start: int, end: int
) -> StateFigures | None:
    """Time and energy of each state over a range of any length, from its files, without spans.

    None where the metadata declare no threshold. A week of power is in memory at a time.
    """
    device, metadata = session.get(Device, device_id), metadata_of(session, device_id)
    if device is None or (metadata.off_below_w is None and metadata.idle_below_w is None):
        return None
    planned = windows_during(session, device_id, device.tenant_id, moment(start), moment(end))
    windows = [(microseconds(window.starts_at), microseconds(window.ends_at)) for window in planned]
    until = max(min(end, microseconds(utc_now())), start)
    parts = [
        states_of(session, reader, device_id, since, min(since + NEAR, until), maintenance=windows, files_only=True)[0]
        for since in range(start, until, NEAR)
    ]
    return StateFigures(
        start,
        until,
        (),
        {state: sum(part.time[state] for part in parts) for state in STATES},
        {state: sum(part.energy[state] for part in parts) for state in STATES},
    )


class ReaderDays:
    """A device's days as the energy of a range needs them; see `assets.energy.period.DaySource`."""

    def __init__(
        self,
        session: Session,
        reader: TelemetryReader,
        device_id: str,
        bases: Mapping[str, Basis],
        period: tuple[int, int],
        *,
        files_only: bool = False,
    ) -> None:
        self._session = session
        self._reader = reader
        self._device_id = device_id
        self._bases = bases
        self._names = {name: basis.name for name, basis in bases.items()}
        self._kept: dict[int, KeptDay | None] = {}
        self._samples: dict[tuple[int, str], Samples] = {}
        # Days whose figures in the catalogue are of an older version, or rest on other metadata.
        self.outdated: set[int] = set()
        self._from = period[0] // DAY * DAY - NEAR
        self._until = -(-period[1] // DAY) * DAY + NEAR
        self._files_only = files_only
        self._segments = self._plan(self._from, self._until)
        known = {day for day, segment in self._segments.items() if segment.file is not None}
        if not files_only:
            known |= set(self._days_known(self._from, self._until))
        self._known = sorted(known)

    def days(self, start: int, end: int) -> list[int]:
        """Days from `start` up to `end` with readings, ascending."""
        first = start // DAY * DAY
        if first < self._from or end > self._until:
            return [day for day in self._days_known(first, end) if self._has_file(day)]
        return self._known[bisect_left(self._known, first) : bisect_left(self._known, end)]

    def days_before(self, day: int, count: int) -> list[int]:
        """The nearest days before one that have readings, newest first."""
        until = bisect_left(self._known, day)
        near = self._known[max(until - count, 0) : until][::-1]
        if len(near) == count:
            return near
        found = dirty_days.days_before(self._session, self._device_id, moment(day).date(), count)
        return [day for day in map(_start, found) if self._has_file(day)]

    def days_after(self, day: int, count: int) -> list[int]:
        """The nearest days after one that have readings, ascending."""
        since = bisect_right(self._known, day)
        near = self._known[since : since + count]
        if len(near) == count or self._until > microseconds(utc_now()) + DAY:  # no reading is of a later day
            return near
        found = dirty_days.days_after(self._session, self._device_id, moment(day).date(), count)
        return [day for day in map(_start, found) if self._has_file(day)]

    def energy(self, day: int) -> KeptDay | None:
        """What the catalogue keeps of the day, if it holds for all readings of its file and for the metadata."""
        if day not in self._kept:
            self._kept[day] = self._current(day)
        return self._kept[day]

    def _current(self, day: int) -> KeptDay | None:
        segment = self._segment(day)
        if segment.file is None or segment.is_behind or not segment.has_whole_file:
            return None
        kept = segment.figures and segment.figures.energy
        if kept and kept.is_current(self._names, self._reader.corrections(self._device_id).name_of(day)):
            return kept
        self.outdated.add(day)
        return None

    def has_newer(self, day: int) -> bool:
        """Whether the store may have readings of the day that came after those of its file."""
        return not self._segment(day).is_in_file

    def samples(self, day: int, metric: str) -> Samples:
        """The day's readings of a metric."""
        if (day, metric) not in self._samples:
            segment = self._segment(day)
            # Of a file each column is read when asked for; the store is asked once for all.
            metrics = [metric] if segment.file is not None else list(self._bases)
            # A day that a range cuts is cut again by the next one: its columns stay in memory.
            rows = self._reader.rows(self._device_id, segment, metrics, keep=True)
            known = self._reader.corrections(self._device_id)
            self._samples |= {(day, name): known.of_samples(name, samples_of(rows, "time", name)) for name in metrics}
        return self._samples[day, metric]

    def _segment(self, day: int) -> Segment:
        if day not in self._segments:
            self._segments |= self._plan(day, day + DAY)
        return self._segments[day]

    def _plan(self, start: int, end: int) -> dict[int, Segment]:
        """Where each day from `start` up to `end` is read, by the day's start."""
        if not self._files_only:
            segments = self._reader.plan(self._device_id, start, end, by_day=True)
            return {segment.start: segment for segment in segments}
        files = {segment.start: segment for segment in self._reader.file_plan(self._device_id, start, end)}
        return {day: files.get(day) or Segment(day, day + DAY, None) for day in range(start, end, DAY)}

    def _has_file(self, day: int) -> bool:
        """Whether the day counts: each one does, or those with a file."""
        return not self._files_only or self._segment(day).file is not None

    def _days_known(self, start: int, end: int) -> list[int]:
        first, last = moment(start).date(), moment(end - 1).date()
        found = dirty_days.known_days(self._session, first, last, [self._device_id])
        return [_start(day) for day, _ in found]


def _start(day: date) -> int:
    return microseconds(midnight(day))
