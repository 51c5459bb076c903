"""What to do: the findings of a report that are worth somebody's time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from assets.energy import standby
from assets.energy.cells import MILLIONTHS
from assets.energy.figures import WELL_COVERED
from assets.reports.advice_words import AdviceWords
from assets.reports.analysed import Anomaly
from assets.reports.content import MetricSummary, StateTotal
from assets.reports.measures import Measured
from assets.reports.noticed import DataQuality
from assets.reports.sections import Advice, Confidence, Risk
from assets.reports.urgent import urgent
from storage.times import DAY, HOUR, QUARTER, SECOND, moment

MIN_SHARE = 0.05  # of the energy: less outside working hours, or idling, is not worth a word
MIN_OUTSIDE_BAND = 0.001  # of the readings
COMPLETE = 0.98
# The highest demand stands out if it is this much above what 1 % of the quarter hours exceed; of three days or more.
STANDS_OUT, USUAL_SHARE, MIN_QUARTERS = 1.1, 0.99, 3 * 96
MIN_FOR_ESTIMATE = 0.5  # of the period: what was measured in less says nothing of the rest
MIN_FOR_A_YEAR = 0.95 * 28 * DAY  # of measured time: less says nothing of a year
RANKS: tuple[Confidence, ...] = ("high", "medium", "low")


@dataclass(frozen=True)
class Adviser:
    """Words the advice of a report."""

    words: AdviceWords
    quality: DataQuality
    states: list[StateTotal]
    metrics: list[MetricSummary]
    risk: Risk | None = None
    anomalies: Sequence[Anomaly] = ()

    @property
    def measured(self) -> Measured:
        """What was measured, without readings that may be wrong."""
        return self.words.measured.trusted

    def advice(self) -> list[Advice]:
        """A high risk and what to check first; then by the energy that it concerns, what is not about energy last."""
        first = urgent(self.words, self.risk, self.anomalies)
        found = [*self._outside_hours(), *self._idle(), *self._peak(), *self._voltage(), *self._data()]
        return [*first, *sorted(found, key=lambda one: -(one.energy_kwh if one.energy_kwh is not None else -1))]

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
        yield self.words.one(
            "outside_hours",
            found.outside_kwh,
            None,
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
        yield self.words.one(
            "idle",
            idle.energy_kwh,
            None,
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
        yield self.words.one(
            "peak",
            excess,
            None,
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
        yield self.words.one(
            "voltage",
            None,
            "medium" if is_usual else self.words.measured_confidence(),
            reason="usual_band" if is_usual else None,
            share=voltage.outside_band or 0.0,
            low_v=band[0],
            high_v=band[1],
            lowest_v=voltage.min,
            highest_v=voltage.max,
        )

    def _data(self) -> Iterator[Advice]:
        quality, energy = self.quality, self.measured.energy
        if not quality.readings:
            if not quality.absent_days:
                yield self.words.one("data", None, "high", text="data_none", reason="missing")
            return
        # Of what was measured for a short time only, nobody can tell what was used in the rest.
        mean = energy.mean_power if energy.coverage >= MIN_FOR_ESTIMATE else None
        effects = [f.effect for f in quality.findings if not f.counted and f.unit == "kWh"]
        left_out = sum(abs(effect) for effect in effects if effect is not None)
        if quality.completeness is None:  # too few readings to know their interval
            incomplete, missing = bool(quality.gaps), sum(gap.seconds for gap in quality.gaps)
        else:
            incomplete, missing = quality.completeness < COMPLETE, quality.missing_seconds or 0.0
        if not (incomplete or left_out):
            return
        lumps = energy.lumps
        counted = sum(amount for _, _, amount in lumps) / MILLIONTHS
        since_counted = sum(end - start for start, end, _ in lumps) / SECOND
        if incomplete and counted and not left_out and missing <= since_counted:
            yield self.words.one(
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
            kind = "data_unknown" if kind == "data_missing" else f"{kind}_unknown"
        yield self.words.one(
            "data",
            None if is_unknown else unknown + left_out,
            "high" if is_unknown else "low",
            text=kind,
            reason="missing" if is_unknown else "estimate",
            missing_seconds=missing,
            uncounted_seconds=uncounted_seconds,
            counted_kwh=counted,
            unknown_kwh=unknown,
            left_out_kwh=left_out,
        )
