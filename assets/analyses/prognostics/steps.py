"""Readings as equal steps of time, life by life: from a repair, or the first reading, to the next failure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pandas as pd

from assets.analyses.prognostics.recorded import RecordedFailure
from storage.arrays import Floats, Indices, Mask

STEPS_PER_HORIZON = 24
MAX_STEPS = 50_000
HOUR = pd.Timedelta(hours=1)


@dataclass(frozen=True)
class Unit:
    """A device's readings (`readings.frame`), and the failures within them, in time order."""

    rows: pd.DataFrame
    failures: tuple[RecordedFailure, ...]


@dataclass(frozen=True)
class Steps:
    """One row per step, each of one life of one unit.

    `means`: the metrics' means. `ends`: the step's newest reading. `unit`: the unit's number. `life`: the life's, over
    all units. `age`: hours since the life's first reading. `remaining`: hours until the failure that ends the
    life, NaN if it has not failed. `known_until`: how far the unit's outcome is known, at each step.
    """

    means: pd.DataFrame
    ends: pd.DatetimeIndex
    unit: Indices
    life: Indices
    age: Floats
    remaining: Floats
    known_until: pd.DatetimeIndex
    step: timedelta

    def __len__(self) -> int:
        return len(self.ends)

    def fails(self, horizon: timedelta) -> Mask:
        """Whether the life ends within the horizon after each step."""
        hours: Mask = self.remaining <= horizon / HOUR
        return hours

    def labelled(self, horizon: timedelta) -> Mask:
        """Whether that is known already; it is not for the newest steps."""
        return self.fails(horizon) | np.asarray(self.ends + horizon <= self.known_until)

    def without(self, metrics: Iterable[str]) -> "Steps":
        """The same without these metrics."""
        return replace(self, means=self.means.drop(columns=list(metrics)))

    def of_unit(self, number: int) -> "Steps":
        """The steps of one unit."""
        own = self.unit == number
        return Steps(
            self.means[own].reset_index(drop=True),
            self.ends[own],
            self.unit[own],
            self.life[own],
            self.age[own],
            self.remaining[own],
            self.known_until[own],
            self.step,
        )

    @property
    def failures(self) -> pd.DatetimeIndex:
        """The moments of the failures, ascending."""
        return pd.DatetimeIndex(self._failures)

    @property
    def failed_lives(self) -> Indices:
        """The lives that ended in a failure, in the order of their failures."""
        order: Indices = self._failures.index.to_numpy(np.intp)
        return order

    @property
    def _failures(self) -> pd.Series:
        """The failures by life, ascending in time."""
        ended = np.isfinite(self.remaining)
        failed = pd.Series(self.ends[ended] + pd.to_timedelta(self.remaining[ended], "h"))
        return failed.groupby(self.life[ended]).max().sort_values(kind="stable")


def within(rows: pd.DataFrame, failures: Sequence[RecordedFailure], step: timedelta) -> tuple[RecordedFailure, ...]:
    """The failures between the first reading and the last, or just after it: a device may stop when it fails."""
    first, last = rows.index[0], rows.index[-1] + 2 * step
    inside = {failure.failed_at: failure for failure in failures if first < failure.failed_at <= last}
    return tuple(inside[moment] for moment in sorted(inside))


def steps_of(units: Iterable[Unit], step: timedelta) -> Steps:
    """The steps of all units, unit by unit, ascending in time.

    A reading at the moment of a failure, and all until the repair, belongs to no life. A step never has readings of
    two lives.
    """
    parts = [_of_unit(unit, step) for unit in units]
    lives = np.cumsum([0, *(int(part["life"].max()) + 1 if len(part) else 0 for part in parts)])
    for number, part in enumerate(parts):
        part["unit"], part["life"] = number, part["life"] + lives[number]
    rows = pd.concat(parts, ignore_index=True)
    own = ["ends", "unit", "life", "age", "remaining", "known_until"]
    return Steps(
        means=rows.drop(columns=own),
        ends=pd.DatetimeIndex(rows["ends"]),
        unit=rows["unit"].to_numpy(np.intp),
        life=rows["life"].to_numpy(np.intp),
        age=rows["age"].to_numpy(float),
        remaining=rows["remaining"].to_numpy(float),
        known_until=pd.DatetimeIndex(rows["known_until"]),
        step=step,
    )


def _of_unit(unit: Unit, step: timedelta) -> pd.DataFrame:
    times = pd.DatetimeIndex(unit.rows.index).as_unit("us")
    failed, back = _moments(unit.failures)
    life = np.asarray(failed.searchsorted(times, side="right"), np.intp)  # the failures so far
    runs = life == 0
    if len(failed):
        previous = np.maximum(life - 1, 0)
        runs |= np.asarray(times > failed[previous]) & np.asarray(times >= back[previous])
    times, life = times[runs], life[runs]
    bins = times.asi8 // max(step // timedelta(microseconds=1), 1)
    is_last = np.r_[(np.diff(bins) != 0) | (np.diff(life) != 0), np.ones(min(len(life), 1), bool)]
    group = np.cumsum(np.r_[0, is_last[:-1]])[: len(life)]
    begin = pd.Series(times).groupby(life).transform("min")
    rows = unit.rows[runs].reset_index(drop=True).groupby(group).mean()
    ends, life = times[is_last], life[is_last]
    remaining = np.full(len(ends), np.nan)
    has_failed = life < len(failed)
    remaining[has_failed] = np.asarray((failed[life[has_failed]] - ends[has_failed]) / HOUR, float)
    found: pd.DataFrame = rows.assign(
        ends=ends,
        life=life,
        age=np.asarray((ends - pd.DatetimeIndex(begin[is_last])) / HOUR, float),
        remaining=remaining,
        known_until=unit.rows.index[-1],
    )
    return found


def _moments(failures: Sequence[RecordedFailure]) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """When the failures were, and when the device ran again; the same moment where that is not known."""
    failed = pd.DatetimeIndex(pd.to_datetime([f.failed_at for f in failures], utc=True)).as_unit("us")
    back = pd.DatetimeIndex(pd.to_datetime([f.repaired_at or f.failed_at for f in failures], utc=True)).as_unit("us")
    return failed, back
