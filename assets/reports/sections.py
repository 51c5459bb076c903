"""What a report says of a machine's energy beyond its figures: comparison, load, meters, risk, and what to do."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from assets.reports.comparison_periods import Basis
from assets.reports.noticed import Number, Part


class EnergyRow(Part):
    """Energy of a day, a week from Monday or a month, or of the part of it within the period.

    `hours` is its length and `covered_hours` the part of it of which it is known when the energy was used.
    `doubtful_kwh` and `doubtful_export_kwh` are the parts of the energies that stand for readings that may be wrong;
    the highest power is without these readings.
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
    doubtful_kwh: Number = 0.0
    doubtful_export_kwh: Number = 0.0

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

    `coverage` is the measured share of that period, from 0 to 1. Readings that may be wrong are left out of both.
    Energy is per day of 24 measured hours, so that
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


class RemainingLife(Part):
    """How many hours of use are left until a failure, and the range that holds it in a `share` of cases.

    `at_least` says that it is this or more. `hours` is null if too few of the `lives` so far are known: see `reason`.
    `warning` is what an engineer should know of it. Both are in English.
    """

    hours: Number | None
    lower: Number | None
    upper: Number | None
    share: Number | None
    at_least: bool = False
    lives: int | None
    reason: str | None
    warning: str | None


# From this probability on, a risk is named first.
HIGH_RISK = 0.5


class Risk(Part):
    """The probability, from 0 to 1, that the machine fails within `horizon_hours` after `as_of`.

    `failures_tested` failures were held out from the model; it warned before `failures_found` of them, and in
    `false_alarm_share` of the time without a failure. `warning` says that the test was missing or failed, in English.
    """

    probability: Number
    as_of: datetime | None
    horizon_hours: Number | None
    drivers: list[Driver]
    failures_learnt_from: int | None
    failures_tested: int | None
    failures_found: int | None
    false_alarm_share: Number | None
    remaining_life: RemainingLife | None = None
    warning: str | None = None

    @property
    def is_high(self) -> bool:
        """Whether a failure is likely, or the machine should not last beyond the horizon; never with a warning."""
        life = self.remaining_life.hours if self.remaining_life else None
        is_short = life is not None and self.horizon_hours is not None and life <= self.horizon_hours
        return self.warning is None and (self.probability >= HIGH_RISK or is_short)


Confidence = Literal["high", "medium", "low"]
AdviceKind = Literal["risk", "reading", "sensor", "outside_hours", "idle", "peak", "voltage", "data"]


class Advice(Part):
    """Something to do about what was found.

    A high risk of failure, readings that may be wrong and sensors that stand still come first, then the most energy.

    `energy_kwh` is the energy of the period that it concerns, not what is saved; null where it is not about energy.
    `figures` are the numbers in its text.
    """

    kind: AdviceKind
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
