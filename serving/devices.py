"""The registry of devices."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, Field
from sqlmodel import Session, col, func, select

from serving.dependencies import DatabaseSession, DeviceId, DevicePath, Moment, PageQuery, Text
from serving.errors import Conflict, Invalid, NotFound, problems
from storage import catalogue
from storage.database import utc_now
from storage.devices import Device, metadata_text

router = APIRouter(prefix="/api/v1/devices", tags=["devices"])

Status = Literal["active", "inactive", "maintenance", "error"]
Metadata = Annotated[
    str | None,
    BeforeValidator(metadata_text, json_schema_input_type=str | dict[str, Any] | None),
    Field(description="A JSON object or its text; the platform reads timezone, bands, limits, ignore, counters, "
                      "cadence_seconds and keeps the rest"),
]  # fmt: skip


class DeviceFields(BaseModel):
    """What may be said of a device beside its id."""

    device_name: Annotated[Text, Field(min_length=1, max_length=255)]
    device_type: Annotated[Text, Field(min_length=1, max_length=100)]
    status: Status = "active"
    location: Annotated[Text, Field(max_length=500)] | None = None
    manufacturer: Annotated[Text, Field(max_length=255)] | None = None
    model: Annotated[Text, Field(max_length=255)] | None = None
    metadata_json: Metadata = None


class DeviceCreate(DeviceFields):
    """A new device."""

    device_id: DeviceId
    tenant_id: DeviceId | None = None


class DeviceUpdate(BaseModel):
    """Changes of a device; a field that is left out stays, null empties an optional one."""

    device_id: DeviceId | None = None
    device_name: Annotated[Text, Field(min_length=1, max_length=255)] | None = None
    device_type: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    status: Status | None = None
    location: Annotated[Text, Field(max_length=500)] | None = None
    manufacturer: Annotated[Text, Field(max_length=255)] | None = None
    model: Annotated[Text, Field(max_length=255)] | None = None
    metadata_json: Metadata = None


class DevicePublic(DeviceFields):
    """A device as it is answered; `metadata_json` is a JSON text."""

    device_id: str
    tenant_id: str | None
    metadata_json: str | None
    created_at: Moment
    updated_at: Moment


class DeviceAnswer(BaseModel):
    success: Literal[True] = True
    data: DevicePublic


class DeviceList(BaseModel):
    success: Literal[True] = True
    data: list[DevicePublic]
    total: int
    page: int
    page_size: int


@router.get("")
def list_devices(
    session: DatabaseSession,
    page: PageQuery,
    tenant_id: Annotated[Text | None, Query(max_length=50)] = None,
    device_type: Annotated[Text | None, Query(max_length=100)] = None,
    status: Status | None = None,
) -> DeviceList:
    """Devices by id; soft-deleted ones are not listed."""
    found = select(Device).where(col(Device.deleted_at).is_(None))
    for column, value in ((Device.tenant_id, tenant_id), (Device.device_type, device_type), (Device.status, status)):
        if value is not None:
            found = found.where(col(column) == value)
    total = session.exec(select(func.count()).select_from(found.subquery())).one()
    rows = session.exec(found.order_by(col(Device.device_id)).offset(page.offset).limit(page.page_size)).all()
    return DeviceList(data=[_public(row) for row in rows], total=total, page=page.page, page_size=page.page_size)


@router.get("/{device_id}", responses=problems(NotFound))
def get_device(session: DatabaseSession, device_id: DevicePath) -> DeviceAnswer:
    """One device."""
    return DeviceAnswer(data=_public(registered(session, device_id)))


@router.post("", status_code=201, responses=problems(Conflict))
def create_device(session: DatabaseSession, body: DeviceCreate) -> DeviceAnswer:
    """Register a device. Readings that came before stay as they came; from now on they are enriched."""
    standing = session.get(Device, body.device_id)
    if standing and standing.deleted_at:
        raise Conflict(f"{body.device_id} was deleted; POST /api/v1/devices/{body.device_id}/restore brings it back",
                       field="device_id")  # fmt: skip
    if standing:
        raise Conflict(f"{body.device_id} is registered already; PUT /api/v1/devices/{body.device_id} changes it",
                       field="device_id")  # fmt: skip
    device = Device(**body.model_dump())
    session.add(device)
    session.commit()
    return DeviceAnswer(data=_public(device))


@router.put("/{device_id}", responses=problems(NotFound))
def update_device(session: DatabaseSession, device_id: DevicePath, body: DeviceUpdate) -> DeviceAnswer:
    """Change the fields that the body names."""
    device = registered(session, device_id)
    if body.device_id not in (None, device_id):
        raise Invalid("a device's id never changes; register another device instead", field="device_id")
    changes = body.model_dump(exclude_unset=True, exclude={"device_id"})
    for name, value in changes.items():
        if value is None and name in ("device_name", "device_type", "status"):
            raise Invalid(f"{name} cannot be empty; leave it out to keep it", field=name)
        setattr(device, name, value)
    device.updated_at = utc_now()
    session.commit()
    return DeviceAnswer(data=_public(device))


@router.delete("/{device_id}", status_code=204, responses=problems(NotFound, Conflict))
def delete_device(
    session: DatabaseSession,
    device_id: DevicePath,
    *,
    soft: bool = True,
    force: Annotated[bool, Query(description="Also remove a device that has telemetry; its telemetry stays")] = False,
) -> None:
    """Delete a device: softly by default, so that it can be restored; its history stays in any case."""
    device = session.get(Device, device_id)
    if device is None or (soft and device.deleted_at):
        raise NotFound(f"there is no device {device_id}")
    if soft:
        device.deleted_at = device.updated_at = utc_now()
    else:
        if catalogue.has_telemetry(session, device_id) and not force:
            raise Conflict(f"{device_id} has telemetry; delete it softly, or add force=true (its telemetry stays)")
        session.delete(device)
    session.commit()


@router.post("/{device_id}/restore", responses=problems(NotFound))
def restore_device(session: DatabaseSession, device_id: DevicePath) -> DeviceAnswer:
    """Bring a soft-deleted device back; on one that is there it changes nothing."""
    device = session.get(Device, device_id)
    if device is None:
        raise NotFound(f"there is no device {device_id}, deleted or not")
    if device.deleted_at:
        device.deleted_at, device.updated_at = None, utc_now()
        session.commit()
    return DeviceAnswer(data=_public(device))


def registered(session: Session, device_id: str) -> Device:
    """The device.

    Raises:
        NotFound: it was never registered, or is deleted.

    """
    device = session.get(Device, device_id)
    if device is None or device.deleted_at:
        raise NotFound(f"there is no device {device_id}; POST /api/v1/devices registers one")
    return device


def _public(device: Device) -> DevicePublic:
    return DevicePublic.model_validate(device, from_attributes=True)
