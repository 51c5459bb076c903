"""The rows of the report's energy table: a row per day, or per month if the days are too many to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from assets.reports.content import Day, ReportContent
from assets.reports.formatting import SPACE, Language

MAX_DAYS = 62


@dataclass(frozen=True)
class EnergyRow:
    """A day, a month, or the whole period. Energy in kWh over `covered_hours`, power in W; None if not measured."""

    label: str
    energy_kwh: float | None
    covered_hours: float
    readings: int
    peak_power_w: float | None
    peak_at: datetime | None


@dataclass(frozen=True)
class EnergyTable:
    """A report's energy by day, or by month."""

    by_month: bool
    rows: list[EnergyRow]
    total: EnergyRow

    @classmethod
    def of(cls, content: ReportContent, language: Language) -> "EnergyTable":
        """The table of a report's days."""
        days = content.daily
        by_month = len(days) > MAX_DAYS

        def label(day: Day) -> str:
            return language.month(day.day) if by_month else _day_label(day, language)

        rows = [_row(name, list(part)) for name, part in groupby(days, key=label)]
        return cls(by_month, rows, _row(language.say("energy.total"), days))


def _day_label(day: Day, language: Language) -> str:
    """The day, with its length in hours if that is not 24."""
    length = "" if day.hours == 24 else f" ({language.plain(round(day.hours, 1))}{SPACE}h)"
    return language.day(day.day) + length


def _row(label: str, days: Sequence[Day]) -> EnergyRow:
    measured = [day.energy_kwh for day in days if day.energy_kwh is not None]
    powers = [day.peak_power_w for day in days if day.peak_power_w is not None]
    peak = max(powers, default=None)
    return EnergyRow(
        label=label,
        energy_kwh=sum(measured) if measured else None,
        covered_hours=sum(day.covered_hours for day in days),
        readings=sum(day.readings for day in days),
        peak_power_w=peak,
        peak_at=next((day.peak_at for day in days if peak is not None and day.peak_power_w == peak), None),
    )
