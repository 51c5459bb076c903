"""Alerts: what rules raised, and what people did about it."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from serving.dependencies import CurrentPrincipal, DatabaseSession, DeviceId, Moment, Text
from serving.http.errors import Conflict, Invalid, NotFound, problems
from serving.http.pagination import SORT, During, Page, paginate
from serving.rules.schemas import Severity
from storage.notifications import Notification, NotificationAttempt
from storage.rules import Alert
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

Status = Literal["open", "acknowledged", "resolved"]


class AlertPublic(BaseModel):
    """An alert; `rule` is what the rule said when it fired, `reading_time` the time of the reading that met it."""

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
    resolved_at: Moment | None
    created_at: Moment
    reading_time: Moment
    rule: dict[str, Any]


class AlertAnswer(BaseModel):
    success: Literal[True] = True
    data: AlertPublic


class AlertList(BaseModel):
    success: Literal[True] = True
    data: list[AlertPublic]
    total: int
    page: int
    page_size: int


class AlertQuery(Page, During):
    """`start_time` and `end_time` are about when the alert was raised."""

    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: DeviceId | None = None
    rule_id: UUID | None = None
    status: Status | None = None
    severity: Severity | None = None
    sort: Annotated[Literal["created_at", "-created_at", "reading_time", "-reading_time"], SORT] = "-created_at"


class AttemptPublic(BaseModel):
    """One try: `sent`, `failed` or `unconfigured`, and what the other side said."""

    attempted_at: Moment
    outcome: str
    detail: str | None


class NotificationPublic(BaseModel):
    """An alert's way over one channel.

    `pending` until `sent`, or `failed` after the last attempt; `unconfigured`: the channel has no address;
    `rate_limited`: too many for the device in an hour; `expired`: the reading was too old to send.
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


class Acknowledgement(BaseModel):
    """Who has seen it. Whoever sends a key is known by its name, and what is written here is not looked at."""

    acknowledged_by: Annotated[Text, Field(min_length=1, max_length=255, examples=["user@example.com"])] | None = None


@router.get("")
def list_alerts(session: DatabaseSession, query: Annotated[AlertQuery, Query()]) -> AlertList:
    """Alerts, newest first unless sorted otherwise."""
    filters = ("tenant_id", "device_id", "rule_id", "status", "severity")
    rows, total = paginate(session, select(Alert), query, *filters, during="created_at")
    return AlertList(data=[_public(row) for row in rows], total=total, page=query.page, page_size=query.page_size)


@router.get("/{alert_id}", responses=problems(NotFound))
def get_alert(session: DatabaseSession, alert_id: UUID) -> AlertAnswer:
    """One alert."""
    return AlertAnswer(data=_public(_standing(session, alert_id)))


@router.get("/{alert_id}/notifications", responses=problems(NotFound))
def list_notifications(session: DatabaseSession, alert_id: UUID) -> NotificationList:
    """To whom an alert was sent, or why not: its channels, and every attempt."""
    _standing(session, alert_id)
    attempts: dict[UUID, list[AttemptPublic]] = {}
    ids = select(Notification.notification_id).where(Notification.alert_id == alert_id)
    made = select(NotificationAttempt).where(col(NotificationAttempt.notification_id).in_(ids))
    for attempt in session.exec(made.order_by(col(NotificationAttempt.id))):
        attempts.setdefault(attempt.notification_id, []).append(
            AttemptPublic.model_validate(attempt, from_attributes=True)
        )
    rows = session.exec(
        select(Notification).where(Notification.alert_id == alert_id).order_by(col(Notification.channel))
    )
    return NotificationList(
        data=[
            NotificationPublic.model_validate({**row.model_dump(), "attempts": attempts.get(row.notification_id, [])})
            for row in rows
        ]
    )


@router.patch("/{alert_id}/acknowledge", responses=problems(NotFound, Conflict))
def acknowledge_alert(
    session: DatabaseSession, principal: CurrentPrincipal, alert_id: UUID, body: Acknowledgement | None = None
) -> AlertAnswer:
    """Say that somebody has seen it; the first one stays on record."""
    alert = _standing(session, alert_id, for_update=True)
    who = principal.name or (body.acknowledged_by if body else None)
    if who is None:
        raise Invalid("say who has seen it", field="acknowledged_by")
    if alert.status == "resolved":
        raise Conflict("the alert is resolved already; there is nothing left to acknowledge")
    if alert.status == "open":
        alert.status, alert.acknowledged_by, alert.acknowledged_at = "acknowledged", who, utc_now()
        session.commit()
    return AlertAnswer(data=_public(alert))


@router.patch("/{alert_id}/resolve", responses=problems(NotFound))
def resolve_alert(session: DatabaseSession, alert_id: UUID) -> AlertAnswer:
    """Say that it is over; doing so twice changes nothing."""
    alert = _standing(session, alert_id, for_update=True)
    if alert.status != "resolved":
        alert.status, alert.resolved_at = "resolved", utc_now()
        session.commit()
    return AlertAnswer(data=_public(alert))


def _standing(session: Session, alert_id: UUID, *, for_update: bool = False) -> Alert:
    """The alert; two people who press a button at once are answered one after the other."""
    alert = session.get(Alert, alert_id, with_for_update=for_update or None)
    if alert is None:
        raise NotFound(f"there is no alert {alert_id}; GET /api/v1/alerts lists them")
    return alert


def _public(alert: Alert) -> AlertPublic:
    return AlertPublic.model_validate(alert, from_attributes=True)
