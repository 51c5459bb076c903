"""Requests and answers about rules and their evaluation."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from serving.devices.schemas import DeviceId
from serving.http.errors import Invalid
from serving.http.fields import NAME, UNQUOTED, Moment, NotNull, Text
from serving.http.pagination import SORT, CursorQuery
from storage.comparison import Operator
from storage.devices import Metric, Number
from storage.rules import ANY_READING, NO_DATA, OUTSIDE_FORECAST, ActiveHours, Rule, Severity
from storage.validation import form

MAX_NO_DATA_MINUTES = 525_600  # a year
MAX_FORECAST_HOURS = 12

Scope = Literal["all_devices", "selected_devices"]
Condition = Literal[Operator, "no_data", "outside_forecast"]
Status = Literal["active", "paused", "archived"]
RuleSort = Literal[
    "rule_name", "-rule_name", "created_at", "-created_at", "updated_at", "-updated_at", "last_triggered_at",
    "-last_triggered_at",
]  # fmt: skip
MetricName = Annotated[Metric, Field(examples=["temperature"])]
Name = Annotated[Text, Field(min_length=1, max_length=255), NAME]
DeviceIds = Annotated[list[DeviceId], Field(max_length=10_000, fail_fast=True)]
CHANNEL = form(r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", "a channel's name has small letters, digits and single underscores")
Channel = Annotated[str, Field(pattern=CHANNEL, max_length=50, examples=["email"])]
Channels = Annotated[list[Channel], Field(max_length=20)]
CooldownMinutes = Annotated[int, Field(ge=0, le=525_600), UNQUOTED]
ForSeconds = Annotated[
    int, Field(ge=0, le=86_400, description="How long the condition must hold, by the readings' time"), UNQUOTED
]


class RuleCreate(BaseModel):
    """A new rule. `cooldown_minutes` is NOTIFICATION_COOLDOWN_MINUTES by default; without `severity`, alerts are high.

    With the condition `no_data` the rule watches whether a device sends at all: `threshold` is the minutes without
    data, and `property` is left out. With `outside_forecast` it watches whether what was measured leaves the stored
    forecast's 95 % band: `threshold` is how many hours in a row, and `property` the metric of the forecast.
    """

    rule_name: Name
    description: Text | None = None
    scope: Scope = "selected_devices"
    device_ids: DeviceIds = []
    property: MetricName | None = None
    condition: Condition
    threshold: Number
    for_seconds: ForSeconds = 0
    active_hours: ActiveHours | None = None
    severity: Severity | None = None
    status: Status = "active"
    notification_channels: Channels = []
    cooldown_minutes: CooldownMinutes | None = None
    tenant_id: DeviceId | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "RuleCreate":
        if self.condition == NO_DATA and self.property is None:
            self.property = ANY_READING
        check_rule(self)
        return self

    def values(self, default_cooldown: int) -> dict[str, Any]:
        """The row's values."""
        values = self.model_dump(exclude={"active_hours"})
        values["active_hours"] = hours_json(self.active_hours)
        if values["cooldown_minutes"] is None:
            values["cooldown_minutes"] = default_cooldown
        return values


class RuleUpdate(BaseModel):
    """Changes to a rule: fields that are left out stay as they are, and null clears an optional field."""

    rule_name: NotNull[Name] = None
    description: Text | None = None
    scope: NotNull[Scope] = None
    device_ids: NotNull[DeviceIds] = None
    property: NotNull[MetricName] = None
    condition: NotNull[Condition] = None
    threshold: NotNull[Number] = None
    for_seconds: NotNull[ForSeconds] = None
    active_hours: ActiveHours | None = None
    severity: Severity | None = None
    status: NotNull[Status] = None
    notification_channels: NotNull[Channels] = None
    cooldown_minutes: NotNull[CooldownMinutes] = None


class RuleStatus(BaseModel):
    status: Status


class RulePublic(BaseModel):
    rule_id: UUID
    tenant_id: str | None
    rule_name: str
    description: str | None
    scope: Scope
    device_ids: list[str]
    property: str
    condition: Condition
    threshold: float
    for_seconds: int
    active_hours: ActiveHours | None
    severity: Severity | None
    status: Status
    notification_channels: list[str]
    cooldown_minutes: int
    last_triggered_at: Moment | None
    created_at: Moment
    updated_at: Moment


class RuleQuery(CursorQuery):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: Annotated[DeviceId, Field(description="Rules that watch this device")] | None = None
    status: Status | None = None
    property: MetricName | None = None
    severity: Severity | None = None
    search: Annotated[Text, Field(max_length=100, description="Part of the name or the description")] | None = None
    sort: Annotated[RuleSort, SORT] = "-created_at"


class RuleAnswer(BaseModel):
    """A rule; after a change, `warnings` name what may not work as meant."""

    success: Literal[True] = True
    data: RulePublic
    warnings: list[str] = []


class EvaluatedRule(BaseModel):
    """A rule whose condition is met. If it did not trigger, `reason` says why."""

    rule_id: UUID
    triggered: bool
    alert_id: UUID | None
    reason: str | None = None


class Evaluation(BaseModel):
    evaluated: int
    triggered: int
    results: list[EvaluatedRule]


class EvaluationAnswer(BaseModel):
    success: Literal[True] = True
    data: Evaluation


class ReadingBody(BaseModel, extra="allow"):
    """A reading as the device sends it, with its `device_id`. Other numbers are extra metrics."""

    device_id: DeviceId
    timestamp: Any = Field(examples=["2026-02-12T10:00:00Z"])


def check_rule(rule: RuleCreate | Rule) -> None:
    """Check that the fields of a rule fit together.

    Raises:
        Invalid: They do not.

    """
    if rule.scope == "selected_devices" and not rule.device_ids:
        raise Invalid("device_ids is empty; name devices, or set scope to all_devices", field="device_ids")
    if rule.condition != NO_DATA:
        if rule.property is None:
            raise Invalid("property is missing; set it to the metric to watch", field="property")
        if rule.condition == OUTSIDE_FORECAST:
            _check_forecast_rule(rule)
        return
    if rule.property != ANY_READING:
        raise Invalid(
            f"property is {rule.property}, but a no_data rule watches no metric; leave it out or send {ANY_READING}",
            field="property",
        )
    if not 1 <= rule.threshold <= MAX_NO_DATA_MINUTES:
        raise Invalid(
            f"threshold must be 1 to {MAX_NO_DATA_MINUTES} with the condition no_data: the minutes without data",
            field="threshold",
        )
    if rule.for_seconds:
        raise Invalid(
            "for_seconds has no effect with the condition no_data; leave it out, threshold is the time",
            field="for_seconds",
        )


def _check_forecast_rule(rule: RuleCreate | Rule) -> None:
    if not (rule.threshold == int(rule.threshold) and 1 <= rule.threshold <= MAX_FORECAST_HOURS):
        raise Invalid(
            f"threshold must be a whole number from 1 to {MAX_FORECAST_HOURS} with the condition outside_forecast: the"
            " hours in a row, such as 2",
            field="threshold",
        )
    if rule.for_seconds:
        raise Invalid(
            "for_seconds has no effect with the condition outside_forecast; leave it out, threshold is the hours",
            field="for_seconds",
        )


def hours_json(hours: ActiveHours | None) -> dict[str, Any] | None:
    return None if hours is None else hours.model_dump(by_alias=True)
