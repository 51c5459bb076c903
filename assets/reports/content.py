"""What a report says: the content that all formats show, and the JSON format itself.

`python -m assets.reports` prints its JSON schema; a test keeps `schema.json` beside this file equal to it. The
docstrings of the models are the descriptions in the schema.
"""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field

from assets.reports.analysed import Analysis, Anomaly, FailureRecord, Forecast
from assets.reports.noticed import DataQuality, Number, Part
from assets.reports.sections import Advice, AlertTimes, Comparison, EnergyRows, Load, Register, Risk
from assets.reports.texts import LanguageCode


class Generator(Part):
    name: str
    version: str


class Device(Part):
    id: str
    name: str
    type: str
    location: str | None
    maker: str | None = None
    max_power_w: Number | None = None


class Period(Part):
    """The period from `start` up to, but not including, `end`, in UTC. Days are counted in the time zone `tz`."""

    start: datetime
    end: datetime
    tz: str


class WithoutDoubtful(Part):
    """A key figure without the readings that may be wrong, and when that value was reached."""

    value: Number | None
    at: datetime | None = None


# Key figures that count every reading, as all sums of energy do.
SUMS = ("energy", "energy_export")


class Kpi(Part):
    """A key figure. If `value` is null, `note` gives the reason. `at` is when the value was reached.

    The value counts every reading. `without_doubtful` is set if readings that may be wrong change it.
    """

    key: str
    label: str
    value: Number | None
    unit: str
    at: datetime | None = None
    note: str | None = None
    without_doubtful: WithoutDoubtful | None = None

    @property
    def shown(self) -> "Kpi":
        """The figure that people read: a sum as it is counted, others without readings that may be wrong."""
        if self.without_doubtful is None or self.key in SUMS:
            return self
        return self.model_copy(update={"value": self.without_doubtful.value, "at": self.without_doubtful.at})


class Day(Part):
    """A calendar day in the report's time zone, or the part of it within the period.

    `hours` is its length; a day with a clock change has 23 or 25 hours. `energy_kwh` is the energy taken and
    `energy_export_kwh` the energy fed in; `covered_hours` is the time of which it is known when. `completeness` is a
    share from 0 to 1. `doubtful_kwh` and `doubtful_export_kwh` are the parts of these energies that stand for readings
    that may be wrong. `trusted_kwh`, `trusted_export_kwh` and the highest power are without these readings.
    """

    day: date
    start: datetime
    end: datetime
    hours: Number
    readings: int
    energy_kwh: Number | None
    energy_export_kwh: Number | None
    covered_hours: Number
    peak_power_w: Number | None
    peak_at: datetime | None
    completeness: Number | None
    doubtful_kwh: Number = 0.0
    doubtful_export_kwh: Number = 0.0
    trusted_kwh: Number | None = None
    trusted_export_kwh: Number | None = None

    @property
    def is_whole(self) -> bool:
        """Whether enough of the day was measured to compare it with other days."""
        return self.covered_hours >= 0.9 * 24


# A usual band that so many readings are outside is that of another kind of device, such as one on 400 V.
MOST = 0.5


class MetricSummary(Part):
    """All readings of one metric. `outside_band` is the share of readings outside `band`, from 0 to 1.

    `band_source` says whether the device's metadata name the band, or it is the platform's usual one.
    """

    metric: str
    unit: str
    count: int
    min: Number
    mean: Number
    max: Number
    band: tuple[Number, Number] | None
    outside_band: Number | None
    band_source: Literal["device", "usual"] | None = None

    @property
    def judged_by(self) -> tuple[Number, Number] | None:
        """The band to judge by: the device's, or a usual one that most readings are within."""
        return self.band if self.band_source == "device" or (self.outside_band or 0) < MOST else None


class Series(Part):
    """One metric in windows of equal length: the mean, lowest and highest reading of each window, or null."""

    metric: str
    unit: str
    window_seconds: Number
    start: list[datetime]
    mean: list[Number | None]
    min: list[Number | None]
    max: list[Number | None]


class Alert(Part):
    """An alert that a rule raised. `time` is the time of the reading that raised it.

    It was raised because `metric` met `condition`, such as `>` or `<`, with `threshold_value`. The times until it was
    acknowledged and resolved count from when it was raised; null if that has not happened.
    """

    alert_id: str
    rule: str | None
    severity: str
    status: str
    message: str
    actual_value: Number | None
    threshold_value: Number | None
    time: datetime | None
    metric: str | None = None
    condition: str | None = None
    seconds_to_acknowledge: Number | None = None
    seconds_to_resolve: Number | None = None


class File(Part):
    """A file of readings that the report was made from."""

    name: str
    sha256: str | None
    rows: int | None


class Energy(Part):
    """How energy was measured. A source is `counter:<metric>` (several are joined by ` + `) or `integral:power`.

    `source` is that of the energy taken, `export_source` that of the energy fed in; null where nothing measures it.
    `coverage` is the measured share of the period, from 0 to 1, and `rule` describes the method.
    """

    source: str | None
    export_source: str | None
    coverage: Number
    rule: str


class StateTotal(Part):
    """How long the machine was in a state, the share of the period as far as it has passed (0 to 1), and its energy.

    States are off, idle, running, silent (nothing is known of its power) and maintenance.
    """

    state: str
    hours: Number
    share: Number
    energy_kwh: Number


class ReportContent(Part):
    """A report as data. Times are in UTC and unknown values are null. `alerts` has the newest of `alerts_total`.

    `failures` are those that began in the period, oldest first. Key figures and energies count every reading. The
    others (comparisons, load, metrics, series) are without the `readings_left_out` readings of power that may be wrong.
    Labels, notes and rules are texts in `language`.

    `states` is empty if the device declares neither `off_below_w` nor `idle_below_w`.
    """

    schema_version: Literal["1.0"] = "1.0"
    language: LanguageCode = "en"
    report_id: str
    generated_at: datetime
    generator: Generator
    device: Device
    period: Period
    kpis: list[Kpi]
    energy: Energy
    states: list[StateTotal] = Field(default_factory=list)
    energy_by: EnergyRows
    daily: list[Day]
    readings_left_out: int = 0
    comparisons: list[Comparison] = Field(default_factory=list)
    load: Load | None = None
    registers: list[Register] = Field(default_factory=list)
    advice: list[Advice] = Field(default_factory=list)
    risk: Risk | None = None
    metrics: list[MetricSummary]
    series: list[Series]
    analyses: list[Analysis]
    anomalies: list[Anomaly]
    anomalies_outside_period: int
    forecast: Forecast | None
    failures: list[FailureRecord] = Field(default_factory=list)
    alerts: list[Alert]
    alerts_total: int
    alert_times: AlertTimes
    data_quality: DataQuality
    files: list[File]

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()

    def kpi(self, key: str) -> Kpi:
        return next(kpi for kpi in self.kpis if kpi.key == key)

    @property
    def gauges(self) -> list[MetricSummary]:
        """The metrics whose mean and range say something: those that are not registers."""
        counted = {register.metric for register in self.registers}
        return [metric for metric in self.metrics if metric.metric not in counted]

    def metric(self, name: str) -> MetricSummary | None:
        """The summary of that metric. None if it was not measured."""
        return next((m for m in self.metrics if m.metric == name), None)

    def analysis(self, analysis_type: str) -> Analysis | None:
        """The analysis of that type. None if it was not requested."""
        return next((a for a in self.analyses if a.type == analysis_type), None)


def schema() -> dict[str, Any]:
    """The published JSON schema of a report."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | ReportContent.model_json_schema(mode="serialization")
