"""Words findings, checks and alerts in a report's language, from what is known of them."""

from collections.abc import Collection, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from assets.analyses import best_baseline
from assets.reports.analysed import Anomaly
from assets.reports.content import Alert, MetricSummary
from assets.reports.formatting import SPACE, Language
from assets.reports.noticed import FailedCheck, Finding
from assets.reports.sections import RemainingLife, Risk
from storage.devices import UNITS

# Checks whose measured number is not a share.
_MINUTES, _SECONDS = ("gaps", "flatline"), ("clock_skew",)
# With less in an episode, or a smaller share, nothing is said of its energy.
MIN_EXCESS_KWH, MIN_EXCESS = 0.05, 0.05
CONDITIONS = {">": "above", "<": "below", ">=": "at_least", "<=": "at_most", "=": "equal", "!=": "not_equal"}


class Wording:
    """Sentences about what was noticed about the readings of these metrics, in a language."""

    def __init__(
        self, language: Language, metrics: Collection[MetricSummary], cadence_seconds: float | None = None
    ) -> None:
        self._language = language
        self._cadence_seconds = cadence_seconds or 0.0
        self._units = {**UNITS, **{metric.metric: metric.unit for metric in metrics}}
        outside = [metric.band_source for metric in metrics if metric.outside_band]
        self._has_usual_bands = bool(outside) and set(outside) == {"usual"}

    def finding(self, finding: Finding) -> str:
        """What was noticed about the readings, and what became of the energy that it stands for."""
        language, say = self._language, self._language.say
        unit = self._units.get(finding.metric, "")
        words = [
            say(
                f"finding.{finding.kind}",
                value=language.quantity(finding.value, unit),
                duration=language.duration((finding.end - finding.start).total_seconds()),
            )
        ]
        if finding.effect:
            key = "finding.counted" if finding.counted else "finding.not_counted"
            words.append(say(key, effect=language.quantity(abs(finding.effect), finding.unit)))
        if finding.alike > 1:
            words.insert(0, say("finding.alike", n=finding.alike))
        return " ".join(words)

    def risk(self, risk: Risk, zone: ZoneInfo) -> str:
        """How likely a failure is, and how long the machine should last."""
        return risk_words(risk, self._language, zone)

    def lasted(self, anomaly: Anomaly) -> str:
        """How long an episode lasted, in words."""
        return self._language.duration(self.seconds(anomaly))

    def seconds(self, anomaly: Anomaly) -> float:
        """How long an episode lasted: its last reading stands for one interval."""
        if anomaly.seconds is not None:
            return anomaly.seconds
        return (anomaly.end - anomaly.start).total_seconds() + self._cadence_seconds

    def anomaly(self, anomaly: Anomaly) -> str:
        """What happened in an episode of unusual behaviour. In English it is the analysis's own sentence."""
        language = self._language
        kind = anomaly.kind if anomaly.kind in ("frozen", "level_change") else "unusual"
        metrics = [language.metric(metric) for metric in anomaly.drivers or [anomaly.metric or "power"]]
        key = f"anomalies.{kind}" if kind == "frozen" or len(metrics) == 1 else f"anomalies.{kind}_more"
        said = language.say(key, duration=self.lasted(anomaly), metric=language.enumerated(metrics))
        if language.code == "en" and anomaly.why:
            said = anomaly.why.replace("_", " ")
        excess = anomaly.excess_kwh or 0.0
        if not anomaly.energy_kwh or abs(excess) < max(MIN_EXCESS_KWH, MIN_EXCESS * anomaly.energy_kwh):
            return said
        key = "anomalies.more_energy" if excess > 0 else "anomalies.less_energy"
        energies = {"energy": anomaly.energy_kwh, "excess": abs(excess)}
        return f"{said} {language.say(key, **{name: language.quantity(kwh, 'kWh') for name, kwh in energies.items()})}"

    def check(self, check: FailedCheck) -> str:
        """On how many days a check failed, and its worst day."""
        language = self._language
        if check.check in _MINUTES:
            worst = language.duration(check.worst * 60)
        elif check.check in _SECONDS:
            worst = language.duration(check.worst)
        else:
            worst = language.percent(check.worst)
        kind, metric = check.check, language.metric(check.metric)
        if kind == "flatline" and check.metric is not None:
            kind = "flatline_of"
        elif kind == "out_of_band" and self._has_usual_bands:
            kind = "out_of_band_usual"
        what = language.say(f"check.{kind}", worst=worst, metric=metric)
        days, day = language.count(check.days, "day_dative"), language.day(check.worst_day)
        return language.say("check.sentence", days=days, checked=check.checked_days, what=what, day=day)

    def alert(self, alert: Alert) -> str:
        """What the reading was that raised an alert. In English it is the alert's own message."""
        language, key = self._language, CONDITIONS.get(alert.condition or "")
        if language.code == "en" or key is None or alert.actual_value is None or alert.threshold_value is None:
            return alert.message
        unit = self._units.get(alert.metric or "", "")
        value, limit = (
            f"{language.plain(round(number, 3))}{SPACE}{unit}".strip()
            for number in (alert.actual_value, alert.threshold_value)
        )
        said = language.say(f"alerts.{key}", limit=limit)
        return language.say("alerts.message", metric=language.title(alert.metric), value=value, limit=said)

    def status(self, alert: Alert) -> str:
        """An alert's status, with how long it took to get it."""
        language = self._language
        for status, seconds in (("resolved", alert.seconds_to_resolve), ("acknowledged", alert.seconds_to_acknowledge)):
            if alert.status == status and seconds is not None:
                return language.say(f"alerts.{status}_after", duration=language.duration(seconds))
        return language.name_of("status", alert.status)

    def baseline(self, accuracy: Mapping[str, Any]) -> str:
        """The plain forecast with which a model was compared."""
        name = best_baseline(accuracy)
        return self._language.name_of("baseline", name) if name else self._language.say("forecast.a_day")


def risk_words(risk: Risk, language: Language, zone: ZoneInfo) -> str:
    """How likely a failure is, and how long the machine should last."""
    probability = language.percent(risk.probability)
    if risk.as_of and risk.horizon_hours:
        horizon, time = language.duration(risk.horizon_hours * 3600), language.clock(risk.as_of, zone)
        said = language.say("risk.probability", horizon=horizon, probability=probability, time=time)
    else:
        said = language.say("risk.probability_only", probability=probability)
    life = risk.remaining_life
    return said if life is None or life.hours is None else f"{said} {life_words(life, language)}"


def life_words(life: RemainingLife, language: Language) -> str:
    """How long the machine should last, with the range that holds it; empty if that is unknown."""
    if life.hours is None:
        return ""
    hours, lower, upper = (language.duration((value or 0.0) * 3600) for value in (life.hours, life.lower, life.upper))
    if life.lower is None or life.upper is None or life.share is None:
        return language.say("risk.life", hours=hours)
    key = "risk.life_at_least" if life.at_least else "risk.life_range"
    return language.say(key, hours=hours, lower=lower, upper=upper, share=language.percent(life.share))
