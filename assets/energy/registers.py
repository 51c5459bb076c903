"""A register's readings of a UTC day as levels: runs in which it only rose, as far as its device can use.

Where a level ends the register fell, or rose further than its device can use. Whether that was a hiccup of the bus, a
restart or another meter is judged with what comes after (`assets.energy.judgement`), across days.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assets.energy.cells import MILLIONTHS, Cells, Lump, edges_over, whole
from storage.arrays import Floats, Mask, Times
from storage.times import HOUR

Point = tuple[int, float]
# A dip or spike that returns within so many readings, or so much time, is an outlier.
OUTLIER_READINGS, OUTLIER_TIME = 5, HOUR
# A rise beyond this many times the usual rate is more than the device can use.
BEYOND = 10
USUAL_SHARE = 0.999
MAX_EXTREMES = 20
# A register with more falls a day is not a counter; nor is one that falls steadily, in so many steps and such a share
# of them, by such a share of what it rises.
MAX_FALLS = 200
STEADY_FALLS, STEADY_SHARE = 12, 0.1
RELATIVE_NOISE = 1e-9


@dataclass(frozen=True)
class Pace:
    """How fast a register rises: `usual` units an hour (None if unknown), at most `most` where declared.

    `resolution` is the step in which the register counts.
    """

    usual: float | None
    resolution: float
    most: float | None = None

    def allowed(self, hours: float) -> float | None:
        """The greatest rise in that time that the device can have used; None if nothing is known of it."""
        rate = self.rate
        return None if rate is None else rate * hours + 2 * self.resolution

    @property
    def rate(self) -> float | None:
        """The fastest that the device can use, in units an hour; None if nothing is known of it."""
        return self.most if self.most is not None or self.usual is None else BEYOND * self.usual

    def with_past(self, other: "Pace | None") -> "Pace":
        """The faster of the two."""
        if other is None:
            return self
        rates = [pace.usual for pace in (self, other) if pace.usual is not None]
        return Pace(max(rates, default=None), max(self.resolution, other.resolution), self.most or other.most)


@dataclass(frozen=True)
class Level:
    """Readings of one day in which the register rose steadily: the first and last (µs, value), and how many.

    `cells` are what it counted between the first and the last; `lumps` what it counted over gaps.
    """

    first: tuple[int, float]
    last: tuple[int, float]
    readings: int
    cells: Cells
    lumps: tuple[Lump, ...] = ()


def pace_of(times: Times, values: Floats, step: float, most: float | None, *, net: bool) -> Pace:
    """The pace of a day's readings; `step` is what one of the register's units counts, `most` what is declared."""
    rises, hours = np.diff(values), np.diff(times) / HOUR
    resolution = _resolution(values, step)
    if net:
        # A spike and its return say nothing of the pace.
        back = np.abs(rises[1:] + rises[:-1]) <= np.abs(rises[:-1]) / BEYOND
        near = np.zeros(len(rises), bool)
        near[:-1] |= back
        near[1:] |= back
        rates = np.abs(rises)[~near] / hours[~near] if (~near).any() else np.abs(rises) / hours
    else:
        fell = rises < -_noise(values)
        near = fell
        if fell.any():
            window = np.ones(2 * OUTLIER_READINGS + 1)
            near = np.convolve(fell, window)[OUTLIER_READINGS : OUTLIER_READINGS + len(fell)] > 0.5
        rates = (rises / hours)[(rises > 0) & ~near]
        if not len(rates):
            rates = (rises / hours)[rises > 0]
    return Pace(_usual(rates[rates > 0]), resolution, most)


def _usual(rates: Floats) -> float | None:
    """The 99.9th percentile of the rates without those far beyond the others; None of fewer than two."""
    count = len(rates)
    # The greatest alone are looked at, since sorting all of a day's rates takes longer than all else.
    tail = min(count, int((1 - USUAL_SHARE) * count) + MAX_EXTREMES + 3)
    skipped = count - tail
    greatest = np.sort(np.partition(rates, skipped)[skipped:]) if skipped > 0 else np.sort(rates)

    def usual_of(number: int) -> float:
        position = USUAL_SHARE * (number - 1) - skipped
        low = int(position)
        high = min(low + 1, number - 1 - skipped)
        return float(greatest[low] + (greatest[high] - greatest[low]) * (position - low))

    for _ in range(min(MAX_EXTREMES, len(rates) - 1)):
        if greatest[count - 1 - skipped] <= BEYOND * usual_of(count - 1):
            break
        count -= 1
    return usual_of(count) if count > 1 else None


def levels_of(
    times: Times, values: Floats, pace: Pace, limit: int, *, net: bool, changes: tuple[int, ...]
) -> list[Level] | None:
    """The levels of ascending readings of a day; None if the register falls so often that it is no counter.

    Args:
        times: in µs.
        values: in the counter's unit of account (kWh, or its own).
        pace: of the day.
        limit: the longest step (µs) within which use is spread evenly.
        net: the register may fall.
        changes: moments (µs) at which the meter was changed.

    """
    breaks = _breaks(times, values, pace, net=net)
    if breaks is None:
        return None
    for change in changes:
        at = int(times.searchsorted(change)) - 1
        if 0 <= at < len(breaks):
            breaks[at] = True
    ends = np.append(np.flatnonzero(breaks) + 1, len(times))
    starts = np.concatenate([[0], ends[:-1]])
    return [level_of(times[a:b], values[a:b], limit) for a, b in zip(starts, ends, strict=True)]


def rises_between(
    steps: Sequence[tuple[Point, Point]], limits: Sequence[int], cuts: tuple[int, ...]
) -> tuple[Cells, tuple[Lump, ...]]:
    """What `spread` gives for steps from one reading to the next, which ascend, each with its own limit (µs)."""
    times = np.array([at for step in steps for at, _ in step], np.int64)
    values = np.array([value for step in steps for _, value in step], np.float64)
    # Readings in turn begin and end a step. Between two steps lies what is counted elsewhere: no limit is as short.
    limit = np.zeros(len(times), np.int64)
    limit[1::2] = limits
    kept = np.append(True, np.diff(times) > 0)
    whole_range = level_of(times[kept], values[kept], limit[kept][1:], (*cuts, *times.tolist()))
    ends = {after[0] for _, after in steps}
    return whole_range.cells, tuple(lump for lump in whole_range.lumps if lump[1] in ends)


def spread(before: Point, after: Point, limit: int, cuts: tuple[int, ...]) -> tuple[Cells, tuple[Lump, ...]]:
    """What was counted from one reading to the next, as cells, or as a lump where they are too far apart."""
    level = level_of(np.array([before[0], after[0]]), np.array([before[1], after[1]]), limit, cuts)
    return level.cells, level.lumps


def level_of(times: Times, values: Floats, limit: int | Times, cuts: tuple[int, ...] = ()) -> Level:
    """Ascending readings in which the register rose steadily, as a level whose cells the cuts (µs) divide.

    `limit` (µs) is that of all steps or of each.
    """
    first, last = (int(times[0]), float(values[0])), (int(times[-1]), float(values[-1]))
    if len(times) < 2:
        return Level(first, last, len(times), Cells.empty())
    edges = edges_over(first[0], last[0], cuts)
    counted = whole(values * MILLIONTHS)
    steps = np.diff(times)
    known = steps <= limit
    covered_sum = np.concatenate([[0], np.cumsum(np.where(known, steps, 0))])
    # Of an edge in a gap the register stands where it was read last.
    at = np.clip(times.searchsorted(edges, "right") - 1, 0, len(steps) - 1)
    since = np.minimum(edges - times[at], steps[at])
    done = edges >= times[at + 1]
    fraction = np.where(known[at] | done, since / steps[at], 0.0)
    reached = np.where(done, counted[at + 1], whole((values[at] + np.diff(values)[at] * fraction) * MILLIONTHS))
    covered = np.diff(covered_sum[at] + np.where(known[at], since, 0))
    amounts = np.diff(reached)
    gaps = np.flatnonzero(~known)
    since, until, over = times[gaps], times[gaps + 1], counted[gaps + 1] - counted[gaps]
    lumps = tuple(zip(since.tolist(), until.tolist(), over.tolist(), strict=True))
    np.subtract.at(amounts, edges.searchsorted(until) - 1, over)
    kept = covered > 0
    nothing = np.zeros(int(kept.sum()), np.int64)
    return Level(first, last, len(times), Cells(edges[:-1][kept], amounts[kept], nothing, covered[kept]), lumps)


def _breaks(times: Times, values: Floats, pace: Pace, *, net: bool) -> Mask | None:
    """Where, between a reading and the next, a level ends."""
    rises, hours = np.diff(values), np.diff(times) / HOUR
    allowed = None if pace.rate is None else pace.rate * hours + 2 * pace.resolution
    if net:
        return np.abs(rises) > allowed if allowed is not None else np.zeros(len(rises), bool)
    noise = _noise(values)
    fell = np.flatnonzero(rises < -noise)
    if len(fell) > MAX_FALLS or _falls_steadily(rises, fell):
        return None
    breaks = (rises > allowed) if allowed is not None else rises > noise
    breaks[fell] = True
    for i in fell.tolist():
        _mark_return(times, values, i, breaks, noise)
        _mark_rise(times, values, i, breaks)
    return np.asarray(breaks)


def _falls_steadily(rises: Floats, fell: Times) -> bool:
    """Whether the register falls as it rises, in small steps that stay, at whatever cadence it is read."""
    if len(fell) < STEADY_FALLS:
        return False
    usual = BEYOND * float(np.median(np.abs(rises[rises != 0])))
    falls, around = rises[fell], np.concatenate([[0.0], rises, [0.0]])
    # A dip returns at once, and a spike came at once.
    undone = np.minimum(np.abs(falls + around[fell]), np.abs(falls + around[fell + 2])) <= -falls / BEYOND
    small = falls[(falls >= -usual) & ~undone]
    up = float(rises[(rises > 0) & (rises <= usual)].sum())
    return len(small) >= max(STEADY_FALLS, STEADY_SHARE * len(rises)) and -float(small.sum()) >= STEADY_SHARE * up


def _mark_return(times: Times, values: Floats, fell: int, breaks: Mask, noise: float) -> None:
    """After a dip, the step that leads back to where the register was."""
    before, low = values[fell], fell + 1
    until = max(low + OUTLIER_READINGS, int(times.searchsorted(times[low] + OUTLIER_TIME, "right")) - 1)
    back = np.flatnonzero(values[low + 1 : until + 1] >= before - noise)
    if len(back):
        step = low + int(back[0])
        if values[step + 1] - values[step] >= (before - values[low]) / 2:
            breaks[step] = True


def _mark_rise(times: Times, values: Floats, fell: int, breaks: Mask) -> None:
    """Before a fall back to where the register was, the step that led up to the spike."""
    after = values[fell + 1]
    since = min(fell - OUTLIER_READINGS, int(times.searchsorted(times[fell] - OUTLIER_TIME)))
    low = np.flatnonzero(values[max(since, 0) : fell] <= after)
    if len(low):
        step = max(since, 0) + int(low[-1])
        if after - values[step] <= (values[fell] - values[step]) / BEYOND:
            breaks[step] = True


def _noise(values: Floats) -> float:
    """What a float's last digits may make of equal values."""
    return float(np.abs(values).max(initial=0.0)) * RELATIVE_NOISE


def _resolution(values: Floats, step: float) -> float:
    """The coarsest power of ten of `step`, at most `step` itself, of which every value is a multiple."""
    for digits in range(6):
        size = step / 10**digits
        counted = values / size
        if np.abs(counted - np.rint(counted)).max(initial=0.0) < 1e-4:
            return float(size)
    return step / 10**6
