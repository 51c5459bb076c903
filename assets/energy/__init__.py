"""Energy of devices: from power and from counters, by the quarter hour and over any range."""

from assets.energy.basis import basis_names
from assets.energy.figures import EnergyFigures, Peak
from assets.energy.findings import Finding, SuggestedCorrection
from assets.energy.meters import counter_units, unit_problem

__all__ = ["EnergyFigures", "Finding", "Peak", "SuggestedCorrection", "basis_names", "counter_units", "unit_problem"]
