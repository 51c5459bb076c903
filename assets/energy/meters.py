"""The counters of a device: units, roles, and which of them make up its energy.

Roles are declared in the metadata. Without one a counter with `export`, `feed` or `return` in its name is export, every
other one import; of several, one with `total` in its name is their sum, and the others are parts of it. Of several with
`total`, the only one with `import` is; else it is not known which one is, and all of them are added.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from assets.energy.meter_rules import MeterChange, Rules
from storage.devices import Counter, DeviceMetadata
from storage.times import microseconds

WH_PER_UNIT = {"wh": 1.0, "kwh": 1e3, "mwh": 1e6, "gwh": 1e9}
PULSES = ("pulse", "pulses", "imp", "impulse", "impulses")
EXPORT_NAMES = ("export", "feed", "return")
TOTAL_NAME, IMPORT_NAME = "total", "import"
POWER = "integral:power"
# Units that counters are given by mistake: they measure a moment, and a counter adds up.
OF_A_MOMENT = frozenset(
    [
        *("w", "kw", "mw", "gw", "va", "kva", "mva", "var", "kvar", "mvar", "a", "ma", "ka", "v", "mv", "kv", "ohm"),
        *("°c", "°f", "k", "degc", "degf", "celsius", "fahrenheit", "kelvin", "%", "%rh", "ppm", "ppb"),
        *("hz", "khz", "mhz", "rpm", "pa", "hpa", "kpa", "mpa", "bar", "mbar", "psi", "lx", "lux", "db", "dba"),
    ]
)
# A rate, such as m³/h or l per minute, is of a moment as well.
RATE = re.compile(r".+(/ ?| per )(s|sec|second|min|minute|h|hr|hour|d|day)|.+(s|min|h)(-1|⁻¹)")

Role = Literal["import", "export", "total", "part"]


@dataclass(frozen=True)
class Meter:
    """A counter as energy is worked out from it. `scale` turns a reading into the unit of account.

    That unit is kWh where the counter counts energy, else the counter's own.
    """

    name: str
    unit: str
    scale: float
    is_energy: bool
    own_unit: str
    rules: Rules

    @property
    def per_unit(self) -> float:
        """How many of the counter's own units, as declared, one of account is."""
        kwh = WH_PER_UNIT.get(self.own_unit.lower(), 1e3) / 1e3 if self.is_energy else 1.0
        return 1 / kwh


def meters_of(metadata: DeviceMetadata) -> dict[str, Meter]:
    """The device's counters by name."""
    return {name: _meter(name, counter, metadata) for name, counter in sorted(metadata.counters.items())}


def unit_problem(metadata: DeviceMetadata, name: str) -> str | None:
    """What is wrong with the unit of a counter; None if nothing is."""
    counter = metadata.counters[name]
    unit = counter.unit.lower()
    if unit in OF_A_MOMENT or RATE.fullmatch(unit):
        return f"{counter.unit} is not a unit of an amount; give {name} a unit such as kWh, or do not declare it"
    if unit in PULSES and counter.factor is None:
        return (
            f"{name} counts pulses; give the kWh of one pulse as its factor, such as 0.001, or another unit such as m³"
        )
    return None


def counter_units(metadata: DeviceMetadata) -> dict[str, str]:
    """The unit of account of each of the device's counters: kWh where it counts energy."""
    return {name: meter.rules.unit for name, meter in meters_of(metadata).items()}


def _meter(name: str, counter: Counter, metadata: DeviceMetadata) -> Meter:
    wh, factor = WH_PER_UNIT.get(counter.unit.lower()), counter.factor or 1.0
    # A pulse's factor is the kWh that it stands for.
    is_pulses = counter.unit.lower() in PULSES and counter.factor is not None
    is_energy = wh is not None or is_pulses
    scale = factor * (wh / 1e3 if wh is not None else 1.0)
    changes = tuple(
        MeterChange(
            microseconds(change.at),
            None if change.last_old is None else change.last_old * scale,
            None if change.first_new is None else change.first_new * scale,
        )
        for change in sorted(metadata.meter_changes, key=lambda change: change.at)
        if change.counter == name
    )
    unit = "kWh" if is_energy else counter.unit
    rollover = None if counter.rollover is None else counter.rollover * scale
    rules = Rules(name, unit, rollover, counter.net, changes)
    return Meter(name, unit, scale, is_energy, "kWh" if is_pulses else counter.unit, rules)


def energy_meters(
    meters: Mapping[str, Meter], metadata: DeviceMetadata, present: Iterable[str]
) -> dict[str, list[str]]:
    """The counters whose sum is the energy taken (`import`) and fed in (`export`), of those that are present."""
    roles = roles_of({name: metadata.counters[name].role for name in present if meters[name].is_energy})
    found = {}
    for direction in ("import", "export"):
        of_direction = [name for name, (way, _) in roles.items() if way == direction]
        totals = [name for name in of_direction if roles[name][1] == "total"]
        wholes = [name for name in of_direction if roles[name][1] == "whole"]
        found[direction] = totals or wholes or of_direction
    return found


def roles_of(declared: Mapping[str, Role | None]) -> dict[str, tuple[str, str]]:
    """For each counter its direction (import or export), and whether it is a total, a whole or a part of another."""
    found = {}
    for name, role in declared.items():
        direction = "export" if role == "export" or (role != "import" and _is_export(name)) else "import"
        kind = {"total": "total", "part": "part"}.get(role or "", "whole")
        found[name] = (direction, kind)
    for direction in ("import", "export"):
        if (direction, "total") in found.values():
            continue
        unnamed = [n for n, (way, kind) in found.items() if way == direction and kind == "whole"]
        totals = [n for n in unnamed if declared[n] is None and TOTAL_NAME in n]
        if len(totals) > 1:
            totals = [n for n in totals if IMPORT_NAME in n]
        if len(totals) == 1 and len(unnamed) > 1:
            found[totals[0]] = (direction, "total")
    return found


def several_totals(metadata: DeviceMetadata, names: Iterable[str], *, declared: bool) -> list[list[str]]:
    """Counters of energy of one direction of which each is a total: those that are declared so, or named so."""
    meters, of_energy = meters_of(metadata), {}
    for name in names:
        if name in meters and meters[name].is_energy:
            of_energy[name] = metadata.counters[name].role
    roles = roles_of(of_energy)
    if declared:
        totals = [name for name, role in of_energy.items() if role == "total"]
    else:
        decided = {roles[name][0] for name, role in of_energy.items() if role == "total"}
        totals = [n for n, role in of_energy.items() if role is None and TOTAL_NAME in n and roles[n][0] not in decided]
    found = [[name for name in totals if roles[name][0] == direction] for direction in ("import", "export")]
    return [names for names in found if len(names) > 1]


def _is_export(name: str) -> bool:
    return any(part in name for part in EXPORT_NAMES)
