"""How much of a time readings cover: one rule for the checks of days, for reports and for the API.

A step between two readings covers its time if it is within the limit, otherwise one cadence of it. The limit is three
declared cadences; where none is declared, three median steps and at least 15 minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assets.quality.cadence import MAX_CADENCES, Steps, cadence_of, gauge_limit, median_step, steps_of
from storage.arrays import Times
from storage.times import DAY, SECOND


class Cadences:
    """The cadence of each UTC day: the declared one (s), else the median step of that day and the day before.

    `steps` are those between readings by day (µs of its start), where they are known beforehand; of other days they
    are those of the readings in question.
    """

    def __init__(self, declared: float | None, times: Times, steps: Mapping[int, Steps] | None = None) -> None:
        self.declared = declared
        days = times // DAY * DAY
        starts = np.unique(days)
        cuts = np.searchsorted(days, starts)
        parts = np.split(times, cuts[1:]) if len(starts) else []
        own: dict[int, Steps] = {day: steps_of(part) for day, part in zip(starts.tolist(), parts, strict=True)}
        self._steps = {**own, **(steps or {})}

    @property
    def usual(self) -> float | None:
        """The declared cadence, else the median step over all days, in seconds."""
        return self.declared or median_step(self._steps.values())

    def cadence(self, day: int) -> float | None:
        """The cadence of a day (µs of its start) in seconds."""
        return cadence_of(self.declared, self._steps.get(day, ()), self._steps.get(day - DAY, ())) or self.usual

    def limit(self, cadence: float | None) -> int:
        """The longest step (µs) that is no gap at that cadence."""
        if self.declared is not None:
            return round(MAX_CADENCES * self.declared * SECOND)
        return gauge_limit(cadence)


@dataclass(frozen=True)
class Coverage:
    """How readings cover a range: the share from 0 to 1 and the missing time (µs); None where no cadence is known.

    `gaps` are times without a reading beyond the limit, as start and end (µs), the longest first.
    """

    share: float | None
    missing: float | None
    gaps: list[tuple[int, int]]


def coverage(times: Times, start: int, end: int, cadences: Cadences) -> Coverage:
    """How readings at ascending `times` cover the half-open range; all in µs."""
    edges = np.concatenate([[start], times, [max([end, *times[-1:].tolist()])]]).astype(np.int64)
    lengths = np.diff(edges)
    days, which = np.unique(np.minimum(edges[1:], max(end - 1, start)) // DAY, return_inverse=True)
    of_days = [cadences.cadence(day) for day in (days * DAY).tolist()]
    limits = np.array([cadences.limit(cadence) for cadence in of_days])[which]
    wide = np.flatnonzero(lengths > limits)
    longest = wide[np.argsort(-lengths[wide], kind="stable")]
    gaps = [(int(edges[i]), int(edges[i + 1])) for i in longest]
    if end <= start or all(cadence is None for cadence in of_days):
        return Coverage(None, None, gaps)
    one = np.array([(cadence or 0.0) * SECOND for cadence in of_days])[which]
    one[0] = 0.0  # before the first reading none covers anything
    missing = float((lengths[wide] - np.minimum(one[wide], lengths[wide])).sum())
    return Coverage(min(max(1 - missing / (end - start), 0.0), 1.0), missing, gaps)
