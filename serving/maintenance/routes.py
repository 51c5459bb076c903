"""Maintenance windows: when machines are worked on, and which alerts that held back."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlmodel import Session, col, select

from serving.dependencies import DatabaseSession, DeviceId, Instant, Moment, Text
from serving.http.errors import Invalid, NotFound, PreconditionFailed, problems
from serving.http.etags import UNCHANGED, IfMatch, IfNoneMatch, not_modified, refuse_stale
from serving.http.pagination import SORT, Page, paginate
from storage.devices import Device
from storage.maintenance import MaintenanceWindow, SuppressedAlerts
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/maintenance-windows", tags=["maintenance"])

Reason = Annotated[Text, Field(max_length=2000, examples=["Bearing change"])]


class WindowFields(BaseModel):
    """`from` is included, `to` is not; without `device_id` all devices are meant, of the tenant if it names one."""

    model_config = ConfigDict(populate_by_name=True)

    device_id: DeviceId | None = None
    starts_at: Annotated[Instant, Field(alias="from")]
    ends_at: Annotated[Instant, Field(alias="to")]
    reason: Reason | None = None
    tenant_id: DeviceId | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.starts_at >= self.ends_at:
            raise Invalid("from is not before to", field="from")
        return self


class WindowPublic(BaseModel):
    window_id: UUID
    tenant_id: str | None
    device_id: str | None
    starts_at: Annotated[Moment, Field(serialization_alias="from")]
    ends_at: Annotated[Moment, Field(serialization_alias="to")]
    reason: str | None
    created_at: Moment
    updated_at: Moment


class WindowQuery(Page):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: Annotated[DeviceId, Field(description="Those that cover it")] | None = None
    at: Annotated[Instant, Field(description="Only those that include this moment")] | None = None
    sort: Annotated[Literal["from", "-from", "to", "-to", "created_at", "-created_at"], SORT] = "-from"


class HeldBackQuery(Page):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: DeviceId | None = None
    rule_id: UUID | None = None
    sort: Annotated[Literal["last_reading_time", "-last_reading_time", "count", "-count"], SORT] = "-last_reading_time"


class WindowAnswer(BaseModel):
    success: Literal[True] = True
    data: WindowPublic


class WindowList(BaseModel):
    success: Literal[True] = True
    data: list[WindowPublic]
    total: int
    page: int
    page_size: int


class HeldBackPublic(BaseModel):
    """How many alerts a rule would have raised for a device in maintenance; the times are the readings'."""

    rule_id: UUID
    device_id: str
    count: int
    first_reading_time: Moment
    last_reading_time: Moment


class HeldBackList(BaseModel):
    success: Literal[True] = True
    data: list[HeldBackPublic]
    total: int
    page: int
    page_size: int


@router.get("")
def list_windows(session: DatabaseSession, query: Annotated[WindowQuery, Query()]) -> WindowList:
    """Windows, the latest first unless sorted otherwise; with `device_id` those of all devices are among them."""
    found = select(MaintenanceWindow)
    if query.device_id is not None:
        own = col(MaintenanceWindow.device_id)
        found = found.where((own == query.device_id) | own.is_(None))
    if query.at is not None:
        found = found.where(col(MaintenanceWindow.starts_at) <= query.at, col(MaintenanceWindow.ends_at) > query.at)
    rows, total = paginate(session, found, query, "tenant_id", columns={"from": "starts_at", "to": "ends_at"})
    return WindowList(data=[_public(row) for row in rows], total=total, page=query.page, page_size=query.page_size)


@router.get("/held-back")
def list_held_back(session: DatabaseSession, query: Annotated[HeldBackQuery, Query()]) -> HeldBackList:
    """What maintenance held back, by rule and device, the latest first unless sorted otherwise."""
    rows, total = paginate(session, select(SuppressedAlerts), query, "tenant_id", "device_id", "rule_id")
    data = [HeldBackPublic.model_validate(row, from_attributes=True) for row in rows]
    return HeldBackList(data=data, total=total, page=query.page, page_size=query.page_size)


@router.get("/{window_id}", response_model=WindowAnswer, responses=problems(NotFound) | UNCHANGED)
def get_window(session: DatabaseSession, response: Response, window_id: UUID, if_none_match: IfNoneMatch = None) -> Any:
    """One window, with an ETag and Last-Modified."""
    window = _standing(session, window_id)
    return not_modified(response, window, if_none_match) or WindowAnswer(data=_public(window))


@router.post("", status_code=201)
def create_window(session: DatabaseSession, body: WindowFields) -> WindowAnswer:
    """Plan a window; it may lie in the past, for readings that are still to come in late."""
    window = MaintenanceWindow(**_fitting(session, body))
    session.add(window)
    session.commit()
    return WindowAnswer(data=_public(window))


@router.put("/{window_id}", responses=problems(NotFound, PreconditionFailed))
def update_window(
    session: DatabaseSession, window_id: UUID, body: WindowFields, if_match: IfMatch = None
) -> WindowAnswer:
    """Replace what a window says."""
    window = _standing(session, window_id, for_update=True)
    refuse_stale(window, if_match)
    for name, value in _fitting(session, body).items():
        setattr(window, name, value)
    window.updated_at = utc_now()
    session.commit()
    return WindowAnswer(data=_public(window))


@router.delete("/{window_id}", status_code=204, responses=problems(NotFound))
def delete_window(session: DatabaseSession, window_id: UUID) -> None:
    """Call a window off."""
    session.delete(_standing(session, window_id))
    session.commit()


def _fitting(session: Session, body: WindowFields) -> dict[str, Any]:
    """The columns; a tenant's window cannot cover another's device."""
    device = session.get(Device, body.device_id) if body.device_id else None
    if device and body.tenant_id not in (None, device.tenant_id):
        raise Invalid(f"{body.device_id} is not a device of {body.tenant_id}", field="device_id")
    return body.model_dump()


def _standing(session: Session, window_id: UUID, *, for_update: bool = False) -> MaintenanceWindow:
    window = session.get(MaintenanceWindow, window_id, with_for_update=for_update or None)
    if window is None:
        raise NotFound(f"there is no maintenance window {window_id}; GET /api/v1/maintenance-windows lists them")
    return window


def _public(window: MaintenanceWindow) -> WindowPublic:
    return WindowPublic.model_validate(window, from_attributes=True)
