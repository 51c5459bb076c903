"""The registry of devices."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, or_, select, update

from serving.dependencies import CurrentPrincipal, DatabaseSession, DeviceId, DevicePath, Kept, Moment, Text
from serving.http.errors import (
    Conflict,
    FieldError,
    Invalid,
    NotFound,
    PreconditionFailed,
    Problem,
    Refused,
    field_errors,
    problems,
)
from serving.http.etags import UNCHANGED, IfMatch, IfNoneMatch, not_modified, refuse_stale
from serving.http.formats import json_answer
from serving.http.pagination import SORT, Page, paginate
from storage import dirty_days
from storage.access import Principal
from storage.catalogue import Dataset
from storage.devices import IDENTIFIER, Device, metadata_text
from storage.dirty_days import DirtyDay
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/devices", tags=["devices"])

MAX_AT_ONCE = 1000
Status = Literal["active", "inactive", "maintenance", "error"]
Metadata = Annotated[
    str | None,
    BeforeValidator(metadata_text, json_schema_input_type=str | dict[str, Any] | None),
    Field(description="A JSON object or its text; the platform reads timezone, bands, limits, ignore, counters, "
                      "cadence_seconds and keeps the rest", examples=[{"timezone": "Europe/Paris"}]),
]  # fmt: skip
Sort = Literal[
    "device_id", "-device_id", "device_name", "-device_name", "created_at", "-created_at", "updated_at", "-updated_at"
]


class DeviceFields(BaseModel):
    """What may be said of a device beside its id."""

    device_name: Annotated[Text, Field(min_length=1, max_length=255, examples=["Motor B"])]
    device_type: Annotated[Text, Field(min_length=1, max_length=100, examples=["motor"])]
    status: Status = "active"
    location: Annotated[Text, Field(max_length=500, examples=["Building B"])] | None = None
    manufacturer: Annotated[Text, Field(max_length=255, examples=["Industrial Co"])] | None = None
    model: Annotated[Text, Field(max_length=255, examples=["M-2000"])] | None = None
    metadata_json: Metadata = None


class DeviceCreate(DeviceFields):
    """A new device."""

    device_id: DeviceId
    tenant_id: DeviceId | None = None


class DeviceUpdate(BaseModel):
    """Changes of a device; a field that is left out stays, null empties an optional one.

    `device_id` may be repeated and never changes; `tenant_id` may be changed by a key of all tenants.
    """

    device_id: Kept[DeviceId] = None
    tenant_id: DeviceId | None = None
    device_name: Kept[Annotated[Text, Field(min_length=1, max_length=255)]] = None
    device_type: Kept[Annotated[Text, Field(min_length=1, max_length=100)]] = None
    status: Kept[Status] = None
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


class DeviceQuery(Page):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_type: Annotated[Text, Field(max_length=100)] | None = None
    status: Status | None = None
    search: Annotated[Text, Field(max_length=100, description="Part of the id, the name or the location")] | None = None
    sort: Annotated[Sort, SORT] = "device_id"


class BulkDevices(BaseModel):
    """Devices to register, or, where they are registered, to update; each like the body of a POST or a PUT."""

    devices: Annotated[
        list[dict[str, Any]],
        Field(
            min_length=1,
            max_length=MAX_AT_ONCE,
            examples=[[{"device_id": "D2", "device_name": "Motor B", "device_type": "motor"}]],
        ),
    ]


class BulkRow(BaseModel):
    """What became of a row; `index` counts from 0."""

    index: int
    device_id: str | None
    status: Literal["created", "updated", "unchanged", "failed"]
    detail: str | None = None
    errors: list[FieldError] = []


class BulkResult(BaseModel):
    created: int
    updated: int
    unchanged: int
    failed: int
    results: list[BulkRow]


class BulkAnswer(BaseModel):
    """`success` is False where a row failed; the others stand."""

    success: bool
    data: BulkResult


@router.get("", response_model=DeviceList)
def list_devices(session: DatabaseSession, query: Annotated[DeviceQuery, Query()]) -> Response:
    """Devices by id unless sorted otherwise; soft-deleted ones are not paginate."""
    found = select(Device).where(col(Device.deleted_at).is_(None))
    if query.search:
        columns = (Device.device_id, Device.device_name, Device.location)
        found = found.where(or_(*(col(column).icontains(query.search, autoescape=True) for column in columns)))
    rows, total = paginate(session, found, query, "tenant_id", "device_type", "status")
    data = [{name: getattr(row, name) for name in DevicePublic.model_fields} for row in rows]
    return json_answer(
        {"success": True, "data": data, "total": total, "page": query.page, "page_size": query.page_size}
    )


@router.get("/{device_id}", response_model=DeviceAnswer, responses=problems(NotFound) | UNCHANGED)
def get_device(
    session: DatabaseSession, response: Response, device_id: DevicePath, if_none_match: IfNoneMatch = None
) -> Any:
    """One device, with an ETag and Last-Modified."""
    device = registered(session, device_id)
    return not_modified(response, device, if_none_match) or DeviceAnswer(data=_public(device))


@router.post("", status_code=201, responses=problems(Conflict))
def create_device(
    session: DatabaseSession, principal: CurrentPrincipal, request: Request, response: Response, body: DeviceCreate
) -> DeviceAnswer:
    """Register a device. Readings that came before stay as they came; from now on they are enriched."""
    session.add(device := _new(principal, body, session.get(Device, body.device_id), _taken(session, [body.device_id])))
    try:
        session.flush()
    except IntegrityError:
        raise Conflict(f"{body.device_id} is taken", field="device_id") from None
    _hand_over(session, [device])
    session.commit()
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/api/v1/devices/{device.device_id}"
    return DeviceAnswer(data=_public(device))


@router.post("/bulk")
def create_or_update_devices(session: DatabaseSession, principal: CurrentPrincipal, body: BulkDevices) -> BulkAnswer:
    """Register or update many devices; each row succeeds or fails by itself, and the answer tells of each."""
    ids = [str(row.get("device_id")) for row in body.devices if re.fullmatch(IDENTIFIER, str(row.get("device_id")))]
    found = select(Device).where(col(Device.device_id).in_(ids)).with_for_update()
    standing = {device.device_id: device for device in session.exec(found.order_by(col(Device.device_id)))}
    taken = _taken(session, ids)
    rows = [
        _row(session, principal, index, row, standing=standing, taken=taken) for index, row in enumerate(body.devices)
    ]
    _hand_over(session, [standing[str(row.device_id)] for row in rows if row.status == "created"])
    session.commit()
    count = {kind: sum(row.status == kind for row in rows) for kind in ("created", "updated", "unchanged", "failed")}
    return BulkAnswer(success=not count["failed"], data=BulkResult(**count, results=rows))


@router.put("/{device_id}", responses=problems(NotFound, PreconditionFailed))
@router.patch("/{device_id}", responses=problems(NotFound, PreconditionFailed))
def update_device(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    device_id: DevicePath,
    body: DeviceUpdate,
    if_match: IfMatch = None,
) -> DeviceAnswer:
    """Change the fields that the body names and leave the others: PUT does what PATCH does, as its clients expect."""
    device = registered(session, device_id, for_update=True)
    refuse_stale(device, if_match)
    _update(session, principal, device, body)
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
        if dirty_days.has_telemetry(session, device_id) and not force:
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


def registered(session: Session, device_id: str, *, for_update: bool = False) -> Device:
    """The device.

    Raises:
        NotFound: it was never registered, or is deleted.

    """
    device = session.get(Device, device_id, with_for_update=for_update or None)
    if device is None or device.deleted_at:
        raise NotFound(f"there is no device {device_id}; POST /api/v1/devices registers one")
    return device


@dataclass(frozen=True)
class Taken:
    """Ids that are not free: of devices of any tenant, and of unregistered ones that have sent telemetry."""

    registered: frozenset[str]
    heard: frozenset[str]


def _taken(session: Session, device_ids: Sequence[str]) -> Taken:
    with Session(session.get_bind()) as unbound:  # the request's own sees its tenant only
        registered = unbound.exec(select(Device.device_id).where(col(Device.device_id).in_(device_ids)))
        heard = select(DirtyDay.device_id).where(col(DirtyDay.device_id).in_(device_ids)).distinct()
        return Taken(frozenset(registered), frozenset(unbound.exec(heard)))


def _new(principal: Principal, body: DeviceCreate, standing: Device | None, taken: Taken) -> Device:
    """A device to add.

    Raises:
        Conflict: its id is taken, or a tenant would get what the device sent before it was registered.

    """
    device_id = body.device_id
    if standing and standing.deleted_at:
        raise Conflict(f"{device_id} was deleted; POST /api/v1/devices/{device_id}/restore brings it back",
                       field="device_id")  # fmt: skip
    if standing:
        raise Conflict(f"{device_id} is registered already; PUT /api/v1/devices/{device_id} changes it",
                       field="device_id")  # fmt: skip
    if device_id in taken.registered:
        raise Conflict(f"{device_id} is taken", field="device_id")
    if principal.tenant_id is not None and device_id in taken.heard:
        raise Conflict(
            f"{device_id} has sent telemetry already; a key of all tenants registers it for {principal.tenant_id}",
            field="device_id",
        )
    return Device(**body.model_dump())


def _update(session: Session, principal: Principal, device: Device, body: DeviceUpdate) -> bool:
    """Change the fields that the body names; whether that changed anything."""
    if body.device_id not in (None, device.device_id):
        raise Invalid("a device's id never changes; register another device instead", field="device_id")
    changes = body.model_dump(exclude_unset=True, exclude={"device_id"})
    if principal.tenant_id is not None and changes.get("tenant_id", device.tenant_id) != device.tenant_id:
        raise Refused(f"the key is bound to the tenant {principal.tenant_id}; leave tenant_id out", field="tenant_id")
    changed = {name: value for name, value in changes.items() if getattr(device, name) != value}
    for name, value in changed.items():
        setattr(device, name, value)
    if changed:
        device.updated_at = utc_now()
    if "tenant_id" in changed:
        _hand_over(session, [device])
    return bool(changed)


def _row(
    session: Session,
    principal: Principal,
    index: int,
    row: dict[str, Any],
    *,
    standing: dict[str, Device],
    taken: Taken,
) -> BulkRow:
    device_id = row.get("device_id") if isinstance(row.get("device_id"), str) else None
    device_id = device_id and device_id.encode(errors="replace").decode()  # it may hold half of a surrogate pair
    try:
        device_id = DeviceCreate.model_validate({"device_name": "?", "device_type": "?"} | row).device_id
        device = standing.get(device_id)
        if device is None or device.deleted_at:
            standing[device_id] = _new(principal, DeviceCreate.model_validate(row), device, taken)
            if principal.tenant_id is not None and row.get("tenant_id") not in (None, principal.tenant_id):
                raise Refused(f"the key is bound to the tenant {principal.tenant_id}", field="tenant_id")
            session.add(standing[device_id])
            return BulkRow(index=index, device_id=device_id, status="created")
        changed = _update(session, principal, device, DeviceUpdate.model_validate(row))
        return BulkRow(index=index, device_id=device_id, status="updated" if changed else "unchanged")
    except ValidationError as error:
        errors = field_errors(error.errors(include_url=False))
        return BulkRow(index=index, device_id=device_id, status="failed", detail=errors[0].message, errors=errors)
    except Problem as problem:
        return BulkRow(index=index, device_id=device_id, status="failed", detail=problem.detail, errors=problem.errors)


def _hand_over(session: Session, devices: Sequence[Device]) -> None:
    """A device's files go with it to its tenant; what was made of them stays with who asked for it."""
    tenants = {device.tenant_id for device in devices} - {None}
    for tenant_id in sorted(str(tenant_id) for tenant_id in tenants):
        ids = [device.device_id for device in devices if device.tenant_id == tenant_id]
        session.exec(update(Dataset).where(col(Dataset.device_id).in_(ids)).values(tenant_id=tenant_id))


def _public(device: Device) -> DevicePublic:
    return DevicePublic.model_validate(device, from_attributes=True)
