"""Alerts: what rules raised, and what people did about it."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlmodel import Session, col, func, select

from serving.dependencies import Asker, DatabaseSession, DeviceId, Moment, PageQuery, Text
from serving.errors import Conflict, Invalid, NotFound, problems
from storage.database import utc_now
from storage.rules import Alert

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


class Acknowledgement(BaseModel):
    """Who has seen it. Whoever sends a key is known by its name, and what is written here is not looked at."""

    acknowledged_by: Annotated[Text, Field(min_length=1, max_length=255, examples=["user@example.com"])] | None = None


@router.get("")
def list_alerts(
    session: DatabaseSession,
    page: PageQuery,
    device_id: Annotated[DeviceId | None, Query()] = None,
    rule_id: UUID | None = None,
    status: Status | None = None,
) -> AlertList:
    """Alerts, newest first."""
    found = select(Alert)
    for column, value in ((Alert.device_id, device_id), (Alert.rule_id, rule_id), (Alert.status, status)):
        if value is not None:
            found = found.where(col(column) == value)
    total = session.exec(select(func.count()).select_from(found.subquery())).one()
    ordered = found.order_by(col(Alert.created_at).desc(), col(Alert.alert_id))
    rows = session.exec(ordered.offset(page.offset).limit(page.page_size)).all()
    return AlertList(data=[_public(row) for row in rows], total=total, page=page.page, page_size=page.page_size)


@router.get("/{alert_id}", responses=problems(NotFound))
def get_alert(session: DatabaseSession, alert_id: UUID) -> AlertAnswer:
    """One alert."""
    return AlertAnswer(data=_public(_standing(session, alert_id)))


@router.patch("/{alert_id}/acknowledge", responses=problems(NotFound, Conflict))
def acknowledge_alert(
    session: DatabaseSession, asker: Asker, alert_id: UUID, body: Acknowledgement | None = None
) -> AlertAnswer:
    """Say that somebody has seen it; the first one stays on record."""
    alert = _standing(session, alert_id)
    who = asker.name or (body.acknowledged_by if body else None)
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
    alert = _standing(session, alert_id)
    if alert.status != "resolved":
        alert.status, alert.resolved_at = "resolved", utc_now()
        session.commit()
    return AlertAnswer(data=_public(alert))


def _standing(session: Session, alert_id: UUID) -> Alert:
    # Locked: two people who press the button at once are answered one after the other.
    alert = session.get(Alert, alert_id, with_for_update=True)
    if alert is None:
        raise NotFound(f"there is no alert {alert_id}; GET /api/v1/alerts lists them")
    return alert


def _public(alert: Alert) -> AlertPublic:
    return AlertPublic.model_validate(alert, from_attributes=True)
