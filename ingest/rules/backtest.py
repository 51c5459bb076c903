"""A rule over telemetry of the past, in time order: the alerts that it would have raised."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ingest.devices.profile import DeviceProfile, Window
from ingest.rules.active_hours import Hours, local_time
from ingest.rules.evaluate import ActiveRule
from ingest.rules.pending import PendingState, held
from storage.arrays import Floats, Mask, Times
from storage.comparison import is_met


@dataclass(frozen=True, slots=True)
class Episode:
    """An alert that there would have been: the reading's time in microseconds, and its value."""

    time: int
    value: float


@dataclass(slots=True)
class Backtest:
    """One rule on one device, fed with its readings part by part."""

    rule: ActiveRule
    facts: DeviceProfile
    readings: int = 0
    held_back: int = 0
    episodes: list[Episode] = field(default_factory=list)
    _hold: PendingState = field(default_factory=PendingState)
    _fired: int | None = None
    _counted: int | None = None

    def feed(self, times: Times, values: Floats) -> None:
        """Readings later than all before, ascending; values that are NaN are readings without the metric."""
        there = ~np.isnan(values)
        times, values = times[there], values[there]
        self.readings += len(times)
        if not len(times):
            return
        breaches = is_met(values, self.rule.condition, self.rule.threshold)
        if self.rule.hold:
            breaches, self._hold = held(times, breaches, self.rule.hold, self._hold)
        times, values = times[breaches], values[breaches]
        if self.rule.hours and len(times):
            active = Hours([self.rule.hours]).include(
                np.zeros(len(times), np.intp), *local_time(times, self.facts.zone)
            )
            times, values = times[active], values[active]
        working = _within(times, self.facts.windows)
        counted = _spaced(times[working], self._counted, self.rule.cooldown)
        if counted:
            self.held_back += len(counted)
            self._counted = int(times[working][counted[-1]])
        times, values = times[~working], values[~working]
        for i in _spaced(times, self._fired, self.rule.cooldown):
            self._fired = int(times[i])
            self.episodes.append(Episode(self._fired, float(values[i])))

    def pass_over(self, readings: int, last: int) -> None:
        """Readings, the last at that time, of which it is known that none meets the condition."""
        self.readings += readings
        self._hold = PendingState(clear_at=last)


def could_meet(rule: ActiveRule, low: float, high: float) -> bool:
    """Whether any value between the two, both there, can meet the rule's condition."""
    extremes = is_met(np.array([low, high]), rule.condition, rule.threshold)
    return bool(extremes.any()) or (rule.condition == "=" and low < rule.threshold < high)


def _within(times: Times, windows: Sequence[Window]) -> Mask:
    within = np.zeros(len(times), np.bool_)
    for start, end in windows:
        within |= (times >= start) & (times < end)
    return within


def _spaced(times: Times, last: int | None, cooldown: int) -> list[int]:
    """Positions of ascending times that are a cooldown apart, the first from `last`."""
    apart = max(cooldown, 1)
    i = 0 if last is None else int(np.searchsorted(times, last + apart))
    chosen = []
    while i < len(times):
        chosen.append(i)
        i = i + 1 if not cooldown else int(np.searchsorted(times, times[i] + apart))
    return chosen
