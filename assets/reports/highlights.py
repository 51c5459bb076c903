"""What the report singles out: key figures, extremes, and what still needs attention. The template words it."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assets.reports.content import Anomaly, Day, Kpi, ReportContent
from assets.reports.formatting import Language

KEY_FIGURES = (
    "energy", "energy_export", "mean_power", "peak_power", "peak_feed_in", "peak_demand_15min", "peak_feed_in_15min",
    "load_factor", "running_hours",
)  # fmt: skip
# A device that feeds nothing in needs no key figure of it.
FED_IN = ("energy_export", "peak_feed_in", "peak_feed_in_15min")
SEVERITIES = ("critical", "high", "medium", "low")
# With fewer days that can be compared, the highest and the lowest say nothing.
MIN_COMPARED_DAYS = 3


@dataclass(frozen=True)
class Highlights:
    """What the report names, by kind. A day is None if too few days can be compared.

    Args:
        key_figures: those that could be measured, in the order of `KEY_FIGURES`.
        missing: the labels of those that could not, by the reason.
        highest_day: the day with the most energy.
        lowest_day: the day with the least energy.
        severities: the number of listed alerts of each severity, the worst first.
        open_alerts: how many of the listed alerts are open.
        anomalies: the anomalies by score, the strongest first; those without a score come last.

    """

    key_figures: list[Kpi]
    missing: dict[str, list[str]]
    highest_day: Day | None
    lowest_day: Day | None
    severities: dict[str, int]
    open_alerts: int
    anomalies: list[Anomaly]

    @classmethod
    def of(cls, content: ReportContent) -> "Highlights":
        """The highlights of a report."""
        feeds_in = bool(content.kpi("energy_export").value)
        kpis = [content.kpi(key) for key in KEY_FIGURES if feeds_in or key not in FED_IN]
        missing: dict[str, list[str]] = {}
        for kpi in kpis:
            if kpi.value is None and kpi.note:
                missing.setdefault(kpi.note, []).append(kpi.label)
        days = [day for day in content.daily if day.is_whole]
        compared = days if len(days) >= MIN_COMPARED_DAYS else []
        return cls(
            key_figures=[kpi for kpi in kpis if kpi.value is not None],
            missing=missing,
            highest_day=max(compared, key=_energy, default=None),
            lowest_day=min(compared, key=_energy, default=None),
            severities=_severities(content),
            open_alerts=sum(alert.status == "open" for alert in content.alerts),
            anomalies=sorted(content.anomalies, key=lambda anomaly: -(anomaly.score or 0)),
        )


class Named:
    """Names what a model's result contains, in a language."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def values(self, values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
        """Name and text of each value of a result. Nulls and lists are left to the JSON report."""
        language = self._language
        for key, value in values.items():
            name = f"{prefix}{language.name_of('measure', str(key))}"
            title = name[:1].upper() + name[1:]
            if isinstance(value, Mapping):
                yield from self.values(value, f"{name}, ")
            elif isinstance(value, bool):
                yield title, language.say("analysis.yes" if value else "analysis.no")
            elif isinstance(value, int | float):
                yield title, language.plain(value) if isinstance(value, int) else language.figure(value)
            elif isinstance(value, str):
                yield title, value

    def baseline(self, accuracy: Mapping[str, Any]) -> str:
        """The plain forecast with which a model was compared."""
        name = str(accuracy.get("baseline") or "").removeprefix("seasonal naive: ")
        return self._language.name_of("baseline", name) if name else self._language.say("forecast.a_day")


def unknown_quality(accuracy: Mapping[str, Any]) -> str | None:
    """Why nothing is known of a model's quality; None if its result has any figure of it, or no reason."""
    known = {key for key, value in accuracy.items() if value is not None}
    return str(accuracy["reason"]) if known == {"reason"} else None


def _energy(day: Day) -> float:
    return day.energy_kwh if day.energy_kwh is not None else math.nan


def _severities(content: ReportContent) -> dict[str, int]:
    counts = Counter(alert.severity for alert in content.alerts)
    order = [*(s for s in SEVERITIES if s in counts), *sorted(set(counts) - set(SEVERITIES))]
    return {severity: counts[severity] for severity in order}
