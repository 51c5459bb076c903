"""Backtest: the alerts that a rule would have raised on telemetry of the past, taken in the order of its time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ingest.devices.profile import DeviceProfile, Window
from ingest.rules.active_hours import Hours, local_time
from ingest.rules.active_rule import ActiveRule
from ingest.rules.pending import PendingState, apply_period
from storage.arrays import Floats, Mask, Times
from storage.comparison import is_met


@dataclass(frozen=True, slots=True)
class Episode:
    """An alert that the rule would have raised: the reading's time in microseconds, and its value."""

    time: int
    value: float


@dataclass(slots=True)
class Backtest:
    """One rule on one device. Feed it the device's readings, part by part."""

    rule: ActiveRule
    profile: DeviceProfile
    readings: int = 0
    suppressed: int = 0
    episodes: list[Episode] = field(default_factory=list)
    _state: PendingState = field(default_factory=PendingState)
    _last_fired: int | None = None
    _last_suppressed: int | None = None

    def feed(self, times: Times, values: Floats) -> None:
        """Add readings, ascending and later than all before. A value that is NaN is a reading without the metric."""
        has_metric = ~np.isnan(values)
        times, values = times[has_metric], values[has_metric]
        self.readings += len(times)
        if not len(times):
            return
        breaches = is_met(values, self.rule.condition, self.rule.threshold)
        if self.rule.pending_period:
            breaches, self._state = apply_period(times, breaches, self.rule.pending_period, self._state)
        times, values = times[breaches], values[breaches]
        if self.rule.hours and len(times):
            active = Hours([self.rule.hours]).include(
                np.zeros(len(times), np.intp), *local_time(times, self.profile.zone)
            )
            times, values = times[active], values[active]
        in_maintenance = _within(times, self.profile.windows)
        suppressed = _spaced(times[in_maintenance], self._last_suppressed, self.rule.cooldown)
        if suppressed:
            self.suppressed += len(suppressed)
            self._last_suppressed = int(times[in_maintenance][suppressed[-1]])
        times, values = times[~in_maintenance], values[~in_maintenance]
        for i in _spaced(times, self._last_fired, self.rule.cooldown):
            self._last_fired = int(times[i])
            self.episodes.append(Episode(self._last_fired, float(values[i])))

    def skip(self, readings: int, last: int) -> None:
        """Count readings that are known not to meet the condition; `last` is the time of the last one (µs)."""
        self.readings += readings
        self._state = PendingState(clear_at=last)


def could_meet(rule: ActiveRule, low: float, high: float) -> bool:
    """Whether values of which the lowest and the highest are given can meet the rule's condition."""
    extremes = is_met(np.array([low, high]), rule.condition, rule.threshold)
    return bool(extremes.any()) or (rule.condition == "=" and low < rule.threshold < high)


def _within(times: Times, windows: Sequence[Window]) -> Mask:
    within = np.zeros(len(times), np.bool_)
    for start, end in windows:
        within |= (times >= start) & (times < end)
    return within


def _spaced(times: Times, last: int | None, cooldown: int) -> list[int]:
    """Positions of ascending times that are at least a cooldown apart, and from `last`."""
    distance = max(cooldown, 1)
    i = 0 if last is None else int(np.searchsorted(times, last + distance))
    chosen = []
    while i < len(times):
        chosen.append(i)
        i = i + 1 if not cooldown else int(np.searchsorted(times, times[i] + distance))
    return chosen
