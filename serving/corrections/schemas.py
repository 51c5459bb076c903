"""Requests and answers about corrections."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.http.errors import Invalid
from serving.http.fields import NOT_BLANK, Instant, Moment, Text
from serving.http.pagination import SORT, CursorQuery
from serving.telemetry.schemas import Consumption, EnergyFinding
from storage.corrections import CorrectionAction
from storage.devices import Metric, Number

Reason = Annotated[
    Text, Field(min_length=1, max_length=2000, examples=["A bus hiccup: the register read 0"]), NOT_BLANK
]


class CorrectionFields(BaseModel):
    """What is said about a metric from `from` (included) until `to` (excluded).

    `exclude`: the readings count as absent. `replace`: of a gauge, `value` is the value of each reading; of a counter,
    `value` is what it counted in the range, in kWh. `confirm`: what was noticed there is real.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    metric: Annotated[Metric, Field(examples=["energy_total"])]
    starts_at: Annotated[Instant, Field(alias="from")]
    ends_at: Annotated[Instant, Field(alias="to")]
    action: CorrectionAction
    value: Number | None = None
    reason: Reason

    @model_validator(mode="after")
    def _has_a_value_where_it_needs_one(self) -> Self:
        if self.starts_at >= self.ends_at:
            raise Invalid("from must be before to; to is not included in the range", field="from")
        if self.action == "replace" and self.value is None:
            detail = "replace needs a value: that of each reading, or of a counter the kWh that it counted in the range"
            raise Invalid(detail, field="value")
        if self.action != "replace" and self.value is not None:
            raise Invalid(f"{self.action} takes no value; leave it out, or use the action replace", field="value")
        return self


class CorrectionPublic(BaseModel):
    """A correction. `unit` is that of a counter's amount. A correction that was undone has `undone_at`."""

    correction_id: int
    device_id: str
    metric: str
    starts_at: Annotated[Moment, Field(serialization_alias="from")]
    ends_at: Annotated[Moment, Field(serialization_alias="to")]
    action: str
    value: float | None
    unit: str | None
    reason: str
    status: Literal["active", "undone"]
    created_by: str
    created_at: Moment
    undone_by: str | None
    undone_at: Moment | None
    undone_reason: str | None


class CorrectionAnswer(BaseModel):
    success: Literal[True] = True
    data: CorrectionPublic


class CorrectionQuery(CursorQuery):
    metric: Annotated[Text, Field(max_length=63)] | None = None
    status: Annotated[
        Literal["active", "undone"] | None, Field(description="Only those that count, or only those that were undone")
    ] = None
    sort: Annotated[Literal["correction_id", "-correction_id", "from", "-from", "created_at", "-created_at"], SORT] = (
        "-correction_id"
    )


class UndoFields(BaseModel):
    """Why a correction is undone."""

    reason: Reason | None = None


class Numbers(BaseModel):
    """Key figures of a range: energy taken and fed in, its measured share, and the highest quarter hours (W)."""

    energy_kwh: float | None
    energy_export_kwh: float | None
    coverage: float
    peak_demand_15min: float | None
    peak_feed_in_15min: float | None


class MetricNumbers(BaseModel):
    """Statistics of the corrected metric over a range; null without values."""

    count: int
    min: float | None
    max: float | None
    mean: float | None


class ChangedDay(BaseModel):
    """A day of the device's time zone that changes."""

    day: date
    readings: int
    before: Numbers
    after: Numbers


class PreviewData(BaseModel):
    """What a correction would change. The figures are those of the days from `start_time` to `end_time`.

    `readings` is how many readings of the metric lie in its range. `consumption` is what each counter has counted.
    """

    device_id: str
    metric: str
    readings: int
    timezone: str
    start_time: Moment
    end_time: Moment
    before: Numbers
    after: Numbers
    metric_before: MetricNumbers
    metric_after: MetricNumbers
    consumption_before: dict[str, Consumption]
    consumption_after: dict[str, Consumption]
    days: list[ChangedDay]
    findings_removed: list[EnergyFinding]
    findings_added: list[EnergyFinding]


class PreviewAnswer(BaseModel):
    success: Literal[True] = True
    data: PreviewData
