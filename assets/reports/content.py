"""What a report is made of and what it says: the input, and the content whose JSON schema is published.

`python -m assets.reports` prints the schema; `schema.json` beside this file is kept equal to it by a test.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from storage.devices import Counter

FORMATS = ("pdf", "excel", "json")
REPORT_ID = r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*"


class ReportError(Exception):
    """The report cannot be made; the message is for people."""


@dataclass(frozen=True)
class ReportInput:
    """All that a report says, as plain data.

    `readings` has a dataset's columns and may be empty; those outside the period are left out. Times are aware, the
    period is half-open. `analyses` maps a type that was asked for to its newest completed job, or to
    `{"missing": why}`. `alerts` are as REST answers them, the newest of `alerts_total` where those are too many to
    list. `bands` are the nominal ones, `counters` the registers, `cadence_seconds` the interval that the device is
    said to keep: as in the device's metadata, where known. `waiting_days` (UTC) have readings that came after the
    day's file was made.

    Raises:
        ValueError: a time is naive, the period is empty, or the report's id has other characters than letters,
            digits and single dashes.

    """

    report_id: str
    device_id: str
    device_name: str
    device_type: str
    location: str | None
    zone: ZoneInfo
    start: datetime
    end: datetime
    readings: pa.Table
    alerts: list[dict[str, Any]]
    analyses: dict[str, dict[str, Any]]
    generated_at: datetime
    datasets: list[dict[str, Any]]
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counters: Mapping[str, Counter] = field(default_factory=dict)
    cadence_seconds: float | None = None
    code_version: str | None = None
    alerts_total: int | None = None
    waiting_days: Sequence[date] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(REPORT_ID, self.report_id):
            raise ValueError(f"{self.report_id!r} is no report id; give letters and digits with single dashes between")
        if any(moment.tzinfo is None for moment in (self.start, self.end, self.generated_at)):
            raise ValueError("start, end and generated_at need an offset; a naive time is an error, not a guess")
        if not self.start < self.end:
            raise ValueError(f"the period from {self.start} to {self.end} is empty")


@dataclass(frozen=True)
class Report:
    """The finished file; `facts` has its size, figures and, for a PDF, its pages."""

    content: bytes
    media_type: str
    suffix: str
    facts: dict[str, Any]


Number = Annotated[float, Field(allow_inf_nan=False)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Generator(Part):
    name: str
    version: str


class Device(Part):
    id: str
    name: str
    type: str
    location: str | None


class Period(Part):
    """Half-open, in UTC; `tz` is the zone that days are counted in."""

    start: datetime
    end: datetime
    tz: str


class Kpi(Part):
    """A key figure; null where it could not be measured, then `note` says why. `at` is when it was reached."""

    key: str
    label: str
    value: Number | None
    unit: str
    at: datetime | None = None
    note: str | None = None


class Day(Part):
    """A calendar day of the zone, or the part of it that lies in the period; `hours` is its length (23 or 25 at times).

    `energy_kwh` is over the `covered_hours`, which readings span without a gap.
    """

    day: date
    start: datetime
    end: datetime
    hours: Number
    readings: int
    energy_kwh: Number | None
    covered_hours: Number
    peak_power_w: Number | None
    peak_at: datetime | None
    completeness: Number | None

    @property
    def is_whole(self) -> bool:
        """Whether it was measured well enough to be compared with other days."""
        return self.covered_hours >= 0.9 * 24


class MetricSummary(Part):
    """Of all readings of one metric; `outside_band` is the share of readings outside `band`, null without one."""

    metric: str
    unit: str
    count: int
    min: Number
    mean: Number
    max: Number
    band: tuple[Number, Number] | None
    outside_band: Number | None


class Series(Part):
    """A metric in windows of equal length: the mean, least and greatest reading of each; null where there is none."""

    metric: str
    unit: str
    window_seconds: Number
    start: list[datetime]
    mean: list[Number | None]
    min: list[Number | None]
    max: list[Number | None]


class Analysis(Part):
    """What became of an analysis that was asked for; `reason` says why a missing one is missing.

    `accuracy` and `summary` are what its result says of its quality and of the whole; their keys depend on the model.
    """

    type: str
    status: Literal["completed", "missing"]
    reason: str | None = None
    job_id: str | None = None
    model: str | None = None
    dataset_key: str | None = None
    completed_at: datetime | None = None
    accuracy: dict[str, Any] = {}
    summary: dict[str, Any] = {}


class Anomaly(Part):
    """A segment in which the device behaved unlike itself; `metric` is the channel that showed it most."""

    start: datetime
    end: datetime
    metric: str | None
    score: Number | None
    points: int | None


class ForecastPoint(Part):
    """An expected value with the bounds that should hold it in 95 % and in 80 % of cases."""

    timestamp: datetime
    value: Number
    lower: Number | None
    upper: Number | None
    lower_80: Number | None
    upper_80: Number | None


class PastPoint(Part):
    timestamp: datetime
    value: Number


class Forecast(Part):
    metric: str
    unit: str
    points: list[ForecastPoint]
    history: list[PastPoint]
    energy_next_24h_kwh: Number | None


class Alert(Part):
    alert_id: str
    rule: str | None
    severity: str
    status: str
    message: str
    actual_value: Number | None
    threshold_value: Number | None
    time: datetime | None


class Gap(Part):
    start: datetime
    end: datetime
    seconds: Number


class DataQuality(Part):
    """`completeness` is the share of the period that readings cover at the device's cadence.

    `measured_until` is before the period's end where the report was made earlier. `gaps` are those longer than
    `gap_rule_seconds`, the longest first and at most a thousand of `gaps_total`. Readings of `waiting_days` (UTC)
    came after the day's file was made, and are in a later report.
    """

    readings: int
    first: datetime | None
    last: datetime | None
    cadence_seconds: Number | None
    cadence_source: Literal["declared", "median"] | None
    completeness: Number | None
    missing_seconds: Number | None
    measured_until: datetime
    gap_rule_seconds: Number
    gaps: list[Gap]
    gaps_total: int
    waiting_days: list[date]


class File(Part):
    """A file of readings that the report was made from."""

    name: str
    sha256: str | None
    rows: int | None


class Energy(Part):
    """Where the energy comes from: `counter:<metric>`, `power`, or nowhere; and by which rule."""

    source: str | None
    rule: str


class ReportContent(Part):
    """A report as data. Times are in UTC; what is not known is null. `alerts` are the newest of `alerts_total`."""

    schema_version: Literal["1.0"] = "1.0"
    report_id: str
    generated_at: datetime
    generator: Generator
    device: Device
    period: Period
    kpis: list[Kpi]
    energy: Energy
    daily: list[Day]
    metrics: list[MetricSummary]
    series: list[Series]
    analyses: list[Analysis]
    anomalies: list[Anomaly]
    anomalies_outside_period: int
    forecast: Forecast | None
    alerts: list[Alert]
    alerts_total: int
    data_quality: DataQuality
    files: list[File]

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()

    def kpi(self, key: str) -> Kpi:
        return next(kpi for kpi in self.kpis if kpi.key == key)

    def metric(self, name: str) -> MetricSummary | None:
        """The range of that metric; None if it was not measured."""
        return next((m for m in self.metrics if m.metric == name), None)

    def analysis(self, analysis_type: str) -> Analysis | None:
        """What became of that analysis; None if it was not asked for."""
        return next((a for a in self.analyses if a.type == analysis_type), None)


def schema() -> dict[str, Any]:
    """The published JSON schema of a report."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | ReportContent.model_json_schema(mode="serialization")
