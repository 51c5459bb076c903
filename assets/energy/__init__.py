"""Energy of devices: from power and from counters, by the quarter hour and over any range."""

from assets.energy.basis import basis_names
from assets.energy.figures import EnergyFigures, Peak
from assets.energy.findings import Finding, SuggestedCorrection
from assets.energy.meters import counter_units, several_totals, unit_problem
from assets.energy.settings import SiteSettings
from assets.energy.states import STATES, State, StateFigures
from assets.energy.sums import Counted, FleetEnergy, FleetPeak, counted_devices, fleet_energy, fleet_peak, total
from assets.energy.working import Standby, standby, working_periods

__all__ = [
    "STATES",
    "Counted",
    "EnergyFigures",
    "Finding",
    "FleetEnergy",
    "FleetPeak",
    "Peak",
    "SiteSettings",
    "Standby",
    "State",
    "StateFigures",
    "SuggestedCorrection",
    "basis_names",
    "counted_devices",
    "counter_units",
    "fleet_energy",
    "fleet_peak",
    "several_totals",
    "standby",
    "total",
    "unit_problem",
    "working_periods",
]
