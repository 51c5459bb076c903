"""Active hours: when a rule may raise alerts, by local time at the device."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.arrays import Indices, Mask, Times
from storage.rules import ActiveHours
from storage.telemetry import TIME
from storage.times import MINUTE

WHOLE_DAY = 1440
# How much of the past is looked at in one step.
MINUTES_AT_ONCE = WHOLE_DAY


class Hours:
    """The active hours of many rules as columns, in minutes of the local day."""

    def __init__(self, hours: Sequence[ActiveHours | None]) -> None:
        self.limited = np.array([rule_hours is not None for rule_hours in hours], np.bool_)
        self._days = np.ones((len(hours), 7), np.bool_)
        self._since = np.zeros(len(hours), np.int64)
        self._until = np.full(len(hours), WHOLE_DAY)
        for i, rule_hours in enumerate(hours):
            if rule_hours:
                self._days[i] = [day in rule_hours.days for day in range(7)]
                self._since[i], self._until[i] = _minutes(rule_hours.since), _minutes(rule_hours.until)

    def include(self, rules: Indices, days: Indices, minutes: Times) -> Mask:
        """Whether each rule may fire on its local day of the week (0 is Monday) at its minute of the day."""
        since, until = self._since[rules], self._until[rules]
        overnight = since >= until
        today = self._days[rules, days] & (minutes >= since) & (overnight | (minutes < until))
        yesterday = overnight & self._days[rules, (days + 6) % 7] & (minutes < until)
        return today | yesterday


def active_since(hours: ActiveHours, zone: ZoneInfo, now: int, duration: int, earliest: int) -> int | None:
    """The latest moment since which as much active time has passed as `duration`. Times are in microseconds.

    None outside the active hours, and if that moment lies before `earliest`.
    """
    rules = np.zeros(MINUTES_AT_ONCE, np.intp)
    minute = now // MINUTE * MINUTE
    lengths = np.full(MINUTES_AT_ONCE, MINUTE)
    lengths[0] = now - minute  # the current minute has just begun
    while minute + MINUTE > earliest:
        starts = minute - MINUTE * np.arange(MINUTES_AT_ONCE)
        active = Hours([hours]).include(rules, *local_time(starts, zone))
        if minute + MINUTE > now and not active[0]:
            return None
        passed = np.cumsum(np.where(active, lengths, 0))
        first = int(np.searchsorted(passed, duration))
        if first < MINUTES_AT_ONCE:
            moment = int(starts[first] + passed[first] - duration)
            return moment if moment >= earliest else None
        duration -= int(passed[-1])
        minute -= MINUTES_AT_ONCE * MINUTE
        lengths[0] = MINUTE
    return None


def local_time(times: Times, zone: ZoneInfo) -> tuple[Indices, Times]:
    """The local days of the week (0 is Monday) and minutes of the day at these times (µs)."""
    local = pa.array(times, pa.int64()).cast(TIME).cast(pa.timestamp("us", tz=zone.key))
    minutes = pc.add(pc.multiply(pc.hour(local), 60), pc.minute(local))
    return pc.day_of_week(local).to_numpy().astype(np.intp), minutes.to_numpy().astype(np.int64)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
