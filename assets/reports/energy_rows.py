"""A report's energy by day, week or month: whatever reads best at its length."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Literal

from assets.reports.content import Day
from assets.reports.sections import EnergyRow, EnergyRows

MAX_DAYS, MAX_WEEKS = 62, 26
Unit = Literal["day", "week", "month"]
_START: dict[Unit, Callable[[date], date]] = {
    "day": lambda day: day,
    "week": lambda day: day - timedelta(days=day.weekday()),
    "month": lambda day: day.replace(day=1),
}


def energy_rows(days: Sequence[Day]) -> EnergyRows:
    """The rows of a report's days."""
    unit: Unit = "day" if len(days) <= MAX_DAYS else "week" if len(days) <= 7 * MAX_WEEKS else "month"
    parts = groupby(days, key=lambda day: _START[unit](day.day))
    return EnergyRows(unit=unit, rows=[_row(list(part)) for _, part in parts], total=_row(days))


def _row(days: Sequence[Day]) -> EnergyRow:
    taken = [day.energy_kwh for day in days if day.energy_kwh is not None]
    fed = [day.energy_export_kwh for day in days if day.energy_export_kwh is not None]
    powers = [day.peak_power_w for day in days if day.peak_power_w is not None]
    peak = max(powers, default=None)
    return EnergyRow(
        start=days[0].start,
        end=days[-1].end,
        hours=sum(day.hours for day in days),
        energy_kwh=sum(taken) if taken else None,
        energy_export_kwh=sum(fed) if fed else None,
        covered_hours=sum(day.covered_hours for day in days),
        readings=sum(day.readings for day in days),
        peak_power_w=peak,
        doubtful_kwh=sum(day.doubtful_kwh for day in days),
        doubtful_export_kwh=sum(day.doubtful_export_kwh for day in days),
        peak_at=next((day.peak_at for day in days if peak is not None and day.peak_power_w == peak), None),
    )
