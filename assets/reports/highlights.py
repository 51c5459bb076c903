"""What the report singles out: key figures, extremes, and what still needs attention. The template words it."""

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from assets.reports.analysed import Analysis, Anomaly
from assets.reports.comparison import direction_of
from assets.reports.content import Day, Kpi, ReportContent
from assets.reports.noticed import Finding
from assets.reports.sections import Comparison, Load
from storage.rules import SEVERITIES

KEY_FIGURES = (
    "energy", "energy_export", "mean_power", "peak_power", "peak_feed_in", "peak_demand_15min", "peak_feed_in_15min",
    "load_factor", "running_hours", "base_load",
    "outside_working_hours",
)  # fmt: skip
# Key figures that go without a word where they are unknown.
OPTIONAL = ("base_load", "outside_working_hours")
# A device that feeds nothing in needs no key figure of it.
FED_IN = ("energy_export", "peak_feed_in", "peak_feed_in_15min")
# What says nothing of a device that mostly feeds in.
OF_USE = ("load_factor", "running_hours", "base_load", "outside_working_hours")
# With fewer days that can be compared, the highest and the lowest say nothing.
MIN_COMPARED_DAYS = 3
MAX_RULES = 5


@dataclass(frozen=True)
class Busiest:
    """The hour of the week with the highest mean load (W); weekday 0 is Monday."""

    weekday: int
    hour: int
    watts: float


@dataclass(frozen=True)
class Change:
    """A relative change against an earlier period."""

    basis: str
    share: float


@dataclass(frozen=True)
class EnergyCompared:
    """Whether more, less or the same energy was used than in the period before, and the relative change."""

    direction: str
    change: float


@dataclass(frozen=True)
class Highlights:
    """What the report names, by kind. A day is None if too few days can be compared.

    Args:
        key_figures: those that could be measured, in the order of `KEY_FIGURES`.
        missing: the labels of those that could not, by the reason.
        highest_day: the day with the most energy.
        lowest_day: the day with the least energy.
        all_days_are_whole: whether every day was measured well enough to be compared.
        severities: the number of listed alerts of each severity, the worst first.
        open_alerts: how many of the listed alerts are open.
        rules: the number of listed alerts of each rule, the most first; at most `MAX_RULES` rules.
        busiest: the hour of the week with the highest mean load.
        comparisons: those with earlier periods.
        anomalies: the anomalies by score, the strongest first; those without a score come last.
        over: the period's start, and its end as far as it had passed.
        doubtful: the readings that are counted though each may be wrong, the one of the most energy first.
        feeds_in: whether more energy was fed in than taken; the highest and the lowest day are then those of feed-in.

    """

    key_figures: list[Kpi]
    missing: dict[str, list[str]]
    highest_day: Day | None
    lowest_day: Day | None
    all_days_are_whole: bool
    severities: dict[str, int]
    open_alerts: int
    rules: dict[str | None, int]
    anomalies: list[Anomaly]
    busiest: Busiest | None
    comparisons: list[Comparison]
    over: tuple[datetime, datetime]
    feeds_in: bool
    doubtful: list[Finding]

    def is_partly_covered(self, analysis: Analysis) -> bool:
        """Whether an analysis of the past covers a part of the period only; a forecast is of the time after it."""
        start, end = self.over
        if analysis.type != "anomaly" or not analysis.covers_start or not analysis.covers_end:
            return False
        return analysis.covers_start > start or analysis.covers_end < end

    def changes(self, key: str) -> list[Change]:
        """How a key figure differs from earlier periods; energy by the day."""
        key = "energy_per_day" if key == "energy" else key
        found = [(comparison.basis, comparison.figure(key)) for comparison in self.comparisons]
        return [Change(basis, one.change) for basis, one in found if one and one.change is not None]

    @property
    def energy_compared(self) -> EnergyCompared | None:
        """Whether more or less energy was used than in the period before, and how much; None if that is unknown."""
        change = next((change.share for change in self.changes("energy") if change.basis == "period_before"), None)
        if change is None:
            return None
        return EnergyCompared(direction_of(change), abs(change))

    @classmethod
    def of(cls, content: ReportContent) -> "Highlights":
        """The highlights of a report."""
        taken, fed = content.kpi("energy").value or 0.0, content.kpi("energy_export").value or 0.0
        kpis = [content.kpi(key) for key in KEY_FIGURES if fed or key not in FED_IN]
        if fed > taken:
            kpis = [kpi for kpi in kpis if kpi.key not in OF_USE]
        missing: dict[str, list[str]] = {}
        for kpi in kpis:
            if kpi.value is None and kpi.note and kpi.key not in OPTIONAL:
                missing.setdefault(kpi.note, []).append(kpi.label)
        days = [day for day in content.daily if day.is_whole]
        compared = days if len(days) >= MIN_COMPARED_DAYS else []
        energy = _fed_in if fed > taken else _energy
        return cls(
            key_figures=[kpi for kpi in kpis if kpi.value is not None],
            missing=missing,
            highest_day=max(compared, key=energy, default=None),
            lowest_day=min(compared, key=energy, default=None),
            all_days_are_whole=len(days) == len(content.daily),
            severities=_severities(content),
            open_alerts=sum(alert.status == "open" for alert in content.alerts),
            busiest=_busiest(content.load),
            comparisons=content.comparisons,
            over=(content.period.start, content.data_quality.measured_until),
            feeds_in=fed > taken,
            doubtful=sorted(
                (f for f in content.data_quality.findings if f.kind == "single_reading" and f.counted),
                key=lambda finding: -abs(finding.effect or 0.0),
            ),
            rules=dict(Counter(alert.rule for alert in content.alerts).most_common(MAX_RULES)),
            anomalies=sorted(content.anomalies, key=lambda anomaly: -(anomaly.score or 0)),
        )


def _busiest(load: Load | None) -> Busiest | None:
    if load is None:
        return None
    hours = [
        Busiest(weekday, hour, watts)
        for weekday, means in enumerate(load.by_hour_w)
        for hour, watts in enumerate(means)
        if watts is not None
    ]
    return max(hours, key=lambda hour: hour.watts, default=None)


def _energy(day: Day) -> float:
    return day.trusted_kwh if day.trusted_kwh is not None else math.nan


def _fed_in(day: Day) -> float:
    return day.trusted_export_kwh if day.trusted_export_kwh is not None else math.nan


def _severities(content: ReportContent) -> dict[str, int]:
    counts = Counter(alert.severity for alert in content.alerts)
    order = [*(s for s in SEVERITIES if s in counts), *sorted(set(counts) - set(SEVERITIES))]
    return {severity: counts[severity] for severity in order}
