"""The key figures of a report."""

from collections.abc import Iterator

import numpy as np

from assets.energy import EnergyFigures, standby
from assets.energy.meters import POWER
from assets.reports.content import Kpi
from assets.reports.measures import Measured, outside_band
from assets.reports.noticed import DataQuality
from storage.times import QUARTER, SECOND, moment

WAITS = "the readings wait for the export of their day"
RUNNING_SHARE = 0.1  # of the highest demand; the device runs while its power is above it


def kpis(measured: Measured, quality: DataQuality) -> list[Kpi]:
    """The key figures, all of them. One that cannot be measured has no value and says why in its note."""
    energy = measured.energy
    return [
        *_energy(measured),
        *_powers(measured),
        *_demand(energy, quality.cadence_seconds),
        *_standby(measured),
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


def _energy(measured: Measured) -> Iterator[Kpi]:
    energy = measured.energy
    missing = WAITS if measured.data.waiting_days and not len(measured.times) else "power was not measured"
    no_energy = missing if not energy.sources else "two power readings without a gap between them are needed"
    if energy.sources and energy.sources != (POWER,):
        no_energy = "two readings of the register are needed"
    yield Kpi(
        key="energy",
        label="Energy taken" if energy.export_kwh else "Energy",
        value=energy.kwh,
        unit="kWh",
        note=None if energy.kwh is not None else no_energy,
    )
    yield Kpi(
        key="energy_export",
        label="Energy fed in",
        value=energy.export_kwh,
        unit="kWh",
        note=None if energy.export_kwh is not None else "nothing measures what is fed in",
    )


def _powers(measured: Measured) -> Iterator[Kpi]:
    """Mean and highest power. Power fed in counts as negative in the mean, and has a highest value of its own."""
    energy, (times, power) = measured.energy, measured.track("power")
    missing = WAITS if measured.data.waiting_days and not len(measured.times) else "power was not measured"
    no_power = None if len(power) else missing
    mean = energy.mean_power
    yield Kpi(
        key="mean_power",
        label="Mean power",
        value=mean if mean is not None or no_power else float(power.mean()),
        unit="W",
        note="negative: fed in" if mean is not None and mean < 0 else None if mean is not None else no_power,
    )
    for key, label, sign, none in (
        ("peak_power", "Highest power", 1, "the device only fed in"),
        ("peak_feed_in", "Highest feed-in", -1, "nothing was fed in"),
    ):
        peak = int((sign * power).argmax()) if len(power) else None
        is_there = peak is not None and (sign * power[peak] > 0 or (sign > 0 and power[peak] == 0))
        yield Kpi(
            key=key,
            label=label,
            value=float(sign * power[peak]) if is_there and peak is not None else None,
            unit="W",
            at=moment(times[peak].item()) if is_there and peak is not None else None,
            note=None if is_there else no_power or none,
        )


def _demand(energy: EnergyFigures, cadence_seconds: float | None) -> Iterator[Kpi]:
    """The highest quarter hours, and what rests on the highest demand."""
    demand, fed = energy.peak_demand, energy.peak_feed_in
    is_coarse = (cadence_seconds or 0) * SECOND > QUARTER
    coarse = "readings are more than 15 minutes apart: the true one may be higher" if is_coarse else None
    no_demand = "energy was not measured" if not energy.covered else "no quarter hour was measured well enough"
    for key, label, peak, none in (
        ("peak_demand_15min", "Highest 15-minute demand", demand, no_demand),
        ("peak_feed_in_15min", "Highest 15-minute feed-in", fed, "nothing was fed in"),
    ):
        yield Kpi(
            key=key,
            label=label,
            value=peak.watts if peak else None,
            unit="W",
            at=moment(peak.at) if peak else None,
            note=coarse if peak else none,
        )
    factor, is_used = energy.load_factor, demand is not None and demand.watts > 0
    no_factor = no_demand if demand is None else "the device feeds in" if is_used else "demand was never above zero"
    yield Kpi(
        key="load_factor", label="Load factor", value=factor, unit="1", note=None if factor is not None else no_factor
    )
    running = energy.hours_above(RUNNING_SHARE * demand.watts) if demand is not None and is_used else None
    yield Kpi(
        key="running_hours",
        label="Running time",
        value=running,
        unit="h",
        note="quarter hours above a tenth of the highest demand" if running is not None else no_factor,
    )


def _standby(measured: Measured) -> Iterator[Kpi]:
    """What never stops, and what is used when nobody works."""
    working, zone = measured.data.working, measured.data.zone
    found = standby(measured.energy, working or (), zone)
    yield Kpi(
        key="base_load",
        label="Base load",
        value=found.base_load,
        unit="W",
        note="median over days of the 2.5th percentile of a day's quarter hours"
        if found.base_load is not None
        else "less than half of each day was measured",
    )
    unknown = "working hours are unknown" if working is None else "energy was not measured"
    outside, share = (None, None) if working is None else (found.outside_kwh, found.share)
    yield Kpi(
        key="outside_working_hours", label="Energy outside working hours", value=outside, unit="kWh",
        note=unknown if outside is None else None,
    )  # fmt: skip
    yield Kpi(
        key="outside_working_hours_share", label="Share outside working hours", value=share, unit="1",
        note=None if share is not None else unknown if outside is None else "no energy was used",
    )  # fmt: skip


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
