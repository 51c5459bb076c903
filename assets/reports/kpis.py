"""The key figures of a report."""

from collections.abc import Iterator
from datetime import datetime

import numpy as np

from assets.energy.curve import EnergyCurve
from assets.reports.content import DataQuality, Kpi
from assets.reports.measures import Measured, outside_band
from storage.times import HOUR, QUARTER, moment

RUNNING_SHARE = 0.1  # of the highest demand; the device runs while its power is above it


def kpis(measured: Measured, quality: DataQuality) -> list[Kpi]:
    """The key figures, all of them. One that cannot be measured has no value and says why in its note."""
    times, power = measured.track("power")
    no_power = None if len(power) else "power was not measured"
    peak = int(power.argmax()) if len(power) else None
    demand, demand_at, no_demand = _highest_demand(measured)
    mean = _mean_power(measured.power_curve)
    energy = _energy(measured)
    factor = mean / demand if mean is not None and demand is not None and demand > 0 else None
    threshold = RUNNING_SHARE * demand if demand is not None and demand > 0 else None
    running = measured.power_curve.time_above(threshold) / HOUR if threshold is not None else None
    return [
        Kpi(
            key="energy",
            label="Energy",
            value=energy,
            unit="kWh",
            note=None if energy is not None else no_power or "two power readings without a gap between them are needed",
        ),
        Kpi(key="mean_power", label="Mean power", value=mean, unit="W", note=no_power),
        Kpi(
            key="peak_power",
            label="Highest power",
            value=float(power[peak]) if peak is not None else None,
            unit="W",
            at=moment(times[peak].item()) if peak is not None else None,
            note=no_power,
        ),
        Kpi(
            key="peak_demand_15min",
            label="Highest 15-minute demand",
            value=demand,
            unit="W",
            at=demand_at,
            note=no_power or no_demand,
        ),
        Kpi(
            key="load_factor",
            label="Load factor",
            value=factor,
            unit="1",
            note=None if factor is not None else no_power or no_demand or "demand was never above zero",
        ),
        Kpi(
            key="running_hours",
            label="Running time",
            value=running,
            unit="h",
            note="above a tenth of the highest demand"
            if running is not None
            else no_power or no_demand or "demand was never above zero",
        ),
        *_voltage(measured),
        Kpi(
            key="completeness",
            label="Data completeness",
            value=quality.completeness,
            unit="1",
            note=None if quality.completeness is not None else "the interval between readings is unknown",
        ),
        Kpi(key="readings", label="Readings", value=quality.readings, unit="1"),
    ]


def _energy(measured: Measured) -> float | None:
    """The energy of the period in kWh. None if readings cover no time."""
    if measured.energy_curve is None:
        return None
    curve = measured.energy_curve[1]
    return float(curve.energy[-1]) / 1000 if curve.covered[-1] else None


def _mean_power(curve: EnergyCurve) -> float | None:
    """The mean power (W) over the covered time. If readings cover no time, the mean of the readings."""
    if not len(curve.times):
        return None
    if curve.covered[-1]:
        return float(curve.energy[-1] / (curve.covered[-1] / HOUR))
    return float(np.mean(curve.power)) if curve.power is not None else None


def _highest_demand(measured: Measured) -> tuple[float | None, datetime | None, str | None]:
    """The highest demand (W) and the start of its quarter hour, else None, None and the reason.

    The demand of a quarter hour is its energy divided by 15 minutes. A gap counts as zero, so that the figure is never
    too high.
    """
    curve = measured.power_curve
    if len(curve.times) < 2:
        return None, None, "two power readings without a gap between them are needed"
    if np.median(np.diff(curve.times)) > QUARTER:
        return None, None, "readings are more than 15 minutes apart"
    edges = np.arange(-(-curve.times[0] // QUARTER), curve.times[-1] // QUARTER + 1) * QUARTER
    if len(edges) < 2:
        return None, None, "the readings do not span a whole quarter hour"
    energy, covered = curve.between(edges)
    if not covered.any():
        return None, None, "gaps cover every quarter hour"
    highest = int(np.where(covered > 0, energy, -np.inf).argmax())
    return float(energy[highest] * 4), moment(edges[highest].item()), None


def _voltage(measured: Measured) -> Iterator[Kpi]:
    times, volts = measured.track("voltage")
    note = None if len(volts) else "voltage was not measured"
    for key, label, pick in (("min", "Lowest voltage", np.argmin), ("max", "Highest voltage", np.argmax)):
        i = int(pick(volts)) if len(volts) else None
        yield Kpi(
            key=f"voltage_{key}",
            label=label,
            value=float(volts[i]) if i is not None else None,
            unit="V",
            at=moment(times[i].item()) if i is not None else None,
            note=note,
        )
    yield Kpi(
        key="voltage_mean",
        label="Mean voltage",
        value=float(volts.mean()) if len(volts) else None,
        unit="V",
        note=note,
    )
    band = measured.data.bands.get("voltage")
    yield Kpi(
        key="voltage_outside_band",
        label="Voltage outside nominal band",
        value=outside_band(volts, band),
        unit="1",
        note=note or (None if band else "the device has no nominal voltage band"),
    )
