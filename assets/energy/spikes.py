"""Single readings of power that tower above all others, and how much of the energy each stands for."""

from dataclasses import dataclass

import numpy as np

from assets.energy.power import energy_cells, segments_of
from storage.arrays import Floats, Times

# How far above the day's other readings a single one must be, and how much energy (mWh) it must stand for.
TOWERS = 10
USUAL_SHARE = 0.999
MAX_SPIKES = 5
MIN_READINGS = 10


@dataclass(frozen=True)
class Spike:
    """One reading of power: when (µs), its value (W), and the energy (mWh) that would be less without it."""

    at: int
    value: float
    effect: int


def spikes_of(times: Times, power: Floats, limit: int, *, steps: bool) -> tuple[Spike, ...]:
    """Up to five readings of a day that each stand alone, ten times above the 99.9th percentile of the others."""
    if len(power) < MIN_READINGS:
        return ()
    size = np.abs(power)
    # Nearly every day has none: all but the five greatest are looked at only if the greatest towers above most others.
    most = len(size) - MAX_SPIKES - 1
    if size.max() <= TOWERS * np.partition(size, int(USUAL_SHARE * most))[int(USUAL_SHARE * most)]:
        return ()
    order = np.argsort(size)
    found = []
    for count in range(1, MAX_SPIKES + 1):
        top = int(order[-count])
        usual = float(np.quantile(np.sort(size)[: len(size) - count], USUAL_SHARE))
        if size[top] <= TOWERS * usual or size[top] == 0:
            break
        around = slice(max(top - 1, 0), top + 2)
        near, at = power[around], times[around]
        alone = np.delete(np.arange(len(near)), top - around.start)
        whole = energy_cells(segments_of(at, near, limit, steps=steps))
        without = energy_cells(segments_of(at[alone], near[alone], 2 * limit, steps=steps))
        effect = int(whole.amounts.sum() + whole.out.sum() - without.amounts.sum() - without.out.sum())
        found.append(Spike(int(times[top]), float(power[top]), effect))
    # Neighbours that tower together are a machine at work, not a glitch.
    moments = {int(times.searchsorted(s.at)) for s in found}
    return tuple(s for s in found if not {int(times.searchsorted(s.at)) + d for d in (-1, 1)} & moments)
