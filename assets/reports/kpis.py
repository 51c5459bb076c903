"""The key figures of a report."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from assets.energy import EnergyFigures, State, StateFigures, standby
from assets.energy.meters import POWER
from assets.reports.content import Kpi, WithoutDoubtful
from assets.reports.doubtful import doubtful_readings, is_of_doubtful
from assets.reports.formatting import Language
from assets.reports.measures import Measured, outside_band
from assets.reports.noticed import DataQuality
from storage.times import HOUR, QUARTER, SECOND, moment

VISIBLE = 0.002  # of the value
KNOWN_STATES: tuple[State, ...] = ("off", "idle", "running", "unknown")
RUNNING_SHARE = 0.1  # of the highest demand; the device runs while its power is above it


def kpis(measured: Measured, quality: DataQuality, language: Language) -> list[Kpi]:
    """The key figures, all of them. One that cannot be measured has no value and says why in its note."""
    found = list(_measured(measured, quality))
    trusted = found if measured.trusted is measured else list(_measured(measured.trusted, quality))
    return [
        Kpi(
            key=kpi.key,
            label=language.say(f"kpi.{kpi.label or kpi.key}"),
            value=kpi.value,
            unit=kpi.unit,
            at=kpi.at,
            note=_note(kpi, other, language),
            without_doubtful=WithoutDoubtful(value=other.value, at=other.at) if _differs(kpi, other) else None,
        )
        for kpi, other in zip(found, trusted, strict=True)
    ]


def _measured(measured: Measured, quality: DataQuality) -> Iterator["_Kpi"]:
    yield from _energy(measured)
    yield from _powers(measured)
    yield from _demand(measured.energy, quality.cadence_seconds, measured.data.states)
    yield from _standby(measured)
    yield from _voltage(measured)
    is_known = quality.completeness is not None
    yield _Kpi("completeness", quality.completeness, "1", note=None if is_known else "no_cadence")
    yield _Kpi("readings", quality.readings, "1")


def _differs(kpi: "_Kpi", other: "_Kpi") -> bool:
    """Whether doubtful readings change a key figure so much that people would see it."""
    if kpi.value is None or other.value is None:
        return kpi.value is not other.value
    return abs(kpi.value - other.value) > VISIBLE * abs(kpi.value)


def _note(kpi: "_Kpi", other: "_Kpi", language: Language) -> str | None:
    note = "doubtful" if kpi.note != "doubtful" and _differs(kpi, other) else kpi.note
    return None if note is None else language.say(f"note.{note}")


@dataclass(frozen=True)
class _Kpi:
    """A key figure with the keys of its texts; `label` where that is not its own key."""

    key: str
    value: float | None
    unit: str
    at: datetime | None = None
    note: str | None = None
    label: str | None = None


def _no_power(measured: Measured) -> str:
    return "waits" if measured.is_waiting else "no_power"


def _energy(measured: Measured) -> Iterator[_Kpi]:
    energy = measured.energy
    missing = "two_readings"
    if not energy.sources:
        missing = "no_source" if len(measured.times) and not energy.export_sources else _no_power(measured)
    if energy.sources and energy.sources != (POWER,):
        missing = "two_register_readings"
    note = None if energy.kwh is not None else missing
    yield _Kpi("energy", energy.kwh, "kWh", note=note, label="energy_taken" if energy.export_kwh else None)
    fed = energy.export_kwh
    yield _Kpi("energy_export", fed, "kWh", note=None if fed is not None else "no_feed_in_meter")


def _powers(measured: Measured) -> Iterator[_Kpi]:
    """Mean and highest power. Power fed in counts as negative in the mean, and has a highest value of its own."""
    energy, (times, power) = measured.energy, measured.track("power")
    no_power = None if len(power) else _no_power(measured)
    mean = energy.mean_power
    value = mean if mean is not None or no_power else float(power.mean())
    note = "negative" if mean is not None and mean < 0 else None if mean is not None else no_power
    yield _Kpi("mean_power", value, "W", note=note)
    for key, sign, none in (("peak_power", 1, "only_fed_in"), ("peak_feed_in", -1, "nothing_fed_in")):
        peak = int((sign * power).argmax()) if len(power) else None
        if peak is not None and (sign * power[peak] > 0 or (sign > 0 and power[peak] == 0)):
            at = int(times[peak])
            is_doubtful = at in {finding.at for finding in doubtful_readings(energy)}
            yield _Kpi(key, float(sign * power[peak]), "W", at=moment(at), note="doubtful" if is_doubtful else None)
        else:
            yield _Kpi(key, None, "W", note=no_power or none)


def _demand(energy: EnergyFigures, cadence_seconds: float | None, states: StateFigures | None) -> Iterator[_Kpi]:
    """The highest quarter hours, and what rests on the highest demand."""
    demand, fed = energy.peak_demand, energy.peak_feed_in
    coarse = "coarse" if (cadence_seconds or 0) * SECOND > QUARTER else None
    no_demand = "no_energy" if not energy.covered else "no_quarter_hour"
    for key, peak, none in (("peak_demand_15min", demand, no_demand), ("peak_feed_in_15min", fed, "nothing_fed_in")):
        if peak is None:
            yield _Kpi(key, None, "W", note=none)
        else:
            note = "doubtful" if is_of_doubtful(energy, peak.at) else coarse
            yield _Kpi(key, peak.watts, "W", at=moment(peak.at), note=note)
    doubtful = "doubtful" if demand is not None and is_of_doubtful(energy, demand.at) else None
    factor, is_used = energy.load_factor, demand is not None and demand.watts > 0
    no_factor = no_demand if demand is None else "feeds_in" if is_used else "no_demand"
    yield _Kpi("load_factor", factor, "1", note=doubtful if factor is not None else no_factor)
    if states is not None and any(states.time.get(state) for state in KNOWN_STATES):  # the table has the same time
        yield _Kpi("running_hours", states.time.get("running", 0) / HOUR, "h", note="running_state")
    else:
        running = energy.hours_above(RUNNING_SHARE * demand.watts) if demand is not None and is_used else None
        yield _Kpi("running_hours", running, "h", note=doubtful or "running" if running is not None else no_factor)


def _standby(measured: Measured) -> Iterator[_Kpi]:
    """What never stops, and what is used when nobody works."""
    working, zone = measured.data.working, measured.data.zone
    found = standby(measured.energy, working or (), zone)
    yield _Kpi("base_load", found.base_load, "W", note="base_load" if found.base_load is not None else "half_a_day")
    # What runs all the time uses this much of the measured time's energy, and never more than all of it.
    energy = measured.energy
    kwh = None
    if found.base_load is not None and found.kwh is not None:
        kwh = min(max(found.base_load, 0.0) / 1000 * energy.covered / HOUR, found.kwh)
    yield _Kpi("base_load_energy", kwh, "kWh", note=None if kwh is not None else "half_a_day")
    share = kwh / found.kwh if kwh is not None and found.kwh else None
    yield _Kpi("base_load_share", share, "1", note=None if share is not None else "half_a_day")
    unknown = "no_working_hours" if working is None else "no_energy"
    outside, share = (None, None) if working is None else (found.outside_kwh, found.share)
    yield _Kpi("outside_working_hours", outside, "kWh", note=unknown if outside is None else None)
    no_share = unknown if outside is None else "no_energy_used"
    yield _Kpi("outside_working_hours_share", share, "1", note=None if share is not None else no_share)


def _voltage(measured: Measured) -> Iterator[_Kpi]:
    times, volts = measured.track("voltage")
    note = None if len(volts) else "no_voltage"
    for key, pick in (("min", np.argmin), ("max", np.argmax)):
        i = int(pick(volts)) if len(volts) else None
        value, at = (None, None) if i is None else (float(volts[i]), moment(times[i].item()))
        yield _Kpi(f"voltage_{key}", value, "V", at=at, note=note)
    yield _Kpi("voltage_mean", float(volts.mean()) if len(volts) else None, "V", note=note)
    band = measured.data.bands.get("voltage")
    outside = outside_band(volts, band)
    yield _Kpi("voltage_outside_band", outside, "1", note=note or (None if band else "no_band"))
