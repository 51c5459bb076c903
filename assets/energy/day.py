"""A device's UTC day as energy knows it: of power and of each counter what lies between the day's own readings.

It rests on the day's readings alone and is kept in the catalogue as JSON. What passed over midnight, and what a
register's levels mean, is worked out when a range is read (`assets.energy.period`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
from storage.catalogue import ENERGY_VERSION
from storage.times import DAY, QUARTER

VERSION = ENERGY_VERSION
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


def day_json(
    samples: Mapping[str, Samples],
    bases: Mapping[str, Basis],
    before: Mapping[str, Steps],
    steps: Steps,
    corrected: str | None = None,
) -> dict[str, Any]:
    """What the catalogue keeps of a day: `steps` between its readings, and of each metric its energy.

    `before` are each metric's steps of the day before. `corrected` names the corrections that the samples hold.
    """
    metrics: dict[str, Any] = {}
    for name, of_metric in samples.items():
        basis = bases[name]
        if not len(of_metric.times):
            continue
        earlier = before.get(name, ())
        made: PowerDay | RegisterDay = (
            power_day(of_metric, basis, earlier) if basis.meter is None else register_day(of_metric, basis, earlier)
        )
        written = _power_json(made) if isinstance(made, PowerDay) else _register_json(made)
        metrics[name] = {"basis": basis.name, "steps": made.steps, "limit": made.limit, **written}
    return {"version": VERSION, "steps": steps, "metrics": metrics} | ({"corrected": corrected} if corrected else {})


def is_current(energy: Mapping[str, Any] | None, bases: Mapping[str, Basis], corrected: str | None = None) -> bool:
    """Whether a day's JSON is of this version and rests on what the metadata and the corrections say now."""
    if energy is None or energy.get("version") != VERSION or energy.get("corrected") != corrected:
        return False
    return all(name not in bases or bases[name].name == day["basis"] for name, day in energy["metrics"].items())


def steps_in(energy: Mapping[str, Any] | None, metric: str | None = None) -> Steps:
    """The steps between the day's readings, or those of a metric; none where the JSON is of another version."""
    if energy is None or energy.get("version") != VERSION:
        return ()
    of = energy if metric is None else energy["metrics"].get(metric, {})
    return [(seconds, count) for seconds, count in of.get("steps", ())]


def power_from(day: Mapping[str, Any]) -> PowerDay:
    """The power of a day from its JSON."""
    first, last = (None if day[end] is None else (int(day[end][0]), float(day[end][1])) for end in ("first", "last"))
    spikes, left_out = (
        tuple(Spike(int(t), float(v), int(e)) for t, v, e in day[name]) for name in ("spikes", "left_out")
    )
    return PowerDay(_steps(day), day["limit"], first, last, _cells_from(day["cells"]), spikes, left_out)


def register_from(day: Mapping[str, Any]) -> RegisterDay:
    """A counter's day from its JSON."""
    pace = Pace(*day["pace"])
    levels = None if day["levels"] is None else tuple(_level_from(level) for level in day["levels"])
    left_out = tuple(Spike(int(t), float(v), int(e)) for t, v, e in day.get("left_out", ()))
    return RegisterDay(_steps(day), day["limit"], pace, levels, left_out)


def _steps(day: Mapping[str, Any]) -> Steps:
    return [(seconds, count) for seconds, count in day["steps"]]


def _power_json(day: PowerDay) -> dict[str, Any]:
    return {
        "first": day.first,
        "last": day.last,
        "cells": _cells_json(day.cells),
        "spikes": [[s.at, s.value, s.effect] for s in day.spikes],
        "left_out": [[s.at, s.value, s.effect] for s in day.left_out],
    }


def _register_json(day: RegisterDay) -> dict[str, Any]:
    levels = None
    if day.levels is not None:
        levels = [
            {
                "first": level.first,
                "last": level.last,
                "readings": level.readings,
                "cells": _cells_json(level.cells),
                "lumps": level.lumps,
            }
            for level in day.levels
        ]
    left_out = [[s.at, s.value, s.effect] for s in day.left_out]
    return {"pace": [day.pace.usual, day.pace.resolution, day.pace.most], "levels": levels, "left_out": left_out}


def _level_from(level: Mapping[str, Any]) -> Level:
    (first_at, first), (last_at, last) = level["first"], level["last"]
    lumps = tuple((int(a), int(b), int(amount)) for a, b, amount in level["lumps"])
    cells = _cells_from(level["cells"])
    return Level((int(first_at), float(first)), (int(last_at), float(last)), int(level["readings"]), cells, lumps)


def _cells_json(cells: Cells) -> dict[str, Any] | None:
    """From the first cell's quarter hour on, one number a quarter hour; `partial` are those not wholly covered (µs)."""
    if not len(cells.starts):
        return None
    quarters = cells.starts // QUARTER
    at = quarters - quarters[0]
    amounts: list[int | None] = [None] * (int(at[-1]) + 1)
    for i, amount in zip(at.tolist(), cells.amounts.tolist(), strict=True):
        amounts[i] = amount
    partial = {str(i): c for i, c in zip(at.tolist(), cells.covered.tolist(), strict=True) if c != QUARTER}
    written: dict[str, Any] = {"quarter": int(quarters[0] % (DAY // QUARTER)), "day": int(quarters[0] * QUARTER // DAY)}
    written |= {"amounts": amounts, "partial": partial}
    fed = {str(i): o for i, o in zip(at.tolist(), cells.out.tolist(), strict=True) if o}
    return written | ({"out": fed} if fed else {})


def _cells_from(written: Mapping[str, Any] | None) -> Cells:
    if written is None:
        return Cells.empty()
    amounts, first = written["amounts"], written["day"] * DAY + written["quarter"] * QUARTER
    covered, out = np.full(len(amounts), QUARTER), np.zeros(len(amounts), np.int64)
    for i, value in written["partial"].items():
        covered[int(i)] = value
    for i, value in written.get("out", {}).items():
        out[int(i)] = value
    if None not in amounts:
        return Cells(first + np.arange(len(amounts)) * QUARTER, np.array(amounts, np.int64), out, covered)
    at = np.array([i for i, amount in enumerate(amounts) if amount is not None], np.int64)
    kept = np.array([amount for amount in amounts if amount is not None], np.int64)
    return Cells(first + at * QUARTER, kept, out[at], covered[at])
