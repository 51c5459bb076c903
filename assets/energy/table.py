"""The days of a table of readings, for energy that is worked out without a catalogue."""

import numpy as np
import pyarrow as pa

from assets.energy.kept import KeptDay
from assets.energy.samples import Samples, samples_of
from storage.times import DAY


class TableDays:
    """The UTC days of a table whose column `timestamp` ascends; see `assets.energy.period.DaySource`."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        times = table["timestamp"].cast(pa.int64()).to_numpy()
        self._days: list[int] = np.unique(times // DAY * DAY).tolist()
        self._samples: dict[str, Samples] = {}

    def days(self, start: int, end: int) -> list[int]:
        return [day for day in self._days if start // DAY * DAY <= day < end]

    def days_before(self, day: int, count: int) -> list[int]:
        return [d for d in self._days if d < day][::-1][:count]

    def days_after(self, day: int, count: int) -> list[int]:
        return [d for d in self._days if d > day][:count]

    def energy(self, _: int) -> KeptDay | None:
        return None

    def has_newer(self, _: int) -> bool:
        return False

    def samples(self, day: int, metric: str) -> Samples:
        if metric not in self._samples:
            self._samples[metric] = samples_of(self._table, "timestamp", metric)
        found = self._samples[metric]
        start, end = found.times.searchsorted([day, day + DAY])
        return Samples(found.times[start:end], found.values[start:end])
