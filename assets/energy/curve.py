"""Energy as a curve over time: from power readings, or from a register that counts it."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from storage.arrays import Floats, Mask, Times
from storage.devices import Counter
from storage.times import MINUTE, SECOND

Figure = TypeVar("Figure", np.float64, np.int64)
MIN_GAP = 5 * MINUTE
WH_PER_UNIT = {"Wh": 1.0, "kWh": 1e3, "kwh": 1e3, "MWh": 1e6, "GWh": 1e9}


def gap_rule(times: Times) -> int:
    """How many microseconds between two readings are no gap yet: five median cadences, and at least 5 min."""
    return max(5 * int(np.median(np.diff(times))), MIN_GAP) if len(times) > 1 else MIN_GAP


@dataclass(frozen=True)
class EnergyCurve:
    """Energy (Wh) and covered time (µs) since the first reading, at each reading's time.

    Between two readings without a gap power (W) runs straight from one to the other. A register has no `power`; what
    it counted between two readings is spread evenly.
    """

    times: Times
    energy: Floats
    covered: Times
    power: Floats | None

    def at(self, moments: Times) -> tuple[Floats, Times]:
        """Energy (Wh) and covered time (µs) until each moment."""
        if not len(self.times):
            return np.zeros(len(moments)), np.zeros(len(moments), np.int64)
        inside = np.clip(moments, self.times[0], self.times[-1])
        left = np.clip(np.searchsorted(self.times, inside, "right") - 1, 0, max(len(self.times) - 2, 0))
        right = np.minimum(left + 1, len(self.times) - 1)
        joined = self.covered[right] > self.covered[left]
        since = np.where(joined, inside - self.times[left], 0)
        length = np.maximum(self.times[right] - self.times[left], 1)
        part = since / length
        whole = self.energy[right] - self.energy[left]
        if self.power is None:
            grown = whole * part
        else:
            start, end = self.power[left], self.power[right]
            grown = (start + 0.5 * (end - start) * part) * since / SECOND / 3600
        # At the very end of a gap the curve stands where the next segment begins.
        after_gap = ~joined & (inside >= self.times[right])
        return (
            np.where(after_gap, self.energy[right], self.energy[left] + grown),
            np.where(after_gap, self.covered[right], self.covered[left] + since),
        )

    def between(self, edges: Times) -> tuple[Floats, Times]:
        """Energy (Wh) and covered time (µs) of each segment between neighbouring edges."""
        energy, covered = self.at(edges)
        return np.diff(energy), np.diff(covered)

    def only(self, steps: Mask) -> "EnergyCurve":
        """The same with nothing but the chosen steps from one reading to the next; the others become gaps."""
        energy = _running_sum(np.where(steps, np.diff(self.energy), 0.0))
        covered = _running_sum(np.where(steps, np.diff(self.covered), 0))
        return EnergyCurve(self.times, energy, covered, self.power)

    def time_above(self, threshold: float) -> int:
        """Covered time (µs) in which power runs above the threshold (W); of a register, its mean between readings."""
        steps, covered = np.diff(self.times), np.diff(self.covered)
        hours = np.maximum(steps, 1) / SECOND / 3600
        mean = np.diff(self.energy) / hours
        return int(covered[mean > threshold].sum())


def from_power(times: Times, power: Floats, gap: int | None = None) -> EnergyCurve:
    """Time-weighted integral of power (trapezoids); a gap, longer than `gap` or else by the rule, is not bridged."""
    steps = np.diff(times)
    joined = steps <= (gap_rule(times) if gap is None else gap)
    parts = np.where(joined, (power[:-1] + power[1:]) / 2 * (steps / SECOND / 3600), 0.0)
    return EnergyCurve(times, _running_sum(parts), _running_sum(np.where(joined, steps, 0)), power)


def from_counter(times: Times, values: Floats, counter: Counter) -> EnergyCurve | None:
    """Sum of a register's rises. A fall is a rollover at its declared size, else a restart from zero.

    Neither loses less than half of what the register showed or can show; a smaller fall is the meter correcting
    itself, and counts as it is. A register counts on while nobody reads it, so gaps are covered. None where its unit
    is none of energy.
    """
    factor = WH_PER_UNIT.get(counter.unit)
    if factor is None:
        return None
    rises = np.diff(values)
    whole = counter.rollover or np.abs(values[:-1])
    after_fall = rises + counter.rollover if counter.rollover else values[1:]
    parts = np.where(-rises > whole / 2, after_fall, rises) * factor
    return EnergyCurve(times, _running_sum(parts), times - times[:1], None)


def rule(source: str | None) -> str:
    """In words, how the energy of a source (a curve's, as a report names it) was worked out."""
    if source is None:
        return "No energy: the device sent neither power nor an energy register that could be read twice."
    if source.startswith("counter:"):
        return (
            f"Energy is the sum of the rises of the register {source.removeprefix('counter:')}, gaps included; a fall"
            " by more than half counts as a rollover at the register's declared size, else as a restart from zero, a"
            " smaller one as a correction."
        )
    return (
        "Energy is the time-weighted integral of power (trapezoids between neighbouring readings). Where readings are"
        " further apart than five times their median interval, and at least 5 minutes, nothing is assumed: that time"
        " counts neither as use nor as rest."
    )


def _running_sum(parts: npt.NDArray[Figure]) -> npt.NDArray[Figure]:
    """Of n - 1 parts between n readings, at each reading."""
    return np.concatenate([np.zeros(1, parts.dtype), np.cumsum(parts)])
