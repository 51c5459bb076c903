"""Energy of devices: from power and from counters, by the quarter hour and over any range."""

from assets.energy.basis import basis_names
from assets.energy.figures import EnergyFigures, Peak
from assets.energy.findings import Finding
from assets.energy.meters import unit_problem

__all__ = ["EnergyFigures", "Finding", "Peak", "basis_names", "unit_problem"]
