"""Requests and answers about alerts and their notifications."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from serving.devices.schemas import DeviceId
from serving.http.fields import Moment, Text
from serving.http.pagination import SORT, CursorQuery, TimeRangeQuery
from storage.alerts import Alert, rule_shown
from storage.rules import Severity

Status = Literal["open", "acknowledged", "resolved"]
MAX_ALERTS_AT_ONCE = 1000


class AlertPublic(BaseModel):
    """An alert. `rule` is a copy of the rule when it fired; `reading_time` is the time of the reading that met it.

    Of a rule of all tenants, a tenant sees id, name, property, condition, threshold and severity.
    """

    alert_id: UUID
    tenant_id: str | None
    rule_id: UUID
    device_id: str
    severity: str
    message: str
    actual_value: float
    threshold_value: float
    status: Status
    acknowledged_by: str | None
    acknowledged_at: Moment | None
    acknowledgement_note: str | None
    resolved_by: str | None
    resolved_at: Moment | None
    resolution_note: str | None
    created_at: Moment
    reading_time: Moment
    rule: dict[str, Any]

    @classmethod
    def seen_by(cls, tenant_id: str | None, alert: Alert) -> Self:
        """The alert as a tenant sees it; None sees everything."""
        return cls.model_validate({**alert.model_dump(), "rule": rule_shown(alert, tenant_id)})


class AlertAnswer(BaseModel):
    success: Literal[True] = True
    data: AlertPublic


class AlertQuery(CursorQuery, TimeRangeQuery):
    """`start_time` and `end_time` apply to the time at which the alert was raised."""

    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: DeviceId | None = None
    rule_id: UUID | None = None
    status: Status | None = None
    severity: Severity | None = None
    sort: Annotated[Literal["created_at", "-created_at", "reading_time", "-reading_time"], SORT] = "-created_at"


# What a tenant is told about a channel that is not its own.
NEUTRAL_DETAILS = {"failed": "the channel did not take it", "unconfigured": "the channel has no address"}


class AttemptPublic(BaseModel):
    """One attempt to send: `sent`, `failed` or `unconfigured`, and what the receiver answered."""

    attempted_at: Moment
    outcome: str
    detail: str | None

    def without_detail(self) -> Self:
        """The attempt without what tells of the channel's address."""
        return self.model_copy(update={"detail": NEUTRAL_DETAILS.get(self.outcome)})


class NotificationPublic(BaseModel):
    """An alert's notification over one channel.

    It is `pending` until it is `sent`, or `failed` after the last attempt. It is `unconfigured` if the channel has no
    address, `rate_limited` if the device had too many within an hour, and `expired` if the reading was too old to send.
    """

    notification_id: UUID
    channel: str
    status: Literal["pending", "sent", "failed", "unconfigured", "rate_limited", "expired"]
    created_at: Moment
    sent_at: Moment | None
    next_attempt_at: Moment | None
    attempts: list[AttemptPublic]


class NotificationList(BaseModel):
    success: Literal[True] = True
    data: list[NotificationPublic]


Note = Annotated[Text, Field(max_length=2000, examples=["Bearing is being changed"])]
Person = Annotated[Text, Field(min_length=1, max_length=255, examples=["user@example.com"])]
AlertIds = Annotated[list[UUID], Field(min_length=1, max_length=MAX_ALERTS_AT_ONCE, fail_fast=True)]


class Acknowledgement(BaseModel):
    """Who acknowledges, and what they say about it. With a key, the person is the key's name."""

    acknowledged_by: Person | None = None
    note: Note | None = None


class Resolution(BaseModel):
    """Who resolves, and what they say about it. With a key, the person is the key's name."""

    resolved_by: Person | None = None
    note: Note | None = None


class BulkAcknowledgement(Acknowledgement):
    alert_ids: AlertIds


class BulkResolution(Resolution):
    alert_ids: AlertIds


class FailedAlert(BaseModel):
    alert_id: UUID
    detail: str


class ChangedAlerts(BaseModel):
    """`changed` alerts have the new status now, `unchanged` had it before; `failed` says why others do not."""

    changed: int
    unchanged: int
    failed: list[FailedAlert]


class ChangedAlertsAnswer(BaseModel):
    """`success` is false if an alert could not be changed; the others are."""

    success: bool
    data: ChangedAlerts
