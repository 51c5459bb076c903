"""How advice is worded, and how sure it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from assets.reports.doubtful import is_much
from assets.reports.formatting import Language
from assets.reports.measures import Measured
from assets.reports.sections import Advice, AdviceKind, Confidence, Risk
from assets.reports.wording import risk_words
from storage.times import DAY


@dataclass(frozen=True)
class AdviceWords:
    """Words advice about what was measured, in a language."""

    measured: Measured
    language: Language

    def energy_confidence(self) -> Confidence:
        """How sure the energy of the period is: by how much and how long was measured, and by doubtful readings."""
        return "low" if is_much(self.measured.energy) else self.measured_confidence()

    def measured_confidence(self) -> Confidence:
        """How sure something is by how much and how long was measured."""
        energy = self.measured.energy
        length = energy.covered / DAY
        if energy.coverage >= 0.95 and length >= 0.95 * 7:
            return "high"
        return "medium" if energy.coverage >= 0.8 and length >= 2 else "low"

    def one(
        self,
        kind: AdviceKind,
        concerns: float | None,
        confidence: Confidence | None,
        *,
        text: str | None = None,
        reason: str | None = None,
        at: datetime | None = None,
        said: Mapping[str, str] = MappingProxyType({}),
        **given: float | None,
    ) -> Advice:
        """The advice with the texts of its kind; without a confidence it is as sure as the energy of the period."""
        language, energy = self.language, self.measured.energy
        if confidence is None:
            confidence, reason = self.energy_confidence(), "doubtful" if is_much(energy) else reason
        figures = {name: value for name, value in given.items() if value is not None}
        words = {name: self._worded(name, value) for name, value in figures.items()}
        coverage, length = language.percent(energy.coverage), language.duration(energy.covered / 1e6)
        words |= {"at": language.clock(at, self.measured.data.zone), "length": length, "coverage": coverage, **said}
        return Advice(
            kind=kind,
            energy_kwh=concerns,
            confidence=confidence,
            title=language.say(f"advice.{kind}.title"),
            text=language.say(f"advice.{text or kind}.text", **words),
            reason=language.say(f"advice.because.{reason or 'measured'}", **words),
            figures={**figures, "coverage": energy.coverage, "covered_seconds": energy.covered / 1e6},
        )

    def risk(self, risk: Risk) -> str:
        """How likely a failure is, and how long the machine should last, in sentences."""
        return risk_words(risk, self.language, self.measured.data.zone)

    def _worded(self, name: str, value: float) -> str:
        language = self.language
        if name in ("share", "coverage", "probability", "false_alarm_share"):
            return language.percent(value)
        unit = {"kwh": "kWh", "w": "W", "v": "V"}.get(name.rpartition("_")[2])
        if unit == "V":
            return language.value_of(name, value, "V") if name in ("lowest_v", "highest_v") else language.plain(value)
        if unit:
            return language.quantity(value, unit)
        if name.endswith(("_seconds", "_hours")) and name != "quarter_hours":
            return language.duration(value * (3600 if name.endswith("_hours") else 1))
        if name == "quarter_hours":
            return language.count(int(value), "quarter_hour")
        return language.hours(value) if name == "hours" else language.plain(value)
