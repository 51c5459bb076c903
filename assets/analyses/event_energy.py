"""What a device used during an event, against what was expected: the usual energy at that time of that kind of day."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from assets.analyses.context import DeviceContext
from assets.analyses.events import Event
from assets.energy import EnergyFigures
from assets.energy.cells import MILLIONTHS
from storage.arrays import Indices, Times
from storage.times import QUARTER, moment, rfc3339

MIN_DAYS = 3  # of that kind, without an event at that time
QUARTERS_A_DAY = 96


def event_energies(events: Sequence[Event], times: Times, context: DeviceContext) -> list[dict[str, Any] | None]:
    """For each event the energy of the quarter hours that it touches; None where nothing measures energy.

    `times` are those of the rows (µs). `expected_kwh` is the sum of the medians of the same quarter hours on other days
    of the same kind: working days, Saturdays, or Sundays and holidays. It is null with fewer than three such days.
    """
    energy = context.energy() if events else None
    if energy is None or not len(energy.cells.starts):
        return [None] * len(events)
    spans = [
        (int(times[event.first]) // QUARTER * QUARTER, (int(times[event.last]) // QUARTER + 1) * QUARTER)
        for event in events
    ]
    cells = energy.cells
    kinds = _kinds(cells.starts, context)
    usable = cells.covered == QUARTER
    for start, end in spans:
        usable &= ~((cells.starts >= start) & (cells.starts < end))
    grouped = pd.Series(cells.amounts[usable] / MILLIONTHS).groupby(kinds[usable])
    usual = grouped.median()[grouped.size() >= MIN_DAYS]
    return [_of_span(energy, start, end, usual, context) for start, end in spans]


def _of_span(
    energy: EnergyFigures, start: int, end: int, usual: pd.Series, context: DeviceContext
) -> dict[str, Any] | None:
    first, last = max(start, energy.start), min(end, energy.end)
    kwh = energy.part(first, last).kwh if first < last else None
    if kwh is None:
        return None
    expected = usual.reindex(_kinds(np.arange(start, end, QUARTER), context)).sum(skipna=False)
    expected_kwh = float(expected) if np.isfinite(expected) else None
    return {
        "from": rfc3339(moment(first)),
        "to": rfc3339(moment(last)),
        "kwh": kwh,
        "expected_kwh": expected_kwh,
        "excess_kwh": kwh - expected_kwh if expected_kwh is not None else None,
        "cost": None,
    }


def _kinds(starts: Times, context: DeviceContext) -> Indices:
    """A number for each quarter hour of the day and kind of day, by the device's clock."""
    local = pd.DatetimeIndex(pd.to_datetime(starts, unit="us", utc=True)).tz_convert(context.zone)
    days, which = np.unique(local.date, return_inverse=True)
    kind = np.array([2 if context.is_holiday(day) else max(day.weekday() - 4, 0) for day in days])[which]
    return np.asarray(kind * QUARTERS_A_DAY + local.hour * 4 + local.minute // 15)
