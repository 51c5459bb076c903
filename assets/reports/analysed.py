"""What analyses found, as a report says it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from assets.reports.noticed import Number, Part


class Analysis(Part):
    """A requested analysis.

    If it is missing, `reason` says why, and `detail` what the analysis itself said. If it is completed, they say so of
    a newer one that was to be made for the report and could not be.

    It covers readings from `covers_start` up to `covers_end`. Since it was made, the readings of `changed_days` of
    these days have changed; if there are any, it may not fit the other figures. `accuracy` (the quality of the model)
    and `summary` (the overall result) have keys that depend on the model.
    """

    type: str
    status: Literal["completed", "missing"]
    reason: str | None = None
    detail: str | None = None
    job_id: str | None = None
    model: str | None = None
    dataset_key: str | None = None
    completed_at: datetime | None = None
    covers_start: datetime | None = None
    covers_end: datetime | None = None
    changed_days: int = 0
    accuracy: dict[str, Any] = Field(default_factory=dict)
    summary: dict[str, Any] = Field(default_factory=dict)


class Anomaly(Part):
    """An episode of unusual behaviour. `metric` is the channel that showed it most; `why` is an English sentence.

    `kind` is `unusual`, `frozen` (every metric held its value exactly) or `level_change`. `seconds` is how long it
    lasted; `end` is its last reading, which stands for one interval. `drivers` are the metrics that showed it, the
    first one most. `energy_kwh` was used in the quarter hours that it touches, `excess_kwh` more than is usual then.
    """

    start: datetime
    end: datetime
    metric: str | None
    score: Number | None
    points: int | None
    kind: str | None = None
    why: str | None = None
    seconds: Number | None = None
    drivers: list[str] = Field(default_factory=list)
    energy_kwh: Number | None = None
    excess_kwh: Number | None = None


class ForecastPoint(Part):
    """An expected value, and the ranges that should contain it in 95 % and in 80 % of cases."""

    timestamp: datetime
    value: Number
    lower: Number | None
    upper: Number | None
    lower_80: Number | None
    upper_80: Number | None


class PastPoint(Part):
    """A measured value from before the forecast."""

    timestamp: datetime
    value: Number


class ForecastMonth(Part):
    """A calendar month that the forecast reaches into, from its `start` up to `until`, where the forecast ends.

    `expected_kwh` is what was measured before the forecast begins, `measured_kwh`, and the forecast of what follows.
    The bounds should contain it in 95 % and in 80 % of cases.
    """

    start: datetime
    until: datetime
    measured_kwh: Number | None
    expected_kwh: Number
    lower: Number | None
    upper: Number | None
    lower_80: Number | None
    upper_80: Number | None


class Forecast(Part):
    """The forecast of one metric, with the measured values before it. `months` is empty unless it is of energy."""

    metric: str
    unit: str
    points: list[ForecastPoint]
    history: list[PastPoint]
    energy_next_24h_kwh: Number | None
    months: list[ForecastMonth] = Field(default_factory=list)


class FailureRecord(Part):
    """A recorded failure of the device; `repaired_at` is null if that is not known."""

    failed_at: datetime
    repaired_at: datetime | None
    description: str | None
