"""Compares the key figures of a report with those of earlier periods."""

from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

from assets.energy import EnergyFigures, standby
from assets.energy.cells import MILLIONTHS
from assets.reports.doubtful import without_doubtful
from assets.reports.formatting import Language
from assets.reports.measures import Measured
from assets.reports.sections import Compared, Comparison
from storage.times import HOUR

DAY_HOURS = 24
# With a smaller share of the earlier period measured, its figures say nothing about it.
MIN_COVERAGE = 0.5
MIN_CHANGE = 0.005  # less is no change
UNITS = {
    "energy_per_day": "kWh", "peak_demand_15min": "W", "load_factor": "1", "base_load": "W",
    "outside_working_hours_share": "1",
}  # fmt: skip


def comparisons(measured: Measured, language: Language) -> list[Comparison]:
    """The comparisons with those earlier periods of which enough was measured."""
    data = measured.data
    now = _figures(measured.trusted.energy, data.working, data.zone)
    found = []
    for earlier in data.earlier:
        if not can_be_compared(earlier.energy) or not now:
            continue
        before = _figures(without_doubtful(earlier.energy), earlier.working, data.zone)
        found.append(
            Comparison(
                basis=earlier.basis,
                start=earlier.start,
                end=earlier.end,
                coverage=earlier.energy.coverage,
                figures=list(_compared(now, before, language)),
            )
        )
    return found


def energy_per_day(energy: EnergyFigures) -> float | None:
    """Energy (kWh) per day of 24 measured hours; None where nothing is known of it."""
    if not energy.covered or not energy.sources:
        return None
    return int(energy.cells.amounts.sum()) / MILLIONTHS / (energy.covered / HOUR) * DAY_HOURS


def direction_of(change: float) -> str:
    """Whether a relative change is `more`, `less` or the `same`."""
    return "same" if abs(change) < MIN_CHANGE else "more" if change > 0 else "less"


def can_be_compared(energy: EnergyFigures) -> bool:
    """Whether enough of an earlier period was measured to compare with it."""
    return energy.coverage >= MIN_COVERAGE


def _compared(now: dict[str, float | None], before: dict[str, float | None], language: Language) -> Iterator[Compared]:
    for key, unit in UNITS.items():
        value, earlier = now.get(key), before.get(key)
        if value is None and earlier is None:
            continue
        difference = value - earlier if value is not None and earlier is not None else None
        yield Compared(
            key=key,
            label=language.say(f"kpi.{key}"),
            unit=unit,
            value=value,
            earlier=earlier,
            change=difference / earlier if difference is not None and earlier is not None and earlier > 0 else None,
            difference=difference,
        )


def _figures(
    energy: EnergyFigures, working: Sequence[tuple[int, int]] | None, zone: ZoneInfo
) -> dict[str, float | None]:
    per_day = energy_per_day(energy)
    if per_day is None:
        return {}
    found = standby(energy, working or (), zone)
    demand = energy.peak_demand
    return {
        "energy_per_day": per_day,
        "peak_demand_15min": demand.watts if demand else None,
        "load_factor": energy.load_factor,
        "base_load": found.base_load,
        "outside_working_hours_share": found.share if working is not None else None,
    }
