"""What the report singles out: key figures, extremes, and what still needs attention. The template words it."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assets.reports.content import Anomaly, Day, ForecastPoint, Gap, Kpi, ReportContent
from assets.reports.formatting import figure, metric_name, plain

KEY_FIGURES = ("energy", "mean_power", "peak_power", "peak_demand_15min", "load_factor", "running_hours")
SEVERITIES = ("critical", "high", "medium", "low")
# With fewer days that can be compared, the highest and the lowest say nothing.
MIN_COMPARED_DAYS = 3


@dataclass(frozen=True)
class Highlights:
    """The facts behind the report's key figures and summary. None where there is nothing to name.

    Args:
        key_figures: those that could be measured, in the order of `KEY_FIGURES`.
        missing: the labels of those that could not, by the reason.
        covered_seconds: the time over which energy was measured.
        highest_day: the day with the most energy, if enough days can be compared.
        lowest_day: the day with the least.
        severities: the number of listed alerts of each severity, the worst first.
        open_alerts: how many of the listed alerts are open.
        strongest_anomaly: the anomaly with the highest score.
        highest_forecast: the point with the highest expected value.
        longest_gap: the longest time without a reading.

    """

    key_figures: list[Kpi]
    missing: dict[str, list[str]]
    covered_seconds: float
    highest_day: Day | None
    lowest_day: Day | None
    severities: dict[str, int]
    open_alerts: int
    strongest_anomaly: Anomaly | None
    highest_forecast: ForecastPoint | None
    longest_gap: Gap | None

    @classmethod
    def of(cls, content: ReportContent) -> "Highlights":
        """The highlights of a report."""
        kpis = [content.kpi(key) for key in KEY_FIGURES]
        missing: dict[str, list[str]] = {}
        for kpi in kpis:
            if kpi.value is None and kpi.note:
                missing.setdefault(kpi.note, []).append(kpi.label)
        days = [day for day in content.daily if day.is_whole]
        compared = days if len(days) >= MIN_COMPARED_DAYS else []
        return cls(
            key_figures=[kpi for kpi in kpis if kpi.value is not None],
            missing=missing,
            covered_seconds=sum(day.covered_hours for day in content.daily) * 3600,
            highest_day=max(compared, key=_energy, default=None),
            lowest_day=min(compared, key=_energy, default=None),
            severities=_severities(content),
            open_alerts=sum(alert.status == "open" for alert in content.alerts),
            strongest_anomaly=max(content.anomalies, key=_score, default=None),
            highest_forecast=max(content.forecast.points, key=lambda p: p.value) if content.forecast else None,
            longest_gap=content.data_quality.gaps[0] if content.data_quality.gaps else None,
        )


def strongest_first(anomalies: list[Anomaly]) -> list[Anomaly]:
    """The anomalies by score, the highest first; those without a score come last."""
    return sorted(anomalies, key=lambda anomaly: -_score(anomaly))


def named_values(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and text of each value that a result contains. Nulls and lists are left to the JSON report."""
    for key, value in values.items():
        name = f"{prefix}{metric_name(str(key))}"
        if isinstance(value, Mapping):
            yield from named_values(value, f"{name}, ")
        elif isinstance(value, bool):
            yield name.capitalize(), "yes" if value else "no"
        elif isinstance(value, int | float):
            yield name.capitalize(), plain(value) if isinstance(value, int) else figure(value)
        elif isinstance(value, str):
            yield name.capitalize(), value


def unknown_quality(accuracy: Mapping[str, Any]) -> str | None:
    """Why nothing is known of a model's quality; None if its result has any figure of it, or no reason."""
    known = {key for key, value in accuracy.items() if value is not None}
    return str(accuracy["reason"]) if known == {"reason"} else None


def _energy(day: Day) -> float:
    return day.energy_kwh if day.energy_kwh is not None else math.nan


def _score(anomaly: Anomaly) -> float:
    return anomaly.score or 0


def _severities(content: ReportContent) -> dict[str, int]:
    counts = Counter(alert.severity for alert in content.alerts)
    order = [*(s for s in SEVERITIES if s in counts), *sorted(set(counts) - set(SEVERITIES))]
    return {severity: counts[severity] for severity in order}
