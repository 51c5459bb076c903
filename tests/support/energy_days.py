"""A device's readings in memory as days, for the energy of ranges without a database."""

from collections.abc import Mapping

import numpy as np

from assets.energy.basis import Basis
from assets.energy.kept import KeptDay, day_json, steps_in
from assets.energy.samples import Samples
from assets.quality.cadence import steps_of
from storage.times import DAY

NEVER = 2**62


class MemoryDays:
    """Readings by metric as (µs, value); `keep` puts days into the catalogue, as exports at a moment (µs) do."""

    def __init__(self, readings: Mapping[str, list[tuple[int, float]]]) -> None:
        self._samples: dict[str, Samples] = {}
        for name, of_metric in readings.items():
            ordered = sorted(of_metric)
            times = np.array([time for time, _ in ordered], np.int64)
            self._samples[name] = Samples(times, np.array([value for _, value in ordered], np.float64))
        times = np.concatenate([s.times for s in self._samples.values()]) if self._samples else np.zeros(0, np.int64)
        self._days: list[int] = np.unique(times // DAY * DAY).tolist()
        self._kept: dict[int, KeptDay] = {}
        self._until = NEVER

    def keep(self, bases: Mapping[str, Basis], until: int = NEVER) -> None:
        self._until = until
        for day in self._days:
            of_day = {name: self._until_then(day, name) for name in self._samples if name in bases}
            if not any(len(of_metric.times) for of_metric in of_day.values()):
                continue
            before = {name: steps_of(self._until_then(day - DAY, name).times) for name in of_day}
            written = day_json(of_day, bases, before, ())
            self._kept[day] = KeptDay(written)
            assert self._kept[day].is_current({name: basis.name for name, basis in bases.items()})
            for name, of_metric in of_day.items():
                assert steps_in(written, name) == steps_of(of_metric.times)

    def _until_then(self, day: int, metric: str) -> Samples:
        found = self.samples(day, metric)
        count = int(found.times.searchsorted(self._until))
        return Samples(found.times[:count], found.values[:count])

    def days(self, start: int, end: int) -> list[int]:
        return [day for day in self._days if start // DAY * DAY <= day < end]

    def days_before(self, day: int, count: int) -> list[int]:
        return [d for d in self._days if d < day][::-1][:count]

    def days_after(self, day: int, count: int) -> list[int]:
        return [d for d in self._days if d > day][:count]

    def energy(self, day: int) -> KeptDay | None:
        return self._kept.get(day)

    def has_newer(self, day: int) -> bool:
        return self._until < day + DAY

    def samples(self, day: int, metric: str) -> Samples:
        if metric not in self._samples:
            return Samples(np.zeros(0, np.int64), np.zeros(0))
        found = self._samples[metric]
        inside = (found.times >= day) & (found.times < day + DAY)
        return Samples(found.times[inside], found.values[inside])
