"""Energy of a device over any range, from its days: what lies within them, between them, and is cut off at the edges.

A day's figures come from the catalogue where it has them, else from the day's readings; both are the same. Days outside
the range are looked at as far as they tell what happened at its edges, so that parts of a range add up to the whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from assets.energy import day as days, noticed, splice
from assets.energy.basis import POWER_METRIC, Basis
from assets.energy.cells import MILLIONTHS, Cells, Lump, joined
from assets.energy.day import PowerDay, RegisterDay
from assets.energy.findings import Finding
from assets.energy.judgement import Step, Verdict, assess
from assets.energy.kept import KeptDay
from assets.energy.power import Point, Segments, bridges_of, energy_cells, segments_of
from assets.energy.registers import OUTLIER_READINGS, OUTLIER_TIME, Pace, rises_between, spread
from assets.energy.replaced import finding_left, given_cells, lumps_left, without_replaced
from assets.energy.samples import Samples
from assets.quality.cadence import Steps, steps_of
from storage.times import DAY, QUARTER

# Days before and after a range that are looked at, and days of which a register's usual pace is remembered.
MAX_CONTEXT, MAX_PAST = 7, 7
POWER_CONTEXT = 3


class DaySource(Protocol):
    """What is known of a device's UTC days; a day is named by the µs at which it begins."""

    def days(self, start: int, end: int) -> list[int]:
        """Days from `start` up to `end` with readings, ascending."""

    def days_before(self, day: int, count: int) -> list[int]:
        """The nearest days before one that have readings, newest first."""

    def days_after(self, day: int, count: int) -> list[int]:
        """The nearest days after one that have readings, ascending."""

    def energy(self, day: int) -> KeptDay | None:
        """What the catalogue keeps of the day's first readings, if it is current."""

    def has_newer(self, day: int) -> bool:
        """Whether the day has readings after those that `energy` knows."""

    def samples(self, day: int, metric: str) -> Samples:
        """The day's readings of a metric."""


@dataclass(frozen=True)
class Amounts:
    """What was counted in a range: by the quarter hour, and over gaps; `is_there` says whether anything was read."""

    cells: Cells
    lumps: tuple[Lump, ...]
    findings: tuple[Finding, ...]
    is_there: bool

    @property
    def total(self) -> int | None:
        """In millionths of the unit of account; None if nothing is known of the range."""
        if not len(self.cells.starts) and not self.lumps:
            return None
        return int(self.cells.amounts.sum()) + sum(amount for _, _, amount in self.lumps)


class DevicePeriods:
    """Answers about ranges of one device. `now` (µs) is how far a reading that holds until the next one can reach."""

    def __init__(self, source: DaySource, bases: Mapping[str, Basis], now: int) -> None:
        self._source = source
        self._bases = bases
        self._now = now
        self._steps: dict[tuple[int, str], Steps] = {}
        self._whole: dict[tuple[int, str], PowerDay | RegisterDay] = {}

    def power(self, start: int, end: int) -> Amounts:
        """Energy drawn and fed in, from power, over the half-open range (µs)."""
        cuts = (start, end)
        around = self._power_around(start, end)
        within = [(d, self._power(d, _cuts(d, cuts))) for d in self._source.days(start, end)]
        parts = [of_day.cells for _, of_day in within]
        parts += [energy_cells(segments, cuts) for segments in self._between_days(around, end)]
        basis = self._bases[POWER_METRIC]
        single = [f for _, of_day in within for f in noticed.power_findings(of_day) if start <= f.at < end]
        findings = [f for f in single if not _is_accepted(f, basis)]
        if basis.on_change:
            findings += noticed.ended_steps(within, _neighbours(around), start, end)
        cells = joined([part.within(start, end) for part in parts])
        return Amounts(cells, (), tuple(findings), is_there=bool(around))

    def power_segments(self, start: int, end: int) -> list[Segments]:
        """What is known of power (W) over the half-open range and a little around it, in the pieces that `power` adds.

        Each piece is ascending, and none overlaps another.
        """
        basis = self._bases[POWER_METRIC]
        pieces = []
        for day in self._source.days(start, end):
            samples = days.power_samples(self._source.samples(day, POWER_METRIC), basis)
            limit = self._power(day).limit
            if len(samples.times):
                pieces.append(segments_of(samples.times, samples.values, limit, steps=basis.on_change))
        return [*pieces, *self._between_days(self._power_around(start, end), end)]

    def _power_around(self, start: int, end: int) -> list[PowerDay]:
        """The days of the range with power, with the nearest ones before and after it."""
        first, last = start // DAY * DAY, (end - 1) // DAY * DAY
        before = next((d for d in self._source.days_before(first, POWER_CONTEXT) if self._power(d).last), None)
        after = next((d for d in self._source.days_after(last, POWER_CONTEXT) if self._power(d).first), None)
        around = [before, *self._source.days(start, end), after]
        found = [self._power(day) for day in around if day is not None]
        return [of_day for of_day in found if of_day.first is not None]

    def _between_days(self, around: Sequence[PowerDay], end: int) -> list[Segments]:
        """What is known of power from a day's last reading to the next day's first, and after the last one of all."""
        on_change = self._bases[POWER_METRIC].on_change
        segments = [bridges_of(_neighbours(around), steps=on_change)]
        if around and on_change and around[-1].last is not None and around[-1].last[0] < end:
            times, power = np.array([around[-1].last[0]]), np.array([around[-1].last[1]])
            segments.append(segments_of(times, power, around[-1].limit, steps=True, until=self._now))
        return segments

    def register(self, metric: str, start: int, end: int, divided: Sequence[int] = ()) -> Amounts:
        """What a counter counted over the half-open range (µs), in millionths of its unit of account.

        Its cells are quarter hours, `divided` at these moments.
        """
        basis = self._bases[metric]
        meter, replaced = basis.meter, basis.replaced
        assert meter is not None  # noqa: S101 - only counters are asked for
        edges = (edge for piece in replaced for edge in (piece.start, piece.end) if start < edge < end)
        cuts = (start, end, *edges, *divided)
        inside = self._source.days(start, end)
        before, after = self._context(metric, start // DAY * DAY, (end - 1) // DAY * DAY)
        of_days = [
            *((d, self._register(d, metric)) for d in before),
            *((d, self._register(d, metric, _cuts(d, cuts))) for d in inside),
            *((d, self._register(d, metric)) for d in after),
        ]
        judged = [(of_day.pace, of_day.levels or ()) for _, of_day in of_days]
        rules = replace(meter.rules, accepted=basis.accepted)
        verdict = assess(judged, rules, lambda moment: self._past(metric, moment))
        limits = {d: of_day.limit for d, of_day in of_days}
        cells, lumps = _counted(verdict, limits, cuts)
        unfit = [noticed.not_a_counter(metric, d) for d, of_day in of_days if of_day.levels is None]
        gaps = [lump for lump in lumps if lump[1] - lump[0] > limits[lump[1] // DAY * DAY]]
        beyond = [noticed.beyond(metric, meter.unit, s) for _, of_day in of_days for s in of_day.left_out]
        findings = [*unfit, *beyond, *verdict.findings, *(noticed.gap(metric, meter.unit, lump) for lump in gaps)]
        is_there = any(of_day.levels is None or of_day.levels for _, of_day in of_days)
        if replaced:
            given = [given_cells(piece, start, end, divided) for piece in replaced]
            cells = [*(without_replaced(part, replaced) for part in cells), *given]
            lumps = lumps_left(lumps, replaced)
            left = (finding_left(f, replaced, is_lump=_is_lump(f, limits)) for f in findings)
            findings = [f for f in left if f is not None]
            is_there = is_there or any(len(part.starts) for part in given)
        inside_range = (
            f for f in findings if (start <= f.at < end or start < f.until < end) and not _is_accepted(f, basis)
        )
        found = tuple(sorted(inside_range, key=lambda f: f.at))
        return Amounts(joined(cells, divided), tuple(lumps), found, is_there=is_there)

    def _context(self, metric: str, first: int, last: int) -> tuple[list[int], list[int]]:
        """Days before and after the range, as many as show a level that is no outlier whatever lies around it."""
        before: list[int] = []
        for day in self._source.days_before(first, MAX_CONTEXT):
            before.insert(0, day)
            if self._is_firm(day, metric):
                break
        after: list[int] = []
        for day in self._source.days_after(last, MAX_CONTEXT):
            after.append(day)
            if self._is_firm(day, metric):
                break
        return before, after

    def _is_firm(self, day: int, metric: str) -> bool:
        levels = self._register(day, metric).levels or ()
        return any(
            level.readings > OUTLIER_READINGS and level.last[0] - level.first[0] > OUTLIER_TIME for level in levels
        )

    def _past(self, metric: str, moment: int) -> Pace | None:
        past: Pace | None = None
        for day in self._source.days_before(moment // DAY * DAY, MAX_PAST):
            past = self._register(day, metric).pace.with_past(past)
        return past

    def _power(self, day: int, cuts: Sequence[int] = ()) -> PowerDay:
        found = self._of_day(day, POWER_METRIC, cuts)
        assert isinstance(found, PowerDay)  # noqa: S101 - by its metric
        return found

    def _register(self, day: int, metric: str, cuts: Sequence[int] = ()) -> RegisterDay:
        found = self._of_day(day, metric, cuts)
        assert isinstance(found, RegisterDay)  # noqa: S101 - by its metric
        return found

    def _of_day(self, day: int, metric: str, cuts: Sequence[int]) -> PowerDay | RegisterDay:
        """A day's figures: from the catalogue, or from readings where the catalogue cannot tell; with cells cut."""
        whole = self._whole.get((day, metric))
        if whole is None:
            whole = self._whole[day, metric] = self._whole_day(day, metric)
        if any(cut % QUARTER for cut in cuts):
            return splice.cut(whole, self._source.samples(day, metric), self._bases[metric], cuts)
        return whole

    def _whole_day(self, day: int, metric: str) -> PowerDay | RegisterDay:
        basis = self._bases[metric]
        before = self._steps_of(day - DAY, metric) if basis.cadence is None else ()
        kept = self._source.energy(day)
        has_newer = kept is not None and self._source.has_newer(day)
        made = None if kept is None else kept.day(metric)
        if kept is not None and made is None and not has_newer:
            return days.empty_day(basis)
        if made is not None and made.limit == days.limit_of(basis, before, made.steps):
            if not has_newer:
                return made
            # A register's newer readings may show that what it did before was an outlier; all of them are looked at.
            if isinstance(made, PowerDay):
                newer = splice.extended(made, self._source.samples(day, metric), basis, before)
                if newer is not None:
                    return newer
        make = days.power_day if basis.meter is None else days.register_day
        return make(self._source.samples(day, metric), basis, before)

    def _steps_of(self, day: int, metric: str) -> Steps:
        if (day, metric) not in self._steps:
            if not self._source.days(day, day + DAY):
                steps: Steps = ()
            elif (kept := self._source.energy(day)) is not None and not self._source.has_newer(day):
                of_metric = kept.day(metric)
                steps = () if of_metric is None else of_metric.steps
            else:
                steps = steps_of(self._source.samples(day, metric).times)
            self._steps[day, metric] = steps
        return self._steps[day, metric]


def _neighbours(around: Sequence[PowerDay]) -> list[tuple[Point, Point, int]]:
    """The last reading of each day and the first one of the next, with the limit (µs) between them."""
    pairs = ((one.last, other.first, other.limit) for one, other in pairwise(around))
    return [(last, first, limit) for last, first, limit in pairs if last is not None and first is not None]


def _cuts(day: int, cuts: Sequence[int]) -> tuple[int, ...]:
    return tuple(cut for cut in cuts if day < cut < day + DAY)


def _is_accepted(finding: Finding, basis: Basis) -> bool:
    return any(start <= finding.at < end for start, end in basis.accepted)


def _is_lump(finding: Finding, limits: Mapping[int, int]) -> bool:
    """Whether the finding stands for an amount of which it is not known when it was used."""
    since, limit = finding.since, limits.get(finding.at // DAY * DAY)
    is_long = since is not None and limit is not None and finding.at - since > limit
    return finding.kind in ("gap", "reset") or (finding.counted and is_long)


def _counted(verdict: Verdict, limits: Mapping[int, int], cuts: tuple[int, ...]) -> tuple[list[Cells], list[Lump]]:
    """Cells and lumps of the levels and steps that count, within the range that the first two cuts are."""
    start, end = cuts[:2]
    cells: list[Cells] = []
    lumps: list[Lump] = []
    for level in verdict.levels:
        cells.append(level.cells.within(start, end))
        lumps += level.lumps
    counts = [s for s in verdict.steps if s.counted is not None and s.after[0] > start and s.before[0] < end]
    of_steps = [_of_step(s, limits[s.after[0] // DAY * DAY], cuts) for s in counts if not s.rise]
    if rises := [s for s in counts if s.rise]:
        of_rises = [limits[s.after[0] // DAY * DAY] for s in rises]
        of_steps.append(rises_between([(s.before, s.after) for s in rises], of_rises, cuts))
    for counted, over in of_steps:
        cells.append(counted.within(start, end))
        lumps += over
    return cells, sorted(lump for lump in lumps if start < lump[1] <= end)


def _of_step(step: Step, limit: int, cuts: tuple[int, ...]) -> tuple[Cells, tuple[Lump, ...]]:
    if step.is_restart:
        # What it counted before it restarted is not known, so the time is not covered.
        return Cells.empty(), ((step.before[0], step.after[0], round((step.counted or 0.0) * MILLIONTHS)),)
    return spread((step.before[0], 0.0), (step.after[0], step.counted or 0.0), limit, cuts)
