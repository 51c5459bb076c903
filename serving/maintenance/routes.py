"""Maintenance windows: when machines are worked on, and the alerts that were suppressed meanwhile."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlmodel import Session

from serving.auth.identified import IdentifiedRoute
from serving.auth.tenancy import DatabaseSession
from serving.http.errors import Invalid, NotFound, PreconditionFailed, problems
from serving.http.etags import UNCHANGED, IfMatch, IfNoneMatch, not_modified, refuse_stale
from serving.http.pagination import Page, paginate
from serving.maintenance.schemas import (
    SuppressedPublic,
    SuppressedQuery,
    WindowAnswer,
    WindowFields,
    WindowPublic,
    WindowQuery,
)
from storage.devices import Device
from storage.maintenance import MaintenanceWindow, SuppressedAlerts, windows
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/maintenance-windows", tags=["maintenance"], route_class=IdentifiedRoute)


@router.get("")
def list_windows(session: DatabaseSession, query: Annotated[WindowQuery, Query()]) -> Page[WindowPublic]:
    """List maintenance windows, latest first by default. With `device_id`, windows of all devices are included."""
    statement = windows(query.device_id, query.at)
    found = paginate(session, statement, query, "tenant_id", columns={"from": "starts_at", "to": "ends_at"})
    return Page[WindowPublic].of(query, [_public(row) for row in found.rows], found)


@router.get("/held-back")
def list_suppressed_alerts(
    session: DatabaseSession, query: Annotated[SuppressedQuery, Query()]
) -> Page[SuppressedPublic]:
    """List suppressed alerts by rule and device, latest first by default."""
    found = paginate(session, SuppressedAlerts, query, "tenant_id", "device_id", "rule_id")
    items = [SuppressedPublic.model_validate(row, from_attributes=True) for row in found.rows]
    return Page[SuppressedPublic].of(query, items, found)


@router.get("/{window_id}", response_model=WindowAnswer, responses=problems(NotFound) | UNCHANGED)
def get_window(session: DatabaseSession, response: Response, window_id: UUID, if_none_match: IfNoneMatch = None) -> Any:
    """One maintenance window, with its ETag and Last-Modified."""
    window = _existing(session, window_id)
    return not_modified(response, window, if_none_match) or WindowAnswer(data=_public(window))


@router.post("", status_code=201)
def create_window(session: DatabaseSession, body: WindowFields) -> WindowAnswer:
    """Create a maintenance window. It may be in the past, for readings that arrive late."""
    window = MaintenanceWindow(**_columns(session, body))
    session.add(window)
    session.commit()
    return WindowAnswer(data=_public(window))


@router.put("/{window_id}", responses=problems(NotFound, PreconditionFailed))
def update_window(
    session: DatabaseSession, window_id: UUID, body: WindowFields, if_match: IfMatch = None
) -> WindowAnswer:
    """Replace the fields of a maintenance window."""
    window = _existing(session, window_id, for_update=True)
    refuse_stale(window, if_match)
    for name, value in _columns(session, body).items():
        setattr(window, name, value)
    window.updated_at = utc_now()
    session.commit()
    return WindowAnswer(data=_public(window))


@router.delete("/{window_id}", status_code=204, responses=problems(NotFound))
def delete_window(session: DatabaseSession, window_id: UUID) -> None:
    """Delete a maintenance window."""
    session.delete(_existing(session, window_id))
    session.commit()


def _columns(session: Session, body: WindowFields) -> dict[str, Any]:
    """The row's values; a tenant's window cannot cover another tenant's device."""
    device = session.get(Device, body.device_id) if body.device_id else None
    if device and body.tenant_id not in (None, device.tenant_id):
        raise Invalid(f"the device {body.device_id} does not belong to {body.tenant_id}", field="device_id")
    return body.model_dump()


def _existing(session: Session, window_id: UUID, *, for_update: bool = False) -> MaintenanceWindow:
    window = session.get(MaintenanceWindow, window_id, with_for_update=for_update or None)
    if window is None:
        raise NotFound(f"there is no maintenance window {window_id}; GET /api/v1/maintenance-windows lists the windows")
    return window


def _public(window: MaintenanceWindow) -> WindowPublic:
    return WindowPublic.model_validate(window, from_attributes=True)
