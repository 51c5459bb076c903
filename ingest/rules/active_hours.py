"""Active hours: when a rule may raise alerts, by local time at the device."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.arrays import Indices, Mask, Times
from storage.rules import ActiveHours
from storage.telemetry import TIME

WHOLE_DAY = 1440


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


def local_time(times: Times, zone: ZoneInfo) -> tuple[Indices, Times]:
    """The local days of the week (0 is Monday) and minutes of the day at these times (µs)."""
    local = pa.array(times, pa.int64()).cast(TIME).cast(pa.timestamp("us", tz=zone.key))
    minutes = pc.add(pc.multiply(pc.hour(local), 60), pc.minute(local))
    return pc.day_of_week(local).to_numpy().astype(np.intp), minutes.to_numpy().astype(np.int64)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
