"""What a report says of a machine's energy beyond its figures: comparison, load, meters, risk, and what to do."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from assets.reports.comparison_periods import Basis
from assets.reports.noticed import Number, Part


class EnergyRow(Part):
    """Energy of a day, a week from Monday or a month, or of the part of it within the period.

    `hours` is its length and `covered_hours` the part of it of which it is known when the energy was used.
    """

    start: datetime
    end: datetime
    hours: Number
    energy_kwh: Number | None
    energy_export_kwh: Number | None
    covered_hours: Number
    readings: int
    peak_power_w: Number | None
    peak_at: datetime | None

    @property
    def is_whole(self) -> bool:
        """Whether enough of it was measured to compare it with others."""
        return self.covered_hours >= 0.9 * self.hours


class EnergyRows(Part):
    """Energy by day up to 62 days, by week up to 26 weeks, else by month. `total` is that of the period."""

    unit: Literal["day", "week", "month"]
    rows: list[EnergyRow]
    total: EnergyRow


class Compared(Part):
    """A key figure beside that of another period. `change` is relative: 0.1 is 10 % more.

    `difference` is in `unit`; of a share, 0.1 is ten percentage points more.
    """

    key: str
    label: str
    unit: str
    value: Number | None
    earlier: Number | None
    change: Number | None
    difference: Number | None = None


class Comparison(Part):
    """The same figures of an earlier period: the one just before, or the same one a year before.

    `coverage` is the measured share of that period, from 0 to 1. Energy is per day of 24 measured hours, so that
    periods of different lengths can be compared.
    """

    basis: Basis
    start: datetime
    end: datetime
    coverage: Number
    figures: list[Compared]

    def figure(self, key: str) -> Compared | None:
        return next((figure for figure in self.figures if figure.key == key), None)


class Load(Part):
    """How high the load is, and when, from the quarter hours that were measured well.

    `duration_curve_w` has 101 values: the load (W) that is reached or exceeded in 0, 1, … 100 % of these quarter
    hours. `by_hour_w` has its mean by weekday (Monday first) and hour of the day in the report's time zone; null where
    nothing was measured.
    """

    quarter_hours: int
    duration_curve_w: list[Number]
    by_hour_w: list[list[Number | None]]


class Register(Part):
    """What a meter's register counted in the period, in `unit`, and its first and last reading there."""

    metric: str
    unit: str
    consumption: Number | None
    first: Number | None
    first_at: datetime | None
    last: Number | None
    last_at: datetime | None


class Driver(Part):
    """A metric on which the risk of failure depends, with its share from 0 to 1."""

    metric: str
    share: Number


class Risk(Part):
    """The probability, from 0 to 1, that the machine fails within `horizon_hours` after `as_of`.

    `failures_tested` failures were held out from the model; it warned before `failures_found` of them, and in
    `false_alarm_share` of the time without a failure.
    """

    probability: Number
    as_of: datetime | None
    horizon_hours: Number | None
    drivers: list[Driver]
    failures_learnt_from: int | None
    failures_tested: int | None
    failures_found: int | None
    false_alarm_share: Number | None


Confidence = Literal["high", "medium", "low"]


class Advice(Part):
    """Something to do about what was found. The most energy comes first.

    `energy_kwh` is the energy of the period that it concerns, not what is saved; null where it is not about energy.
    `figures` are the numbers in its text.
    """

    kind: Literal["outside_hours", "idle", "peak", "voltage", "data"]
    energy_kwh: Number | None
    confidence: Confidence
    title: str
    text: str
    reason: str
    figures: dict[str, Number] = Field(default_factory=dict)


class AlertTimes(Part):
    """How long alerts took: from being raised until somebody acknowledged or resolved them. Medians, in seconds."""

    acknowledged: int
    median_seconds_to_acknowledge: Number | None
    resolved: int
    median_seconds_to_resolve: Number | None
