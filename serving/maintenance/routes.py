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
    window = MaintenanceWindow(**body.model_dump())
    session.add(window)
    session.flush()  # a tenant's window gets its tenant
    _check_device(session, window)
    session.commit()
    return WindowAnswer(data=_public(window))


@router.put("/{window_id}", responses=problems(NotFound, PreconditionFailed))
def update_window(
    session: DatabaseSession, window_id: UUID, body: WindowFields, if_match: IfMatch = None
) -> WindowAnswer:
    """Replace the fields of a maintenance window; its tenant stays unless a key without a tenant names another."""
    window = _existing(session, window_id, for_update=True)
    refuse_stale(window, if_match)
    known = window.device_id, window.tenant_id
    for name, value in body.model_dump(exclude=set() if body.names_tenant else {"tenant_id"}).items():
        setattr(window, name, value)
    window.updated_at = utc_now()
    session.flush()
    if known != (window.device_id, window.tenant_id):
        _check_device(session, window)
    session.commit()
    return WindowAnswer(data=_public(window))


@router.delete("/{window_id}", status_code=204, responses=problems(NotFound))
def delete_window(session: DatabaseSession, window_id: UUID) -> None:
    """Delete a maintenance window."""
    session.delete(_existing(session, window_id))
    session.commit()


def _check_device(session: Session, window: MaintenanceWindow) -> None:
    """Check that a tenant's window covers a device of that tenant, if any; others' ids might as well not exist.

    Raises:
        Invalid: It does not.

    """
    if window.device_id is not None and window.tenant_id is not None:
        device = session.get(Device, window.device_id)
        if device is None or device.tenant_id != window.tenant_id:
            detail = f"{window.tenant_id} has no device {window.device_id}; register the device first"
            raise Invalid(detail, field="device_id")


def _existing(session: Session, window_id: UUID, *, for_update: bool = False) -> MaintenanceWindow:
    window = session.get(MaintenanceWindow, window_id, with_for_update=for_update or None)
    if window is None:
        raise NotFound(f"there is no maintenance window {window_id}; GET /api/v1/maintenance-windows lists the windows")
    return window


def _public(window: MaintenanceWindow) -> WindowPublic:
    return WindowPublic.model_validate(window, from_attributes=True)
