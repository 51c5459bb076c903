"""Alerts: what rules raised, who acknowledged it, and whom it was sent to."""

from collections.abc import Callable, Sequence
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
    BulkAcknowledgement,
    BulkResolution,
    ChangedAlerts,
    ChangedAlertsAnswer,
    FailedAlert,
    NotificationList,
    NotificationPublic,
    Resolution,
)
from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import NotificationOutbox
from serving.http.errors import Conflict, Invalid, NotFound, problems
from serving.http.pagination import Page, paginate
from storage.access import Principal
from storage.alerts import Alert, alerts_for_update
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
    return AlertAnswer(data=AlertPublic.seen_by(principal.tenant_id, existing_alert(session, alert_id)))


@router.get("/{alert_id}/notifications", responses=problems(NotFound))
def list_notifications(
    session: DatabaseSession, principal: CurrentPrincipal, outbox: NotificationOutbox, alert_id: UUID
) -> NotificationList:
    """An alert's notifications by channel, with every attempt to send them.

    A tenant sees what receivers answered on channels with an address of its own. On other channels it sees how its own
    rules' notifications ended. It does not see who else is notified by a rule of all tenants.
    """
    alert, tenant_id = existing_alert(session, alert_id), principal.tenant_id
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
    alert = existing_alert(session, alert_id, for_update=True)
    body = body or Acknowledgement()
    if _acknowledge(alert, _acknowledging(principal, body), body.note):
        session.commit()
    return AlertAnswer(data=AlertPublic.seen_by(principal.tenant_id, alert))


@router.patch("/{alert_id}/resolve", responses=problems(NotFound))
def resolve_alert(
    session: DatabaseSession, principal: CurrentPrincipal, alert_id: UUID, body: Resolution | None = None
) -> AlertAnswer:
    """Resolve an alert. A resolved alert stays as it is."""
    alert = existing_alert(session, alert_id, for_update=True)
    body = body or Resolution()
    if _resolve(alert, principal.name or body.resolved_by, body.note):
        session.commit()
    return AlertAnswer(data=AlertPublic.seen_by(principal.tenant_id, alert))


@router.post("/acknowledge")
def acknowledge_alerts(
    session: DatabaseSession, principal: CurrentPrincipal, body: BulkAcknowledgement
) -> ChangedAlertsAnswer:
    """Acknowledge up to 1,000 alerts with one note. Each succeeds or fails by itself."""
    name = _acknowledging(principal, body)
    return _change_all(session, body.alert_ids, lambda alert: _acknowledge(alert, name, body.note))


@router.post("/resolve")
def resolve_alerts(session: DatabaseSession, principal: CurrentPrincipal, body: BulkResolution) -> ChangedAlertsAnswer:
    """Resolve up to 1,000 alerts with one note. Each succeeds or fails by itself."""
    name = principal.name or body.resolved_by
    return _change_all(session, body.alert_ids, lambda alert: _resolve(alert, name, body.note))


def _acknowledging(principal: Principal, body: Acknowledgement) -> str:
    """The name of the person who acknowledges.

    Raises:
        Invalid: The platform is open, and the body names nobody.

    """
    name = principal.name or body.acknowledged_by
    if name is None:
        raise Invalid("acknowledged_by is missing; send the name of the person", field="acknowledged_by")
    return name


def _acknowledge(alert: Alert, name: str, note: str | None) -> bool:
    """Whether this acknowledged the alert; False if somebody has before.

    Raises:
        Conflict: The alert is resolved.

    """
    if alert.status == "resolved":
        raise Conflict("the alert is already resolved and cannot be acknowledged")
    if alert.status == "acknowledged":
        return False
    alert.status, alert.acknowledged_by, alert.acknowledged_at = "acknowledged", name, utc_now()
    alert.acknowledgement_note = note
    return True


def _resolve(alert: Alert, name: str | None, note: str | None) -> bool:
    """Whether this resolved the alert; False if somebody has before."""
    if alert.status == "resolved":
        return False
    alert.status, alert.resolved_by, alert.resolved_at, alert.resolution_note = "resolved", name, utc_now(), note
    return True


def _change_all(session: Session, alert_ids: Sequence[UUID], change: Callable[[Alert], bool]) -> ChangedAlertsAnswer:
    ids = list(dict.fromkeys(alert_ids))
    alerts = alerts_for_update(session, ids)
    changed, failed = 0, []
    for alert_id in ids:
        if alert_id not in alerts:
            failed.append(FailedAlert(alert_id=alert_id, detail=f"there is no alert {alert_id}"))
            continue
        try:
            changed += change(alerts[alert_id])
        except Conflict as conflict:
            failed.append(FailedAlert(alert_id=alert_id, detail=conflict.detail))
    session.commit()
    unchanged = len(ids) - changed - len(failed)
    return ChangedAlertsAnswer(
        success=not failed, data=ChangedAlerts(changed=changed, unchanged=unchanged, failed=failed)
    )


def existing_alert(session: Session, alert_id: UUID, *, for_update: bool = False) -> Alert:
    """The alert; `for_update`, of two requests at once the second waits for the first.

    Raises:
        NotFound: There is none with this id.

    """
    alert = session.get(Alert, alert_id, with_for_update=for_update or None)
    if alert is None:
        raise NotFound(f"there is no alert {alert_id}; GET /api/v1/alerts lists the alerts")
    return alert
