"""The registry of devices."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from serving.auth.identified import IdentifiedRoute, bulk
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import LimitSettings, PlatformSettings
from serving.devices.registration import DeviceLimit, Registration, registered_device, update
from serving.devices.schemas import (
    BulkAnswer,
    BulkDevices,
    BulkResult,
    DeviceAnswer,
    DeviceCreate,
    DeviceDetail,
    DevicePath,
    DevicePublic,
    DeviceQuery,
    DeviceUpdate,
    MetricNames,
)
from serving.http.errors import Conflict, NotFound, PreconditionFailed, problems
from serving.http.etags import UNCHANGED, IfMatch, IfNoneMatch, not_modified, refuse_stale
from serving.http.formats import json_answer
from serving.http.pagination import Page, paginate
from storage import devices, dirty_days
from storage.device_metrics import DeviceMetrics
from storage.devices import IDENTIFIER, Device
from storage.settings import Settings
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/devices", tags=["devices"], route_class=IdentifiedRoute)


@router.get("", response_model=Page[DevicePublic])
def list_devices(session: DatabaseSession, query: Annotated[DeviceQuery, Query()]) -> Response:
    """List devices by id, unless sorted otherwise. Deleted devices are left out."""
    found = paginate(session, devices.registered(query.search), query, "tenant_id", "device_type", "status")
    data = [{name: getattr(row, name) for name in DevicePublic.model_fields} for row in found.rows]
    page = {"total": found.total, "page": query.page, "page_size": query.page_size, "next_cursor": found.next_cursor}
    return json_answer({"success": True, "data": data, **page})


@router.get("/{device_id}", response_model=DeviceAnswer, responses=problems(NotFound) | UNCHANGED)
def get_device(
    session: DatabaseSession,
    settings: PlatformSettings,
    response: Response,
    device_id: DevicePath,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """One device, with its ETag and Last-Modified, and with the number of its metrics."""
    device = registered_device(session, device_id)
    answer = _answer(session, settings, device)
    # Counts of dropped values change without the device, so an answer that has some is always whole.
    if answer.data.metrics.dropped_values:
        if_none_match = None
    return not_modified(response, device, if_none_match) or answer


@router.post("", status_code=201, responses=problems(Conflict))
def create_device(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    settings: PlatformSettings,
    limits: LimitSettings,
    request: Request,
    *,
    response: Response,
    body: DeviceCreate,
) -> DeviceAnswer:
    """Register a device. Readings that it sent before stay as they are; from now on they are enriched."""
    limit = DeviceLimit(session, limits.max_devices_per_tenant)
    registration = Registration(session, principal, [body.device_id], limit)
    device = registration.create(body)
    try:
        session.flush()
    except IntegrityError:
        raise Conflict(f"{body.device_id} is taken; choose another id", field="device_id") from None
    registration.hand_over()
    session.commit()
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/api/v1/devices/{device.device_id}"
    return _answer(session, settings, device)


@router.post("/bulk")
@bulk
def create_or_update_devices(
    session: DatabaseSession, principal: CurrentPrincipal, limits: LimitSettings, body: BulkDevices
) -> BulkAnswer:
    """Register or update many devices. Each row succeeds or fails by itself, and the answer has the outcome of each."""
    device_ids = [str(row.get("device_id")) for row in body.devices]
    valid_ids = [device_id for device_id in device_ids if re.fullmatch(IDENTIFIER, device_id)]
    limit = DeviceLimit(session, limits.max_devices_per_tenant)
    registration = Registration(session, principal, valid_ids, limit)
    rows = [registration.create_or_update(index, row) for index, row in enumerate(body.devices)]
    registration.hand_over()
    session.commit()
    counts = {name: sum(row.status == name for row in rows) for name in ("created", "updated", "unchanged", "failed")}
    return BulkAnswer(success=not counts["failed"], data=BulkResult(**counts, results=rows))


@router.put("/{device_id}", responses=problems(NotFound, PreconditionFailed))
@router.patch("/{device_id}", responses=problems(NotFound, PreconditionFailed))
def update_device(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    settings: PlatformSettings,
    limits: LimitSettings,
    device_id: DevicePath,
    *,
    body: DeviceUpdate,
    if_match: IfMatch = None,
) -> DeviceAnswer:
    """Change the fields that the body names and leave the others. PUT does the same as PATCH, as its clients expect."""
    device = registered_device(session, device_id, for_update=True)
    refuse_stale(device, if_match)
    update(session, principal, device, body, DeviceLimit(session, limits.max_devices_per_tenant))
    session.commit()
    return _answer(session, settings, device)


@router.delete("/{device_id}", status_code=204, responses=problems(NotFound, Conflict))
def delete_device(
    session: DatabaseSession,
    device_id: DevicePath,
    *,
    soft: bool = True,
    force: Annotated[bool, Query(description="Also remove a device that has telemetry; its telemetry stays")] = False,
) -> None:
    """Delete a device: softly by default, so that it can be restored. Its history stays in any case."""
    device = session.get(Device, device_id)
    if device is None or (soft and device.deleted_at):
        raise NotFound(f"there is no device {device_id}")
    if soft:
        device.deleted_at = device.updated_at = utc_now()
    else:
        if dirty_days.has_telemetry(session, device_id) and not force:
            raise Conflict(f"{device_id} has telemetry; delete it softly, or add force=true (its telemetry stays)")
        session.delete(device)
    session.commit()


@router.post("/{device_id}/restore", responses=problems(NotFound))
def restore_device(session: DatabaseSession, settings: PlatformSettings, device_id: DevicePath) -> DeviceAnswer:
    """Restore a softly deleted device. A device that is not deleted stays as it is."""
    device = session.get(Device, device_id)
    if device is None:
        raise NotFound(f"there is no device {device_id}, deleted or not")
    if device.deleted_at:
        device.deleted_at, device.updated_at = None, utc_now()
        session.commit()
    return _answer(session, settings, device)


def _answer(session: Session, settings: Settings, device: Device) -> DeviceAnswer:
    known = session.get(DeviceMetrics, device.device_id) or DeviceMetrics(device_id=device.device_id, metrics=[])
    metrics = MetricNames(
        count=len(known.metrics),
        limit=settings.max_metrics_per_device,
        dropped_values=known.dropped_values,
        dropped_names=known.dropped_names,
        last_dropped_at=known.last_dropped_at,
    )
    public = DevicePublic.model_validate(device, from_attributes=True)
    return DeviceAnswer(data=DeviceDetail(**public.model_dump(), metrics=metrics))
