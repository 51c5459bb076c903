"""The readings that figures hold though each may be wrong: single ones far above all others of their day."""

from assets.energy import EnergyFigures, Finding
from storage.times import QUARTER

# An advice or a figure that rests on a doubtful reading is not sure if the reading is so much of the energy.
MIN_SHARE = 0.05


def doubtful_readings(energy: EnergyFigures) -> list[Finding]:
    """Those that are counted and that nobody has corrected, the one of the most energy first."""
    found = [finding for finding in energy.findings if finding.kind == "single_reading" and finding.counted]
    return sorted(found, key=lambda finding: -abs(finding.effect or 0.0))


def is_of_doubtful(energy: EnergyFigures, quarter: int) -> bool:
    """Whether a doubtful reading lies in the quarter hour that begins then (µs), or on its end."""
    return any(quarter <= finding.at <= quarter + QUARTER for finding in doubtful_readings(energy))


def is_much(energy: EnergyFigures) -> bool:
    """Whether doubtful readings stand for enough of the energy to change what is said of it."""
    doubtful = sum(abs(finding.effect or 0.0) for finding in doubtful_readings(energy))
    return doubtful > 0 and doubtful >= MIN_SHARE * ((energy.kwh or 0.0) + (energy.export_kwh or 0.0))
