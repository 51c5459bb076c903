"""Ids of devices as people type them."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import func, select, union
from sqlmodel import Session, col

from storage.devices import Device
from storage.last_seen import DeviceLastSeen


def known_ids(session: Session, typed: Sequence[str]) -> list[str]:
    """The ids with the capitals that devices have; an id stays as it is if it may mean no device, or several."""
    columns = (col(Device.device_id), col(DeviceLastSeen.device_id))
    small = [device_id.lower() for device_id in typed]
    alike = defaultdict(set)
    for known in session.execute(union(*(select(c).where(func.lower(c).in_(small)) for c in columns))).scalars():
        alike[known.lower()].add(known)
    found = (alike[device_id.lower()] for device_id in typed)
    return [next(iter(ids)) if len(ids) == 1 else device_id for device_id, ids in zip(typed, found, strict=True)]
