"""Requests and answers about telemetry."""

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from serving.devices.schemas import DeviceId
from serving.http.fields import UNQUOTED, Instant, Moment
from serving.http.pagination import SORT, PageQuery
from storage.comparison import Operator
from storage.corrections import CorrectionAction
from storage.devices import METRIC, Metric, Number
from storage.telemetry import Aggregate
from storage.validation import form

FIELDS = form(
    r"^ *[a-z][a-z0-9_]{0,62} *(?:, *[a-z][a-z0-9_]{0,62} *)*$",
    "name metrics, separated by commas",
)
INTERVAL = form(r"^[1-9][0-9]{0,5}[smhd]$", "give a number and s, m, h or d, such as 5m")

Limit = Annotated[
    int | None,
    Field(ge=1, le=10_000, description="Items per page: 1,000 by default, 250,000 in the formats CSV, Arrow, Parquet"),
]
Interval = Annotated[
    str | None, Field(pattern=INTERVAL, description="Length of a window: 30s, 5m, 1h, 1d", examples=["5m"])
]
Cursor = Annotated[str | None, Field(max_length=100, description="`next_cursor` of the previous page")]
FieldName = Annotated[str, Field(pattern=METRIC, examples=["power"])]
FieldNames = Annotated[
    str | None,
    Query(
        description="Metrics, separated by commas; the fields that every item has may be named too",
        max_length=2000,
        pattern=FIELDS,
        examples=["power"],
    ),
]
Order = Literal["asc", "desc"]
CORRECTED = "Apply the device's corrections; items then say in `corrected` whether one changed them"
Start = Annotated[Instant | None, Query(description="With an offset; by default 24 hours before the end")]
End = Annotated[Instant | None, Query(description="With an offset, not included; by default now")]


class Items(BaseModel):
    items: list[dict[str, Any]] = Field(
        description="Readings have `timestamp`, `device_id`, the metrics, `schema_version` and `enrichment_status`;"
        " windows have their start as `timestamp`, `device_id`, the metrics and `count`",
        examples=[
            [
                {
                    "timestamp": "2026-02-12T10:00:00Z", "device_id": "D1", "voltage": 230.5, "current": 1.2,
                    "power": 276.6, "temperature": 45.2, "schema_version": "v1", "enrichment_status": "success",
                }
            ]
        ],
    )  # fmt: skip
    next_cursor: str | None = Field(
        None, description="Cursor of the next page, with older items; null on the last page"
    )


class TelemetryAnswer(BaseModel):
    success: Literal[True] = True
    data: Items


class Consumption(BaseModel):
    value: float
    unit: str


class SuggestedCorrection(BaseModel):
    """A correction that settles a finding: with a reason, the body of POST /api/v1/devices/{device_id}/corrections."""

    metric: str
    since: Annotated[Moment, Field(serialization_alias="from")]
    until: Annotated[Moment, Field(serialization_alias="to")]
    action: CorrectionAction


class EnergyFinding(BaseModel):
    """Something that was noticed: its effect in kWh, or the counter's own unit, and whether the total includes it.

    `correction` is what people mostly do about it; null where only the device's metadata can help.
    """

    metric: str
    kind: str = Field(examples=["outlier", "meter_change", "gap"])
    start_time: Moment
    end_time: Moment
    value: float | None
    effect: float | None
    counted: bool
    detail: str
    correction: SuggestedCorrection | None = None


class StatisticsData(BaseModel, extra="allow"):
    """Statistics; every metric also has `{metric}_min`, `{metric}_max` and `{metric}_avg`.

    `power_total` is the plain sum of the power readings. Energy comes from the device's import counters if it has any,
    otherwise from the integral of power; `energy_source` names all that count. The peak demand is the mean power (W)
    of the clock quarter hour with the most energy.
    """

    device_id: str
    start_time: Moment
    end_time: Moment
    data_points: int
    metrics_left_out: int = Field(description="Metrics beyond the first 1,004, which are not in this answer")
    power_total: float | None
    energy_kwh: float | None
    energy_source: str | None = Field(examples=["integral:power", "counter:energy_total"])
    energy_export_kwh: float | None = Field(description="Energy fed in; null where nothing measures it")
    energy_export_source: str | None = Field(examples=["integral:power", "counter:export_kwh"])
    energy_coverage: float = Field(description="Measured share of the range, as far as it has passed: 0 to 1")
    mean_power: float | None = Field(description="W over the measured time; what is fed in counts as negative")
    load_factor: float | None = Field(description="Mean by highest demand, 0 to 1; null for a device that feeds in")
    peak_demand_15min: float | None
    peak_demand_15min_at: Moment | None
    peak_feed_in_15min: float | None
    peak_feed_in_15min_at: Moment | None
    energy_outdated_days: int = Field(
        description="Days whose figures in the catalogue are still being made again; their energy is from readings"
    )
    energy_findings: list[EnergyFinding] = Field(description="What was noticed about the readings that energy rests on")
    consumption: dict[str, Consumption] = Field(description="The consumption by each of the device's counters")


class StatisticsAnswer(BaseModel):
    success: Literal[True] = True
    data: StatisticsData


class FilterBody(BaseModel):
    """Only readings whose metric meets this comparison; aggregates too are made of these only."""

    field: Annotated[Metric, Field(examples=["power"])]
    op: Operator
    value: Number


class TelemetryRequest(BaseModel):
    """A query for one device (`device_id`) or several (`device_ids`)."""

    model_config = ConfigDict(extra="forbid")

    device_id: DeviceId | None = None
    device_ids: Annotated[list[DeviceId], Field(min_length=1, max_length=100)] | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    fields: Annotated[list[FieldName], Field(min_length=1, max_length=100)] | None = None
    aggregate: Aggregate | None = None
    interval: Interval = None
    filters: Annotated[list[FilterBody], Field(max_length=20)] = []
    limit: Annotated[Limit, UNQUOTED] = None
    order: Order = "asc"
    cursor: Cursor = None
    corrected: Annotated[bool, Field(description=CORRECTED)] = False


class UnregisteredDevice(BaseModel):
    """A device that sends but is not registered. The days are the first and last by the readings' time."""

    device_id: str
    first_day: date
    last_day: date
    last_received_at: Moment
    deleted: bool


class UnregisteredQuery(PageQuery):
    sort: Annotated[Literal["last_received_at", "-last_received_at", "device_id", "-device_id"], SORT] = (
        "-last_received_at"
    )
