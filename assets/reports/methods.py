"""The method behind a report's energy, in words."""

from assets.energy import EnergyFigures
from assets.energy.meters import POWER
from assets.reports.formatting import Language


def energy_rule(energy: EnergyFigures, language: Language, *, is_waiting: bool) -> str:
    """The method behind the energy taken. `is_waiting`: no reading is in a file yet."""
    say = language.say
    if not energy.sources:
        if energy.export_sources:
            return say("method.only_export")
        return say("method.waiting" if is_waiting else "method.unknown")
    if energy.sources == (POWER,):
        return say("method.power")
    names = language.enumerated([source.removeprefix("counter:") for source in energy.sources])
    key = "method.register" if len(energy.sources) == 1 else "method.registers"
    return say(key, names=names, rest=say("method.registers_rest"))
