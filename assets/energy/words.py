"""How the energy of a device was worked out, in words."""

from assets.energy.figures import EnergyFigures
from assets.energy.meters import POWER

_POWER = (
    "Energy is the integral of power over time. Neighbouring readings are joined by lines (or hold until the next one,"
    " where the device reports on change). Nothing is assumed for gaps longer than 15 minutes and three reading"
    " intervals: that time counts neither as use nor as idle."
)
_REGISTERS = (
    "Energy is what {names} counted between the period's edges, each edge interpolated from the readings on both sides."
    " Dips and spikes that return are left out. Counting continues over rollovers and restarts. An undeclared change"
    " of the meter and a jump beyond what the device can use are not counted; they are listed under data quality."
)


def rule(energy: EnergyFigures, *, is_waiting: bool = False) -> str:
    """The method behind the energy taken. `is_waiting`: readings are there, and their days' files are not yet made."""
    if not energy.sources and not energy.export_sources and is_waiting:
        return "Energy is not known yet: the readings wait for the export of their day. A later report has them."
    if not energy.sources and energy.export_sources:
        return (
            "Energy taken is unknown: the device has registers of what it feeds in, and nothing measures what it takes."
        )
    if not energy.sources:
        return "Energy is unknown: the device sent neither power nor an energy register."
    if energy.sources == (POWER,):
        return _POWER
    names = [source.removeprefix("counter:") for source in energy.sources]
    kind = "the register " if len(names) == 1 else "the registers "
    return _REGISTERS.format(names=kind + " and ".join(names))
