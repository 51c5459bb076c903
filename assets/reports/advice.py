"""What to do: the findings of a report that are worth somebody's time, those of the most energy first."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from assets.energy import standby
from assets.energy.cells import MILLIONTHS
from assets.energy.figures import WELL_COVERED
from assets.reports.content import MetricSummary, StateTotal
from assets.reports.formatting import Language
from assets.reports.measures import Measured
from assets.reports.noticed import DataQuality
from assets.reports.sections import Advice, Confidence
from storage.times import DAY, HOUR, QUARTER, SECOND, moment

MIN_SHARE = 0.05  # of the energy: less outside working hours, or idling, is not worth a word
MIN_OUTSIDE_BAND = 0.001  # of the readings
COMPLETE = 0.98
# The highest demand stands out if it is this much above what 1 % of the quarter hours exceed; of three days or more.
STANDS_OUT, USUAL_SHARE, MIN_QUARTERS = 1.1, 0.99, 3 * 96
MIN_FOR_A_YEAR = 0.95 * 28 * DAY  # of measured time: less says nothing of a year
RANKS: tuple[Confidence, ...] = ("high", "medium", "low")


@dataclass(frozen=True)
class Adviser:
    """Words the advice of a report."""

    measured: Measured
    quality: DataQuality
    states: list[StateTotal]
    metrics: list[MetricSummary]
    language: Language

    def advice(self) -> list[Advice]:
        """The advice, by the energy that it concerns; what is not about energy comes last."""
        found = [*self._outside_hours(), *self._idle(), *self._peak(), *self._voltage(), *self._data()]
        return sorted(found, key=lambda one: -(one.energy_kwh if one.energy_kwh is not None else -1))

    def _outside_hours(self) -> Iterator[Advice]:
        energy, data = self.measured.energy, self.measured.data
        if data.working is None or energy.is_feed_in:
            return
        found = standby(energy, data.working, data.zone)
        if not found.outside_kwh or not found.share or found.share < MIN_SHARE or not found.outside_hours:
            return
        mean_kw = found.outside_kwh / found.outside_hours
        year_kwh = None
        if data.outside_hours_of_year is not None and energy.covered >= MIN_FOR_A_YEAR:
            year_kwh = mean_kw * data.outside_hours_of_year
        yield self._one(
            "outside_hours",
            found.outside_kwh,
            self._confidence(),
            text="outside_hours_short" if year_kwh is None else None,
            share=found.share,
            energy_kwh=found.outside_kwh,
            mean_power_w=mean_kw * 1000,
            hours=found.outside_hours,
            year_kwh=year_kwh,
        )

    def _idle(self) -> Iterator[Advice]:
        total = sum(state.energy_kwh for state in self.states)
        idle = next((state for state in self.states if state.state == "idle"), None)
        if idle is None or not total or idle.energy_kwh < MIN_SHARE * total:
            return
        yield self._one(
            "idle",
            idle.energy_kwh,
            self._confidence(),
            hours=idle.hours,
            energy_kwh=idle.energy_kwh,
            share=idle.energy_kwh / total,
        )

    def _peak(self) -> Iterator[Advice]:
        cells, demand = self.measured.energy.cells, self.measured.energy.peak_demand
        well = cells.covered >= WELL_COVERED * QUARTER
        if demand is None or self.measured.energy.load_factor is None or well.sum() < MIN_QUARTERS:
            return
        watts = cells.amounts[well] / 1000 / (cells.covered[well] / HOUR)
        usual = float(np.quantile(watts, USUAL_SHARE))
        above = watts > usual
        if usual <= 0 or demand.watts < STANDS_OUT * usual:
            return
        excess = float(((watts[above] - usual) * (cells.covered[well][above] / HOUR)).sum()) / 1000
        yield self._one(
            "peak",
            excess,
            self._confidence(),
            at=moment(demand.at),
            peak_w=demand.watts,
            usual_w=usual,
            excess_w=demand.watts - usual,
            quarter_hours=int(above.sum()),
            energy_kwh=excess,
        )

    def _voltage(self) -> Iterator[Advice]:
        voltage = next((metric for metric in self.metrics if metric.metric == "voltage"), None)
        band = voltage.judged_by if voltage else None
        if voltage is None or band is None or (voltage.outside_band or 0) < MIN_OUTSIDE_BAND:
            return
        is_usual = "voltage" in self.measured.data.usual_bands
        yield self._one(
            "voltage",
            None,
            "medium" if is_usual else self._confidence(),
            reason="usual_band" if is_usual else None,
            share=voltage.outside_band or 0.0,
            low_v=band[0],
            high_v=band[1],
            lowest_v=voltage.min,
            highest_v=voltage.max,
        )

    def _data(self) -> Iterator[Advice]:
        quality, mean = self.quality, self.measured.energy.mean_power
        effects = [f.effect for f in quality.findings if not f.counted and f.unit == "kWh"]
        left_out = sum(abs(effect) for effect in effects if effect is not None)
        if quality.completeness is None:  # too few readings to know their interval
            incomplete, missing = bool(quality.gaps), sum(gap.seconds for gap in quality.gaps)
        else:
            incomplete, missing = quality.completeness < COMPLETE, quality.missing_seconds or 0.0
        if not quality.readings or not (incomplete or left_out):
            return
        lumps = self.measured.energy.lumps
        counted = sum(amount for _, _, amount in lumps) / MILLIONTHS
        since_counted = sum(end - start for start, end, _ in lumps) / SECOND
        if incomplete and counted and not left_out and missing <= since_counted:
            yield self._one(
                "data", counted, "high", text="data_counted", reason="counted", missing_seconds=missing,
                counted_kwh=counted,
            )  # fmt: skip
            return
        uncounted_seconds = max(missing - since_counted, 0.0) if incomplete else 0.0
        unknown = uncounted_seconds / 3600 * max(mean or 0.0, 0.0) / 1000
        kind = "data_both" if incomplete and left_out else "data_missing" if incomplete else "data_left_out"
        if kind == "data_missing" and counted:
            kind = "data_partly"
        is_unknown = incomplete and mean is None
        if is_unknown:
            kind = "data_unknown"
        yield self._one(
            "data",
            None if is_unknown else unknown + left_out,
            "low",
            text=kind,
            reason="estimate",
            missing_seconds=missing,
            uncounted_seconds=uncounted_seconds,
            counted_kwh=counted,
            unknown_kwh=unknown,
            left_out_kwh=left_out,
        )

    def _confidence(self) -> Confidence:
        """How sure the energy of the period is: by how much and how long was measured."""
        energy = self.measured.energy
        length = energy.covered / DAY
        if energy.coverage >= 0.95 and length >= 0.95 * 7:
            return "high"
        return "medium" if energy.coverage >= 0.8 and length >= 2 else "low"

    def _one(
        self,
        kind: str,
        concerns: float | None,
        confidence: Confidence,
        *,
        text: str | None = None,
        reason: str | None = None,
        at: datetime | None = None,
        **given: float | None,
    ) -> Advice:
        language, energy = self.language, self.measured.energy
        figures = {name: value for name, value in given.items() if value is not None}
        words = {name: self._worded(name, value) for name, value in figures.items()}
        words["at"] = language.clock(at, self.measured.data.zone)
        coverage = language.percent(energy.coverage)
        length = language.duration(energy.covered / 1e6)
        return Advice(
            kind=kind,
            energy_kwh=concerns,
            confidence=confidence,
            title=language.say(f"advice.{kind}.title"),
            text=language.say(f"advice.{text or kind}.text", **words),
            reason=language.say(f"advice.because.{reason or 'measured'}", coverage=coverage, length=length),
            figures={**figures, "coverage": energy.coverage, "covered_seconds": energy.covered / 1e6},
        )

    def _worded(self, name: str, value: float) -> str:
        language = self.language
        if name in ("share", "coverage"):
            return language.percent(value)
        unit = {"kwh": "kWh", "w": "W", "v": "V"}.get(name.rpartition("_")[2])
        if unit == "V":
            return language.value_of(name, value, "V") if name in ("lowest_v", "highest_v") else language.plain(value)
        if unit:
            return language.quantity(value, unit)
        if name.endswith("_seconds"):
            return language.duration(value)
        if name == "quarter_hours":
            return language.count(int(value), "quarter_hour")
        return language.quantity(value, "h") if name == "hours" else language.plain(value)
