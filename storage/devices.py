"""The registry of machines, the names of metrics, and the metadata that the platform reads."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field as Key,
    StrictBool,
    ValidationError,
    field_validator,
    model_validator,
)
from sqlmodel import Field, Session, SQLModel, Text, col, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from storage.database import Timestamp
from storage.rules import ActiveHours
from storage.settings import Zone
from storage.times import utc_now
from storage.validation import first_error, form

# Letters, digits, dots, hyphens and underscores, without two dots in a row. Pydantic's engine has no look-around.
IDENTIFIER = form(
    r"^[A-Za-z0-9](?:\.?[A-Za-z0-9_-])*\.?$",
    "use letters, digits, dots, hyphens and underscores",
)
MAX_IDENTIFIER = 50
METRIC = form(r"^[a-z][a-z0-9_]{0,62}$", "use small letters, digits and underscores, at most 63; begin with a letter")
MAX_METADATA_BYTES = 64 * 1024
# Plausible current (A) of a device that feeds in.
EXPORTING_CURRENT = (-10_000.0, 10_000.0)

# Names that a metric cannot have, because they are other columns.
RESERVED = frozenset(
    ["time", "timestamp", "device_id", "device_type", "location", "tenant_id", "schema_version", "enrichment_status",
     "received_at", "hour", "day_of_week", "is_weekend", "out_of_band", "corrected"]
)  # fmt: skip
NAMED_METRICS = ("voltage", "current", "power", "temperature")
UNITS = {"voltage": "V", "current": "A", "power": "W", "temperature": "°C", "power_factor": "1"}


def with_unit(number: str, unit: str | None) -> str:
    """A number as a text with its unit, if it has one: "1" is that of a share."""
    return f"{number} {unit}" if unit not in (None, "", "1") else number


def order_metrics(names: set[str]) -> list[str]:
    """The four named metrics, whether they are among the names or not, then the other names in alphabetical order."""
    return [*NAMED_METRICS, *sorted(names.difference(NAMED_METRICS))]


class Device(SQLModel, table=True):
    """A machine. `device_id` is the business key and never changes."""

    __tablename__ = "devices"

    device_id: str = Field(primary_key=True, max_length=50)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    device_name: str = Field(max_length=255)
    device_type: str = Field(index=True, max_length=100)
    manufacturer: str | None = Field(default=None, max_length=255)
    model: str | None = Field(default=None, max_length=255)
    location: str | None = Field(default=None, max_length=500)
    status: str = Field(default="active", index=True, max_length=50)
    metadata_json: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Timestamp(default_factory=utc_now)
    updated_at: datetime = Timestamp(default_factory=utc_now)
    deleted_at: datetime | None = Timestamp(default=None)


def registered(search: str | None = None, *, deleted: bool = False) -> SelectOfScalar[Device]:
    """Select the devices that are not deleted, or those that are; `search` is a text in id, name or location."""
    statement = select(Device).where((col(Device.deleted_at).is_not if deleted else col(Device.deleted_at).is_)(None))
    if search:
        columns = (Device.device_id, Device.device_name, Device.location)
        statement = statement.where(or_(*(col(column).icontains(search, autoescape=True) for column in columns)))
    return statement


def registered_devices(
    session: Session, *, tenant_id: str | None, device_ids: Collection[str] | None, limit: int
) -> list[Device]:
    """The devices that are not deleted, by id: of a tenant, or of all; those with these ids, or all of them."""
    statement = registered()
    if tenant_id is not None:
        statement = statement.where(Device.tenant_id == tenant_id)
    if device_ids is not None:
        statement = statement.where(col(Device.device_id).in_(device_ids))
    return list(session.exec(statement.order_by(col(Device.device_id)).limit(limit)))


def lock_devices(session: Session, device_ids: Sequence[str]) -> dict[str, Device]:
    """The devices by id, with deleted ones, locked until the transaction ends; in one order, so none deadlocks."""
    statement = select(Device).where(col(Device.device_id).in_(device_ids)).with_for_update()
    return {device.device_id: device for device in session.exec(statement.order_by(col(Device.device_id)))}


def existing_ids(session: Session, device_ids: Sequence[str]) -> set[str]:
    """Those of the ids that a device has, deleted or not."""
    return set(session.exec(select(Device.device_id).where(col(Device.device_id).in_(device_ids))))


def tenants_devices(session: Session, tenant_id: str, device_ids: Collection[str]) -> set[str]:
    """Those of the ids that are devices of the tenant, deleted or not."""
    of_tenant = select(Device.device_id).where(Device.tenant_id == tenant_id)
    return set(session.exec(of_tenant.where(col(Device.device_id).in_(device_ids))))


def all_devices(session: Session) -> list[Device]:
    """Every device of the registry, deleted ones included."""
    return list(session.exec(select(Device)))


def device_ids(session: Session, *, status: str | None = None) -> list[str]:
    """Return the ids of all devices, deleted ones too, or of those with a status; in order."""
    ids = select(Device.device_id).order_by(Device.device_id)
    return list(session.exec(ids if status is None else ids.where(Device.status == status)))


def metadata_of(session: Session, device_id: str) -> "DeviceMetadata":
    """The metadata of a device; empty ones if it is not registered."""
    device = session.get(Device, device_id)
    return DeviceMetadata.parse(device.metadata_json if device else None)


def parents_of(session: Session, ids: Collection[str]) -> dict[str, str]:
    """The `parent_device` of the devices, of their parents, and so on upwards; of those that have one."""
    found: dict[str, str] = {}
    wanted, seen = set(ids), set[str]()
    while wanted:
        seen |= wanted
        rows = session.exec(select(Device.device_id, Device.metadata_json).where(col(Device.device_id).in_(wanted)))
        parents = {name: DeviceMetadata.parse(metadata).parent_device for name, metadata in rows}
        found |= {name: parent for name, parent in parents.items() if parent is not None}
        wanted = {parent for parent in parents.values() if parent is not None} - seen
    return found


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError("give [low, high] with low below high")
    return bounds


def _no_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"{name!r} is reserved and cannot be the name of a metric")
    return name


Metric = Annotated[str, Key(pattern=METRIC), AfterValidator(_no_reserved)]
Number = Annotated[float, Key(allow_inf_nan=False, strict=True)]
# A number in metadata; greater ones would overflow sums.
Quantity = Annotated[float, Key(allow_inf_nan=False, strict=True, ge=-1e15, le=1e15)]
Bounds = Annotated[tuple[Quantity, Quantity], AfterValidator(_ordered)]


class Counter(BaseModel):
    """A register that only rises, such as a kWh meter, until it rolls over at a declared size.

    A reading times `factor` is an amount in `unit`; of pulses `factor` is the kWh of one. A register that is `net` may
    fall as well. `role` says what it counts; without one its name does.
    """

    model_config = ConfigDict(extra="forbid")

    unit: str = Key(min_length=1, max_length=20)
    factor: Number | None = Key(None, ge=1e-9, le=1e9)
    rollover: Number | None = Key(None, gt=0, le=1e15)
    role: Literal["import", "export", "total", "part"] | None = None
    net: StrictBool = False

    @model_validator(mode="after")
    def _a_net_register_never_rolls_over(self) -> Self:
        if self.net and self.rollover is not None:
            raise ValueError("a net register may fall, so a fall cannot mean a rollover; give one of net and rollover")
        return self


class DeclaredChange(BaseModel):
    """A change of the meter behind a counter: when, what the old one showed last and the new one first."""

    model_config = ConfigDict(extra="forbid")

    counter: Metric
    at: AwareDatetime
    last_old: Quantity | None = None
    first_new: Quantity | None = None


class DeviceMetadata(BaseModel):
    """The keys of `metadata_json` that the platform reads. Other keys are stored unchanged."""

    model_config = ConfigDict(extra="allow")

    timezone: Zone | None = None
    bands: dict[Metric, Bounds] = {}
    limits: dict[Metric, Bounds] = {}
    ignore: list[Metric] = []
    counters: dict[Metric, Counter] = {}
    cadence_seconds: Number | None = Key(None, gt=0, le=86_400)
    reporting: dict[Metric, Literal["on_change", "sampled"]] = {}
    meter_changes: Annotated[list[DeclaredChange], Key(max_length=1000)] = []
    max_power_w: Number | None = Key(None, gt=0, le=1e12)
    exports: StrictBool = False
    off_below_w: Number | None = Key(None, ge=0)
    idle_below_w: Number | None = Key(None, ge=0)
    working_hours: Annotated[list[ActiveHours], Key(min_length=1, max_length=20)] | None = None
    parent_device: Annotated[str, Key(pattern=IDENTIFIER, max_length=MAX_IDENTIFIER)] | None = None
    tariff: None = None

    @classmethod
    def parse(cls, metadata_json: str | None) -> Self:
        """The metadata in a device's row, without keys that are not valid, as older versions may have left them."""
        try:
            return cls.model_validate_json(metadata_json or "{}")
        except ValidationError as error:
            invalid = {part["loc"][0] for part in error.errors(include_url=False) if part["loc"]}
            return cls._without(invalid, metadata_json or "{}")

    @classmethod
    def _without(cls, invalid: set[str | int], metadata_json: str) -> Self:
        try:
            metadata = json.loads(metadata_json)
            return cls.model_validate({name: value for name, value in metadata.items() if name not in invalid})
        except (ValueError, AttributeError):  # what is no JSON object, or contradicts itself
            return cls()

    @field_validator("tariff", mode="before")
    @classmethod
    def _tariff_is_reserved(cls, value: object) -> None:
        if value is not None:
            raise ValueError("is reserved for energy management, which does not exist yet; leave it out")

    @model_validator(mode="after")
    def _changed_meters_are_counters(self) -> Self:
        unknown = {change.counter for change in self.meter_changes} - set(self.counters)
        if unknown:
            raise ValueError(f"meter_changes names {', '.join(sorted(unknown))}; declare it under counters")
        return self

    @model_validator(mode="after")
    def _off_is_below_idle(self) -> Self:
        if self.off_below_w is not None and self.idle_below_w is not None and self.off_below_w > self.idle_below_w:
            raise ValueError("off_below_w is above idle_below_w; a machine that is off draws less than one that idles")
        return self

    @model_validator(mode="after")
    def _ignored_have_no_band(self) -> Self:
        both = set(self.ignore) & (set(self.bands) | set(self.limits))
        if both:
            raise ValueError(f"{', '.join(sorted(both))} is ignored and has a band or limits; keep one of the two")
        return self

    @property
    def plausible_limits(self) -> dict[str, Bounds]:
        """The plausible limits that differ from the usual ones: declared, or of a device that feeds in."""
        return {**({"current": EXPORTING_CURRENT} if self.exports else {}), **self.limits}

    def zone(self, site: ZoneInfo) -> ZoneInfo:
        return ZoneInfo(self.timezone) if self.timezone else site


def metadata_text(metadata: dict[str, Any] | str | None) -> str | None:
    """`metadata_json` as it is stored, from the object or its text.

    Raises:
        ValueError: it is not a JSON object, it is too large, or a key that the platform reads has a wrong value.

    """
    if metadata is None:
        return None
    if isinstance(metadata, str):
        try:
            parsed = json.loads(metadata)
        except (ValueError, RecursionError):
            raise ValueError('is not JSON; give an object such as {"timezone": "Europe/Paris"}') from None
        if not isinstance(parsed, dict):
            raise ValueError('is not a JSON object; give one such as {"timezone": "Europe/Paris"}')  # noqa: TRY004 - a field's wrong value
        metadata = parsed
    try:
        text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise ValueError("contains NaN or an infinite number, which JSON cannot express") from None
    if "\\u0000" in text:
        raise ValueError("contains the character NUL, which the database cannot store")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_METADATA_BYTES:
        raise ValueError(f"is larger than {MAX_METADATA_BYTES // 1024} kB")
    try:
        DeviceMetadata.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(first_error(error.errors(include_url=False))) from None
    return text
