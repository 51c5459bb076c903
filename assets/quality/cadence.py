"""How often a device reports, and from which step on nothing is known between two readings.

The cadence is the declared one, else the median step of a UTC day and the day before. It never depends on the range
that a client asks for, so every answer cuts gaps at the same places.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from storage.arrays import Times
from storage.times import HOUR, MINUTE, SECOND

# Steps between readings and how often they occur: seconds to two significant digits.
Steps = Sequence[tuple[float, int]]

# Between two readings of a register this much may pass, of a gauge less: a register counts on while nobody reads it.
REGISTER_LIMIT = 3 * HOUR
GAUGE_LIMIT = 15 * MINUTE
MAX_CADENCES = 3


def steps_of(times: Times) -> list[tuple[float, int]]:
    """The steps between ascending times (µs) and how often each occurs."""
    seconds = np.diff(times) / SECOND
    seconds = seconds[seconds > 0]
    if not len(seconds):
        return []
    if seconds.min() == seconds.max():
        seconds, repeated = seconds[:1], len(seconds)
    else:
        repeated = 1
    scale = 10.0 ** (np.floor(np.log10(seconds)) - 1)
    values, counts = np.unique(np.round(np.round(seconds / scale) * scale, 6), return_counts=True)
    return list(zip(values.tolist(), (counts * repeated).tolist(), strict=True))


def median_step(days: Iterable[Steps]) -> float | None:
    """The median step in seconds over the steps of all days; None if there are none."""
    counted: Counter[float] = Counter()
    for steps in days:
        for seconds, count in steps:
            counted[seconds] += count
    middle = (counted.total() + 1) // 2
    for seconds in sorted(counted):
        middle -= counted[seconds]
        if middle <= 0:
            return seconds
    return None


def cadence_of(declared: float | None, *days: Steps) -> float | None:
    """The cadence in seconds: the declared one, else the median over a day and the day before."""
    return declared or median_step(days)


def register_limit(cadence: float | None) -> int:
    """The longest step (µs) between two readings of a register whose times of use are known."""
    return max(REGISTER_LIMIT, _cadences(cadence))


def gauge_limit(cadence: float | None) -> int:
    """The longest step (µs) between two readings of a gauge, such as power, that counts as measured."""
    return max(GAUGE_LIMIT, _cadences(cadence))


def _cadences(cadence: float | None) -> int:
    return round(MAX_CADENCES * (cadence or 0) * SECOND)
