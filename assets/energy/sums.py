"""Sums over devices: a parent or its children count, never both.

A device with a `parent_device` is a submeter: what it uses is part of what its parent uses. The uppermost device that
measured something counts, and stands for all below it. Where a parent measured nothing, its children stand for it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from assets.energy.figures import EnergyFigures


@dataclass(frozen=True)
class Counted:
    """Which devices a sum counts.

    `counted_by`: devices that are left out, since this one above them counts. `stands_in_for`: devices that count in
    the place of this parent, which measured nothing. `circular`: devices that are, through others, their own parent;
    the first of each circle by name is taken for its head.
    """

    devices: tuple[str, ...]
    counted_by: Mapping[str, str]
    stands_in_for: Mapping[str, str]
    circular: tuple[str, ...]


@dataclass(frozen=True)
class FleetEnergy:
    """Energy (kWh) taken and fed in by the devices that count; None where none of them measured any."""

    counted: Counted
    kwh: float | None
    export_kwh: float | None


@dataclass(frozen=True)
class FleetPeak:
    """The clock quarter hour in which devices together took most, and when it began (µs).

    `share` is the part of the device that took most of it then. What is not measured of a device counts as nothing.
    """

    watts: float
    at: int
    device_id: str
    share: float


def fleet_energy(energies: Mapping[str, EnergyFigures], parents: Mapping[str, str]) -> FleetEnergy:
    """The sum over devices by their ids; `parents` are those of `counted_devices`."""
    measured = {name for name, energy in energies.items() if energy.kwh is not None or energy.export_kwh is not None}
    counted = counted_devices(energies, parents, measured)
    figures = [energies[name] for name in counted.devices]
    return FleetEnergy(counted, total([of.kwh for of in figures]), total([of.export_kwh for of in figures]))


def fleet_peak(energies: Mapping[str, EnergyFigures]) -> FleetPeak | None:
    """The highest quarter hour of the sum of these devices, by their ids; None if they took nothing."""
    demands = {name: energy.demands for name, energy in energies.items() if energy.sources}
    quarters = np.unique(np.concatenate([np.zeros(0, np.int64), *(at for at, _ in demands.values())]))
    if not len(quarters):
        return None
    watts = np.zeros(len(quarters))
    for at, of_device in demands.values():
        watts[quarters.searchsorted(at)] += of_device
    highest = int(watts.argmax())
    if watts[highest] <= 0:
        return None
    then = {name: float(of_device[at == quarters[highest]].sum()) for name, (at, of_device) in demands.items()}
    device_id = max(then, key=lambda name: then[name])
    peak = float(watts[highest])
    return FleetPeak(peak, int(quarters[highest]), device_id, then[device_id] / peak)


def total(kwh: Iterable[float | None]) -> float | None:
    """The sum of the energies (kWh) that are known, to a milliwatt-hour; None if none is."""
    known = [value for value in kwh if value is not None]
    return round(sum(known), 6) if known else None


def counted_devices(device_ids: Collection[str], parents: Mapping[str, str], measured: Collection[str]) -> Counted:
    """Which of the devices a sum over them counts.

    Args:
        device_ids: the devices that are summed. A parent that is not among them counts nothing.
        parents: the parent of each device that has one, also of devices that are not summed but lie between.
        measured: the devices that measured something.

    """
    circular = {device for device in parents if device in _above(device, parents)}
    heads = {device for device in circular if device == min({device, *_above(device, parents)} & circular)}
    tree = {device: parent for device, parent in parents.items() if device not in heads}
    summed = set(device_ids)
    devices, counted_by, stands_in_for = [], {}, {}
    for device in sorted(summed):
        above = [parent for parent in _above(device, tree) if parent in summed]
        counting = [parent for parent in above if parent in measured]
        if counting:
            counted_by[device] = counting[-1]
        elif device in measured:
            devices.append(device)
            if above:
                stands_in_for[device] = above[0]
    return Counted(tuple(devices), counted_by, stands_in_for, tuple(sorted(circular & summed)))


def _above(device: str, parents: Mapping[str, str]) -> list[str]:
    """The devices above one, its parent first; up to where a circle closes, with the device itself where it does."""
    found: list[str] = []
    while (parent := parents.get(device)) is not None and parent not in found:
        found.append(parent)
        device = parent
    return found
