"""Working hours as ranges of time, and what a device uses outside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from assets.energy.cells import MILLIONTHS
from assets.energy.figures import WELL_COVERED, EnergyFigures
from assets.energy.settings import SiteSettings
from storage.arrays import Mask, Times
from storage.devices import DeviceMetadata
from storage.times import HOUR, QUARTER, microseconds, moment

Period = tuple[int, int]
# The near-base load of a day, as Price (2010), LBNL-3713E, has it: the 2.5th percentile of its load.
BASE_PERCENTILE = 0.025


@dataclass(frozen=True)
class Standby:
    """What a device uses when nobody works.

    `base_load` (W) is the median over days of the 2.5th percentile of a day's quarter hours; days of which less than
    half is measured do not count. `outside_kwh` is the energy of the quarter hours outside working hours, and `share`
    its part of `kwh`, the energy of all quarter hours; `outside_hours` is their covered time. None: nothing is known.
    """

    base_load: float | None
    kwh: float | None
    outside_kwh: float | None
    outside_hours: float

    @property
    def share(self) -> float | None:
        return self.outside_kwh / self.kwh if self.outside_kwh is not None and self.kwh else None


def working_periods(metadata: DeviceMetadata, site: SiteSettings, zone: ZoneInfo, start: int, end: int) -> list[Period]:
    """The working hours that overlap the half-open range (µs), ascending and apart; none begin on a holiday."""
    hours = site.working_hours if metadata.working_hours is None else metadata.working_hours
    day, last = moment(start).astimezone(zone).date() - timedelta(days=1), moment(end).astimezone(zone).date()
    found = []
    while day <= last:
        if not site.is_holiday(day):
            for entry in hours:
                if day.weekday() in entry.days:
                    since, until = _at(day, entry.since, zone), _at(day, entry.until, zone)
                    if entry.until <= entry.since:
                        until = _at(day + timedelta(days=1), entry.until, zone)
                    found.append((max(since, start), min(until, end)))
        day += timedelta(days=1)
    return merged(period for period in found if period[0] < period[1])


def merged(periods: Iterable[Period]) -> list[Period]:
    """The time of all periods, ascending and apart."""
    found: list[Period] = []
    for start, end in sorted(periods):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _at(day: date, clock: str, zone: ZoneInfo) -> int:
    if clock == "24:00":
        day, clock = day + timedelta(days=1), "00:00"
    return microseconds(datetime.combine(day, time.fromisoformat(clock), zone).astimezone(UTC))


def standby(energy: EnergyFigures, working: Sequence[Period], zone: ZoneInfo) -> Standby:
    """The standby figures of energy; a quarter hour is inside working hours if its middle is."""
    cells = energy.cells
    if not len(cells.starts) or not energy.sources:
        return Standby(None, None, None, 0.0)
    outside = ~_inside(cells.starts // QUARTER * QUARTER + QUARTER // 2, working)
    return Standby(
        base_load=_base_load(energy, zone),
        kwh=int(cells.amounts.sum()) / MILLIONTHS,
        outside_kwh=int(cells.amounts[outside].sum()) / MILLIONTHS,
        outside_hours=int(cells.covered[outside].sum()) / HOUR,
    )


def _inside(moments: Times, periods: Sequence[Period]) -> Mask:
    starts, ends = (np.array([period[i] for period in periods], np.int64) for i in (0, 1))
    at = starts.searchsorted(moments, "right") - 1
    return (at >= 0) & (moments < ends[np.maximum(at, 0)]) if len(starts) else np.zeros(len(moments), bool)


def _base_load(energy: EnergyFigures, zone: ZoneInfo) -> float | None:
    cells = energy.cells
    well = cells.covered >= WELL_COVERED * QUARTER
    starts, watts = cells.starts[well], cells.amounts[well] / 1000 / (cells.covered[well] / HOUR)
    loads = []
    day = moment(energy.start).astimezone(zone).date()
    while (first := _at(day, "00:00", zone)) < energy.end:
        after = _at(day, "24:00", zone)
        a, b = starts.searchsorted([first, after])
        if (b - a) * QUARTER >= (after - first) / 2:
            loads.append(float(np.quantile(watts[a:b], BASE_PERCENTILE)))
        day += timedelta(days=1)
    return float(np.median(loads)) if loads else None
