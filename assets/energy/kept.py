"""A day's energy as the catalogue keeps it: written as JSON, and read again."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from assets.energy.basis import Basis
from assets.energy.cells import Cells
from assets.energy.day import PowerDay, RegisterDay, power_day, register_day
from assets.energy.registers import Level, Pace
from assets.energy.samples import Samples
from assets.energy.spikes import Spike
from assets.quality.cadence import Steps
from storage.catalogue import ENERGY_VERSION
from storage.times import DAY, QUARTER

_QUARTERS = np.arange(0, DAY + QUARTER, QUARTER)


class KeptDay:
    """What the catalogue keeps of a day. Each metric's part is worked out of its JSON once, when it is asked for."""

    def __init__(self, written: Mapping[str, Any]) -> None:
        self._is_of_version = written.get("version") == ENERGY_VERSION
        self._corrected = written.get("corrected")
        self._written: dict[str, Any] = dict(written["metrics"]) if self._is_of_version else {}
        self._bases = {name: of_metric["basis"] for name, of_metric in self._written.items()}
        self._days: dict[str, PowerDay | RegisterDay] = {}

    def is_current(self, bases: Mapping[str, str], corrected: str | None = None) -> bool:
        """Whether it is of this version and rests on what the metadata and the corrections say now.

        `bases` are the names of what power and the counters rest on.
        """
        if not self._is_of_version or self._corrected != corrected:
            return False
        return all(bases.get(name, basis) == basis for name, basis in self._bases.items())

    def day(self, metric: str) -> PowerDay | RegisterDay | None:
        """Power or a counter of the day; None without readings of it."""
        written = self._written.get(metric)
        if written is None:
            return self._days.get(metric)
        found = self._days[metric] = _register_from(written) if "levels" in written else _power_from(written)
        self._written[metric] = None
        return found


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
    return {"version": ENERGY_VERSION, "steps": steps, "metrics": metrics} | (
        {"corrected": corrected} if corrected else {}
    )


def steps_in(energy: Mapping[str, Any] | None, metric: str | None = None) -> Steps:
    """The steps between the day's readings, or those of a metric; none where the JSON is of another version."""
    if energy is None or energy.get("version") != ENERGY_VERSION:
        return ()
    of = energy if metric is None else energy["metrics"].get(metric, {})
    return [(seconds, count) for seconds, count in of.get("steps", ())]


def _power_from(day: Mapping[str, Any]) -> PowerDay:
    first, last = (None if day[end] is None else (int(day[end][0]), float(day[end][1])) for end in ("first", "last"))
    spikes, left_out = _spikes_from(day["spikes"]), _spikes_from(day["left_out"])
    return PowerDay(_steps(day), day["limit"], first, last, _cells_from(day["cells"]), spikes, left_out)


def _register_from(day: Mapping[str, Any]) -> RegisterDay:
    pace = Pace(*day["pace"])
    levels = None if day["levels"] is None else tuple(_level_from(level) for level in day["levels"])
    return RegisterDay(_steps(day), day["limit"], pace, levels, _spikes_from(day.get("left_out", ())))


def _spikes_json(spikes: Iterable[Spike]) -> list[list[float]]:
    return [[spike.at, spike.value, spike.effect] for spike in spikes]


def _spikes_from(written: Iterable[Sequence[float]]) -> tuple[Spike, ...]:
    return tuple(Spike(int(at), float(value), int(effect)) for at, value, effect in written)


def _steps(day: Mapping[str, Any]) -> Steps:
    return [(seconds, count) for seconds, count in day["steps"]]


def _power_json(day: PowerDay) -> dict[str, Any]:
    return {
        "first": day.first,
        "last": day.last,
        "cells": _cells_json(day.cells),
        "spikes": _spikes_json(day.spikes),
        "left_out": _spikes_json(day.left_out),
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
    pace = [day.pace.usual, day.pace.resolution, day.pace.most]
    return {"pace": pace, "levels": levels, "left_out": _spikes_json(day.left_out)}


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
        return Cells(first + _QUARTERS[: len(amounts)], np.array(amounts, np.int64), out, covered)
    at = np.array([i for i, amount in enumerate(amounts) if amount is not None], np.int64)
    kept = np.array([amount for amount in amounts if amount is not None], np.int64)
    return Cells(first + at * QUARTER, kept, out[at], covered[at])
