"""Requests and answers about devices."""

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import AliasChoices, BaseModel, BeforeValidator, Field

from serving.http.errors import FieldError
from serving.http.fields import NAME, Moment, NotNull, Text
from serving.http.pagination import SORT, CursorQuery
from storage.devices import IDENTIFIER, MAX_IDENTIFIER, metadata_text

MAX_BULK_DEVICES = 1000

DeviceId = Annotated[str, Field(pattern=IDENTIFIER, max_length=MAX_IDENTIFIER, examples=["D1"])]
DevicePath = Annotated[str, Path(pattern=IDENTIFIER, max_length=MAX_IDENTIFIER, examples=["D1"])]
Status = Literal["active", "inactive", "maintenance", "error"]
Metadata = Annotated[
    str | None,
    BeforeValidator(metadata_text, json_schema_input_type=str | dict[str, Any] | None),
    Field(description="A JSON object, or its text. The platform reads timezone, bands, limits, ignore, counters, "
                      "meter_changes, cadence_seconds, reporting, max_power_w and exports, and keeps other keys",
          examples=[{"timezone": "Europe/Paris"}]),
]  # fmt: skip
Sort = Literal[
    "device_id", "-device_id", "device_name", "-device_name", "created_at", "-created_at", "updated_at", "-updated_at"
]


Name = Annotated[Text, Field(min_length=1, max_length=255, examples=["Motor B"])]
TypeName = Annotated[Text, Field(min_length=1, max_length=100, examples=["motor"])]
# Clients that leave the suffix out would lose what they send.
METADATA = Field(default=None, validation_alias=AliasChoices("metadata_json", "metadata"))


class DeviceFields(BaseModel):
    """A device's fields, without its id."""

    device_name: Name
    device_type: TypeName
    status: Status = "active"
    location: Annotated[Text, Field(max_length=500, examples=["Building B"])] | None = None
    manufacturer: Annotated[Text, Field(max_length=255, examples=["Industrial Co"])] | None = None
    model: Annotated[Text, Field(max_length=255, examples=["M-2000"])] | None = None
    metadata_json: Metadata = None


class DeviceCreate(DeviceFields):
    """A new device."""

    device_id: DeviceId
    tenant_id: DeviceId | None = None
    device_name: Annotated[Name, NAME]
    device_type: Annotated[TypeName, NAME]
    metadata_json: Metadata = METADATA


class DeviceUpdate(BaseModel):
    """Changes to a device: fields that are left out stay as they are, and null clears an optional field.

    `device_id` may be sent but never changes. Only a key without a tenant can change `tenant_id`.
    """

    device_id: NotNull[DeviceId] = None
    tenant_id: DeviceId | None = None
    device_name: NotNull[Annotated[Text, Field(min_length=1, max_length=255), NAME]] = None
    device_type: NotNull[Annotated[Text, Field(min_length=1, max_length=100), NAME]] = None
    status: NotNull[Status] = None
    location: Annotated[Text, Field(max_length=500)] | None = None
    manufacturer: Annotated[Text, Field(max_length=255)] | None = None
    model: Annotated[Text, Field(max_length=255)] | None = None
    metadata_json: Metadata = METADATA


class DevicePublic(DeviceFields):
    """A device; `metadata_json` is JSON text."""

    device_id: str
    tenant_id: str | None
    metadata_json: str | None
    created_at: Moment
    updated_at: Moment


class MetricNames(BaseModel):
    """How many metrics a device has sent, and what was dropped because it had more than `limit`."""

    count: int
    limit: int
    dropped_values: int
    dropped_names: list[str] = Field(description="The first ones", examples=[["m257"]])
    last_dropped_at: Moment | None


class DeviceDetail(DevicePublic):
    """A device, and what is known of its metrics."""

    metrics: MetricNames


class DeviceAnswer(BaseModel):
    success: Literal[True] = True
    data: DeviceDetail


class DeviceQuery(CursorQuery):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_type: Annotated[Text, Field(max_length=100)] | None = None
    status: Status | None = None
    search: Annotated[Text, Field(max_length=100, description="Part of the id, the name or the location")] | None = None
    sort: Annotated[Sort, SORT] = "device_id"


class BulkDevices(BaseModel):
    """Devices to register, or to update if they are registered; each like the body of a POST or a PUT."""

    devices: Annotated[
        list[dict[str, Any]],
        Field(
            min_length=1,
            max_length=MAX_BULK_DEVICES,
            examples=[[{"device_id": "D2", "device_name": "Motor B", "device_type": "motor"}]],
        ),
    ]


class BulkRow(BaseModel):
    """The outcome of one row; `index` counts from 0."""

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
    """`success` is false if a row failed; the other rows are saved."""

    success: bool
    data: BulkResult
