"""A device's UTC day as energy knows it: of power and of each counter what lies between the day's own readings.

It rests on the day's readings alone and is kept in the catalogue (`assets.energy.kept`). What passed over midnight, and
what a register's levels mean, is worked out when a range is read (`assets.energy.period`).
"""

from dataclasses import dataclass

import numpy as np

from assets.energy.basis import Basis
from assets.energy.cells import Cells
from assets.energy.corrections import lie_within
from assets.energy.power import energy_cells, segments_of
from assets.energy.registers import Level, Pace, levels_of, pace_of
from assets.energy.samples import Samples
from assets.energy.spikes import Spike, spikes_of
from assets.quality.cadence import Steps, cadence_of, gauge_limit, register_limit, steps_of
from storage.arrays import Times

# Beyond these no machine is: whole numbers of millionths would overflow. Such readings are left out.
MAX_WATTS, MAX_AMOUNT = 1e12, 1e12
# So many of the readings of power that are left out are named.
MAX_LEFT_OUT = 5


@dataclass(frozen=True)
class PowerDay:
    """Power of a day: the steps between its readings, the first and last one, and the energy between these.

    `limit` is the longest step (µs) that was joined. `spikes` are single readings that tower above the others;
    `left_out` counts those beyond what the device can use, with the greatest of them.
    """

    steps: Steps
    limit: int
    first: tuple[int, float] | None
    last: tuple[int, float] | None
    cells: Cells
    spikes: tuple[Spike, ...] = ()
    left_out: tuple[Spike, ...] = ()


@dataclass(frozen=True)
class RegisterDay:
    """A counter's day: the steps between readings, its pace and its levels; None where it falls as no counter does.

    `left_out` are the first of the readings that are beyond any register.
    """

    steps: Steps
    limit: int
    pace: Pace
    levels: tuple[Level, ...] | None
    left_out: tuple[Spike, ...] = ()


def power_samples(samples: Samples, basis: Basis) -> Samples:
    """The readings of power that a device can have: those within what is declared, and what can be counted."""
    most = MAX_WATTS if basis.most_kw is None else min(basis.most_kw * 1000, MAX_WATTS)
    usable = np.abs(samples.values) <= most
    usable |= lie_within(samples.times, basis.accepted) & (np.abs(samples.values) <= MAX_WATTS)
    return samples if usable.all() else Samples(samples.times[usable], samples.values[usable])


def register_samples(samples: Samples, basis: Basis) -> Samples:
    """The readings of a counter in the meter's unit of account, without those beyond what can be counted."""
    assert basis.meter is not None  # noqa: S101 - a counter's basis has its meter
    values = samples.values * basis.meter.scale
    usable = np.abs(values) <= MAX_AMOUNT
    return Samples(samples.times, values) if usable.all() else Samples(samples.times[usable], values[usable])


def power_day(samples: Samples, basis: Basis, before: Steps) -> PowerDay:
    """Power of a day's readings (W). `before` are the steps of the day before."""
    steps = steps_of(samples.times)
    limit = gauge_limit(cadence_of(basis.cadence, before, steps))
    usable = power_samples(samples, basis)
    times, power = usable.times, usable.values
    left_out = _left_out(samples, times) if len(times) < len(samples.times) else ()
    if not len(times):
        return PowerDay(steps, limit, None, None, Cells.empty(), (), left_out)
    segments = segments_of(times, power, limit, steps=basis.on_change)
    first, last = (int(times[0]), float(power[0])), (int(times[-1]), float(power[-1]))
    spikes = spikes_of(times, power, limit, steps=basis.on_change)
    return PowerDay(steps, limit, first, last, energy_cells(segments), spikes, left_out)


def register_day(samples: Samples, basis: Basis, before: Steps) -> RegisterDay:
    """A counter's day from its readings, in the meter's unit of account."""
    meter = basis.meter
    assert meter is not None  # noqa: S101 - a counter's basis has its meter
    usable = register_samples(samples, basis)
    times, values = usable.times, usable.values
    scaled = Samples(samples.times, samples.values * meter.scale)
    left_out = _left_out(scaled, times) if len(times) < len(samples.times) else ()
    steps = steps_of(samples.times)
    limit = register_limit(cadence_of(basis.cadence, before, steps))
    net = meter.rules.net
    pace = pace_of(times, values, meter.scale, basis.most_kw, net=net)
    changes = tuple(change.at for change in meter.rules.changes)
    levels = levels_of(times, values, pace, limit, net=net, changes=changes) if len(times) else []
    return RegisterDay(steps, limit, pace, None if levels is None else tuple(levels), left_out)


def _left_out(samples: Samples, kept: Times) -> tuple[Spike, ...]:
    """The first of the readings whose times are not among those that are kept."""
    beyond = np.flatnonzero(~np.isin(samples.times, kept))[:MAX_LEFT_OUT]
    return tuple(Spike(int(samples.times[i]), float(samples.values[i]), 0) for i in beyond)


def empty_day(basis: Basis) -> PowerDay | RegisterDay:
    """A day without readings of the metric."""
    nothing = Samples(np.zeros(0, np.int64), np.zeros(0))
    return power_day(nothing, basis, ()) if basis.meter is None else register_day(nothing, basis, ())


def limit_of(basis: Basis, before: Steps, steps: Steps) -> int:
    """The limit (µs) of a day whose steps and those of the day before are known."""
    cadence = cadence_of(basis.cadence, before, steps)
    return gauge_limit(cadence) if basis.meter is None else register_limit(cadence)
