"""Requests and answers about maintenance windows."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.devices.schemas import DeviceId
from serving.http.errors import Invalid
from serving.http.fields import Instant, Moment, Text
from serving.http.pagination import SORT, CursorQuery

Reason = Annotated[Text, Field(max_length=2000, examples=["Bearing change"])]


class WindowFields(BaseModel):
    """A window includes `from` and excludes `to`. Without `device_id` it covers all devices, of the tenant if given."""

    model_config = ConfigDict(populate_by_name=True)

    device_id: DeviceId | None = None
    starts_at: Annotated[Instant, Field(alias="from")]
    ends_at: Annotated[Instant, Field(alias="to")]
    reason: Reason | None = None
    tenant_id: DeviceId | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.starts_at >= self.ends_at:
            raise Invalid("from must be before to", field="from")
        return self

    @property
    def names_tenant(self) -> bool:
        """Whether the body has a `tenant_id`, null included."""
        return "tenant_id" in self.model_fields_set


class WindowPublic(BaseModel):
    window_id: UUID
    tenant_id: str | None
    device_id: str | None
    starts_at: Annotated[Moment, Field(serialization_alias="from")]
    ends_at: Annotated[Moment, Field(serialization_alias="to")]
    reason: str | None
    created_at: Moment
    updated_at: Moment


class WindowAnswer(BaseModel):
    success: Literal[True] = True
    data: WindowPublic


class WindowQuery(CursorQuery):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: Annotated[DeviceId, Field(description="Windows that cover this device")] | None = None
    at: Annotated[Instant, Field(description="Windows that include this time")] | None = None
    sort: Annotated[Literal["from", "-from", "to", "-to", "created_at", "-created_at"], SORT] = "-from"


class SuppressedPublic(BaseModel):
    """The number of alerts that a rule would have raised for a device in maintenance. The times are the readings'."""

    rule_id: UUID
    device_id: str
    count: int
    first_reading_time: Moment
    last_reading_time: Moment


class SuppressedQuery(CursorQuery):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: DeviceId | None = None
    rule_id: UUID | None = None
    sort: Annotated[Literal["last_reading_time", "-last_reading_time", "count", "-count"], SORT] = "-last_reading_time"
