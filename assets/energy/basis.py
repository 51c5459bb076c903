"""What the energy of a device rests on besides its readings: metadata and corrections, for power and each counter."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from assets.energy.corrections import NONE, Corrections, Piece
from assets.energy.meters import Meter, meters_of
from storage.devices import DeviceMetadata

POWER_METRIC = "power"


@dataclass(frozen=True)
class Basis:
    """What the metadata say that a day's figures of a metric depend on, besides its readings.

    Corrections add ranges (µs) in which findings are `accepted`, and those of a counter whose amount is `replaced`.
    """

    cadence: float | None
    on_change: bool
    most_kw: float | None
    meter: Meter | None
    accepted: tuple[tuple[int, int], ...] = ()
    replaced: tuple[Piece, ...] = ()

    @cached_property
    def name(self) -> str:
        """A short name of what the metadata say: figures that were made on another basis are made anew."""
        meter = self.meter
        facts: list[Any] = [self.cadence, self.on_change, self.most_kw]
        if meter:
            changes = [[change.at, change.last_old, change.first_new] for change in meter.rules.changes]
            facts += [meter.unit, meter.scale, meter.rules.net, changes]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def bases_of(
    metadata: DeviceMetadata, meters: Mapping[str, Meter], corrections: Corrections = NONE
) -> dict[str, Basis]:
    """For power and each counter, what its days rest on."""
    most = metadata.max_power_w / 1000 if metadata.max_power_w else None
    on_change = metadata.reporting.get(POWER_METRIC) == "on_change"
    power = Basis(metadata.cadence_seconds, on_change, most, meter=None, accepted=corrections.accepted(POWER_METRIC))
    counters = {
        name: Basis(
            metadata.cadence_seconds,
            on_change=False,
            most_kw=most if meter.is_energy else None,
            meter=meter,
            accepted=corrections.accepted(name),
            replaced=corrections.replaced(name),
        )
        for name, meter in meters.items()
    }
    return {POWER_METRIC: power, **counters}


def basis_names(metadata: DeviceMetadata) -> dict[str, str]:
    """What the days of power and of each counter rest on, by name; equal names mean equal figures."""
    return {name: basis.name for name, basis in bases_of(metadata, meters_of(metadata)).items()}
