"""What a fleet report singles out: devices to look at first, each kind by the energy that it stands for."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from assets.reports.comparison import direction_of
from assets.reports.fleet_content import FleetContent, FleetDay, FleetDevice

MAX_NAMED = 3
# Beyond so many days the energy of the fleet is shown by month.
MAX_DAYS = 62
# So much more or less than before, so much of it outside working hours, and so little of the period measured.
MUCH_CHANGE, MUCH_OUTSIDE, LITTLE_COVERAGE = 0.2, 0.3, 0.95


@dataclass(frozen=True)
class FleetHighlights:
    """At most `MAX_NAMED` devices of each kind, and the fleet's energy by month if the period is long.

    `direction` says whether the fleet used `more`, `less` or the `same` as before. `incomplete` were measured for a
    part of the period; `more_incomplete` are all others of these. Readings of `waiting` are not in the report yet.
    `silent` sent nothing at all, and `unknown` nothing of energy.
    """

    changed: list[FleetDevice]
    outside_hours: list[FleetDevice]
    incomplete: list[FleetDevice]
    more_incomplete: list[FleetDevice]
    waiting: list[FleetDevice]
    silent: list[FleetDevice]
    unknown: list[FleetDevice]
    months: list[tuple[date, float | None]] | None
    direction: str

    @classmethod
    def of(cls, content: FleetContent) -> "FleetHighlights":
        sent = {file.device_id for file in content.files}
        nothing = [device for device in content.devices if _is_unmeasured(device) and not device.waiting_days]
        incomplete = _first(content, _missing_share, len(content.devices))
        return cls(
            changed=_first(content, _changed_kwh),
            outside_hours=_first(content, _outside_kwh),
            incomplete=incomplete[:MAX_NAMED],
            more_incomplete=incomplete[MAX_NAMED:],
            waiting=[device for device in content.devices if device.waiting_days],
            silent=[device for device in nothing if device.id not in sent],
            unknown=[device for device in nothing if device.id in sent],
            direction=direction_of(content.totals.change or 0.0),
            months=by_month(content.days) if len(content.days) > MAX_DAYS else None,
        )


def by_month(
    days: list[FleetDay], field: Literal["energy_kwh", "doubtful_kwh"] = "energy_kwh"
) -> list[tuple[date, float | None]]:
    """The first of each month with the energy of its days; None for a month of which nothing is known."""
    months: dict[date, list[float]] = {}
    for day in days:
        known = months.setdefault(day.day.replace(day=1), [])
        if (kwh := getattr(day, field)) is not None:
            known.append(kwh)
    return [(month, sum(known) if known else None) for month, known in months.items()]


def _first(
    content: FleetContent, weight: Callable[[FleetDevice], float | None], most: int = MAX_NAMED
) -> list[FleetDevice]:
    """The devices that have a weight, the heaviest first."""
    weighed = [(weight_of, device) for device in content.devices if (weight_of := weight(device)) is not None]
    return [device for _, device in sorted(weighed, key=lambda pair: (-pair[0], pair[1].id))[:most]]


def _changed_kwh(device: FleetDevice) -> float | None:
    """By how much the energy of a device differs from before, if that is much and both periods are measured."""
    if device.change is None or abs(device.change) < MUCH_CHANGE or _is_incomplete(device):
        return None
    return abs((device.trusted_kwh or 0.0) - (device.energy_before_kwh or 0.0))


def _outside_kwh(device: FleetDevice) -> float | None:
    share = device.outside_hours_share
    return device.outside_hours_kwh if share is not None and share >= MUCH_OUTSIDE else None


def _missing_share(device: FleetDevice) -> float | None:
    return 1 - device.coverage if _is_incomplete(device) and not _is_unmeasured(device) else None


def _is_unmeasured(device: FleetDevice) -> bool:
    return device.coverage == 0 and device.energy_kwh is None and device.energy_export_kwh is None


def _is_incomplete(device: FleetDevice) -> bool:
    return device.coverage < LITTLE_COVERAGE
