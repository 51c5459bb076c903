"""Sums over devices: a parent or its children count, never both.

A device with a `parent_device` is a submeter: what it uses is part of what its parent uses. The uppermost device that
measured something counts, and stands for all below it. Where a parent measured nothing, its children stand for it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


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
