"""Alerts: what rules raised, who acknowledged it, and whom it was sent to."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlmodel import Session

from serving.alerts.schemas import (
    Acknowledgement,
    AlertAnswer,
    AlertPublic,
    AlertQuery,
    AttemptPublic,
    NotificationList,
    NotificationPublic,
)
from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import NotificationOutbox
from serving.http.errors import Conflict, Invalid, NotFound, problems
from serving.http.pagination import Page, paginate
from storage.alerts import Alert
from storage.notifications import attempts_of, notifications_of
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"], route_class=IdentifiedRoute)


@router.get("")
def list_alerts(
    session: DatabaseSession, principal: CurrentPrincipal, query: Annotated[AlertQuery, Query()]
) -> Page[AlertPublic]:
    """List alerts, newest first by default."""
    filters = ("tenant_id", "device_id", "rule_id", "status", "severity")
    found = paginate(session, Alert, query, *filters, during="created_at")
    return Page[AlertPublic].of(query, [AlertPublic.seen_by(principal.tenant_id, row) for row in found.rows], found)


@router.get("/{alert_id}", responses=problems(NotFound))
def get_alert(session: DatabaseSession, principal: CurrentPrincipal, alert_id: UUID) -> AlertAnswer:
    """One alert."""
    return AlertAnswer(data=AlertPublic.seen_by(principal.tenant_id, _existing(session, alert_id)))


@router.get("/{alert_id}/notifications", responses=problems(NotFound))
def list_notifications(
    session: DatabaseSession, principal: CurrentPrincipal, outbox: NotificationOutbox, alert_id: UUID
) -> NotificationList:
    """An alert's notifications by channel, with every attempt to send them.

    A tenant sees what receivers answered on channels with an address of its own. On other channels it sees how its own
    rules' notifications ended. It does not see who else is notified by a rule of all tenants.
    """
    alert, tenant_id = _existing(session, alert_id), principal.tenant_id
    attempts: dict[UUID, list[AttemptPublic]] = {}
    for attempt in attempts_of(session, alert_id):
        item = AttemptPublic.model_validate(attempt, from_attributes=True)
        attempts.setdefault(attempt.notification_id, []).append(item)
    shown = []
    for row in notifications_of(session, alert_id):
        has_details = tenant_id is None or outbox.has_own_address(row.channel, tenant_id)
        if has_details or alert.rule.get("tenant_id") == tenant_id:
            made = attempts.get(row.notification_id, [])
            made = made if has_details else [attempt.without_detail() for attempt in made]
            shown.append(NotificationPublic.model_validate({**row.model_dump(), "attempts": made}))
    return NotificationList(data=shown)


@router.patch("/{alert_id}/acknowledge", responses=problems(NotFound, Conflict))
def acknowledge_alert(
    session: DatabaseSession, principal: CurrentPrincipal, alert_id: UUID, body: Acknowledgement | None = None
) -> AlertAnswer:
    """Acknowledge an alert. The first acknowledgement stays on record."""
    alert = _existing(session, alert_id, for_update=True)
    name = principal.name or (body.acknowledged_by if body else None)
    if name is None:
        raise Invalid("acknowledged_by is missing; send the name of the person", field="acknowledged_by")
    if alert.status == "resolved":
        raise Conflict("the alert is already resolved and cannot be acknowledged")
    if alert.status == "open":
        alert.status, alert.acknowledged_by, alert.acknowledged_at = "acknowledged", name, utc_now()
        session.commit()
    return AlertAnswer(data=AlertPublic.seen_by(principal.tenant_id, alert))


@router.patch("/{alert_id}/resolve", responses=problems(NotFound))
def resolve_alert(session: DatabaseSession, principal: CurrentPrincipal, alert_id: UUID) -> AlertAnswer:
    """Resolve an alert. A resolved alert stays as it is."""
    alert = _existing(session, alert_id, for_update=True)
    if alert.status != "resolved":
        alert.status, alert.resolved_at = "resolved", utc_now()
        session.commit()
    return AlertAnswer(data=AlertPublic.seen_by(principal.tenant_id, alert))


def _existing(session: Session, alert_id: UUID, *, for_update: bool = False) -> Alert:
    """The alert; `for_update`, of two requests at once the second waits for the first."""
    alert = session.get(Alert, alert_id, with_for_update=for_update or None)
    if alert is None:
        raise NotFound(f"there is no alert {alert_id}; GET /api/v1/alerts lists the alerts")
    return alert
