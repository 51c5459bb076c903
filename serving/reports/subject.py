"""What a report is about: one device, or a fleet of several."""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, model_validator
from sqlmodel import Session

from assets.analyses import AnalysisType
from assets.reports import MAX_FLEET_DEVICES
from serving.devices.registration import registered_device
from serving.devices.schemas import DeviceId
from serving.http.errors import Invalid
from serving.http.fields import Optional
from storage.jobs import FLEET

Scope = Literal["device", "fleet"]


class SubjectFields(BaseModel):
    """One device (`device_id`), or a fleet: the devices in `device_ids`, or with `scope` `fleet` alone all of them."""

    scope: Annotated[
        Scope | None, Field(description="`fleet` for a report over several devices; follows from the ids if left out")
    ] = None
    device_id: Optional[DeviceId] = None
    device_ids: Annotated[
        list[DeviceId] | None,
        Field(min_length=1, max_length=MAX_FLEET_DEVICES, fail_fast=True, description="The devices of a fleet report"),
    ] = None

    @model_validator(mode="after")
    def _names_a_device_or_a_fleet(self) -> Self:
        if self.device_id is not None and (self.device_ids is not None or self.scope == "fleet"):
            raise Invalid("a report is of one device or of a fleet; leave device_id out for a fleet", field="device_id")
        if self.device_id is None and self.device_ids is None and self.scope != "fleet":
            raise Invalid("device_id is missing; name one, or set scope to fleet for several", field="device_id")
        if self.device_ids is not None and self.scope == "device":
            raise Invalid("device_ids belong to a fleet; set scope to fleet, or leave it out", field="scope")
        return self


class AnalysesFields(SubjectFields):
    """What a report is about, and the analyses that one of a device shows."""

    analysis_types: list[AnalysisType] = Field([], max_length=3)
    compute_missing: Annotated[
        bool,
        Field(
            description="Whether analyses that are missing, or are older than the device's data, are made before the"
            " report of a device",
            strict=True,
        ),
    ] = False

    @model_validator(mode="after")
    def _a_fleet_has_no_analyses(self) -> Self:
        for field in ("analysis_types", "compute_missing"):
            if self.device_id is None and getattr(self, field):
                raise Invalid(f"a fleet report has no analyses; leave {field} out", field=field)
        return self


class Subject(NamedTuple):
    """The columns of a job or a schedule that say what is reported. `device_ids` of a fleet may be None: all."""

    tenant_id: str | None
    device_id: str
    device_ids: list[str] | None


def subject_of(session: Session, fields: SubjectFields, tenant_id: str | None) -> Subject:
    """The subject that a request of a tenant, or of a key of all tenants, names.

    A report belongs to the tenant whose devices it names, if they are one tenant's.

    Raises:
        NotFound: one of the devices is not registered, or is another tenant's.

    """
    if fields.device_id is not None:
        return Subject(registered_device(session, fields.device_id).tenant_id, fields.device_id, None)
    if fields.device_ids is None:
        return Subject(tenant_id, FLEET, None)
    device_ids = list(dict.fromkeys(fields.device_ids))
    owners = {registered_device(session, device_id).tenant_id for device_id in device_ids}
    return Subject(owners.pop() if len(owners) == 1 else tenant_id, FLEET, device_ids)


def scope_of(device_id: str) -> Scope:
    """What a job or a schedule with this `device_id` is about."""
    return "fleet" if device_id == FLEET else "device"
