"""Registering and updating devices, one or many: whose id is free, what a tenant may change."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from assets.energy import basis_names, several_totals, unit_problem
from serving.devices.schemas import BulkRow, DeviceCreate, DeviceUpdate
from serving.http.errors import Conflict, Invalid, NotFound, Problem, Refused, field_errors
from storage import day_figures, devices, failures, grants, moves
from storage.access import Principal
from storage.devices import Device, DeviceMetadata
from storage.times import utc_now


def registered_device(session: Session, device_id: str, *, for_update: bool = False) -> Device:
    """The device.

    Raises:
        NotFound: It was never registered, or is deleted.

    """
    device = session.get(Device, device_id, with_for_update=for_update or None)
    if device is None or device.deleted_at:
        raise NotFound(f"there is no device {device_id}; POST /api/v1/devices registers one")
    return device


class DeviceLimit:
    """The limit on the devices of one tenant: MAX_DEVICES_PER_TENANT."""

    def __init__(self, session: Session, limit: int) -> None:
        self._session = session
        self._limit = limit
        self._counts: dict[str, int] = {}

    def add(self, tenant_id: str | None) -> None:
        """Count one more device of the tenant.

        Raises:
            Conflict: It has as many as it may have.

        """
        if tenant_id is None:
            return
        if tenant_id not in self._counts:
            with self._session.no_autoflush:
                self._counts[tenant_id] = grants.count_devices(self._session, tenant_id)
        if self._counts[tenant_id] >= self._limit:
            raise Conflict(
                f"{tenant_id} has {self._counts[tenant_id]} devices, deleted ones included, and MAX_DEVICES_PER_TENANT"
                f" is {self._limit}; delete some for good (soft=false), or raise the limit",
                field="tenant_id",
            )
        self._counts[tenant_id] += 1


class Registration:
    """Creates and updates the devices of one request; the caller flushes and commits."""

    def __init__(self, session: Session, principal: Principal, device_ids: Sequence[str], limit: DeviceLimit) -> None:
        """Look up the devices, with deleted ones, and lock their rows."""
        self._session = session
        self._principal = principal
        self._limit = limit
        self._devices = devices.lock_devices(session, device_ids)
        self._created: list[Device] = []
        with Session(session.get_bind()) as unscoped:  # the request's session sees its own tenant only
            self._taken = devices.existing_ids(unscoped, device_ids)
            self._senders = grants.senders_among(unscoped, device_ids)
            self._prefixes = grants.granted_prefixes(unscoped)

    def create(self, body: DeviceCreate) -> Device:
        """Add a new device.

        Raises:
            Conflict: Its id is taken or not for this tenant, or the tenant has too many devices.
            Invalid: Its metadata declare a counter whose unit cannot be meant.
            Refused: It names another tenant than the principal's.

        """
        device_id, own = body.device_id, self._principal.tenant_id
        existing = self._devices.get(device_id)
        if existing and existing.deleted_at:
            detail = f"{device_id} was deleted; POST /api/v1/devices/{device_id}/restore brings it back"
            raise Conflict(detail, field="device_id")
        if existing:
            detail = f"{device_id} is already registered; PUT /api/v1/devices/{device_id} changes it"
            raise Conflict(detail, field="device_id")
        if device_id in self._taken:
            raise Conflict(f"{device_id} is taken; choose another id", field="device_id")
        if own is not None and body.tenant_id not in (None, own):
            raise Refused(f"the key is bound to the tenant {own}; leave tenant_id out", field="tenant_id")
        if own is not None:
            self._check_id(device_id, own)
        _check_counters(body.metadata_json)
        tenant_id = own or body.tenant_id
        self._limit.add(tenant_id)
        device = self._devices[device_id] = Device(**{**body.model_dump(), "tenant_id": tenant_id})
        self._session.add(device)
        self._created.append(device)
        return device

    def _check_id(self, device_id: str, tenant_id: str) -> None:
        """Check that the id may become the tenant's: it is granted to it, or has never sent and is granted to nobody.

        Raises:
            Conflict: It may not.

        """
        grantee = grants.grantee(self._prefixes, device_id)
        if grantee == tenant_id:
            return
        if grantee is not None:
            raise Conflict(f"{device_id} is reserved for another tenant; choose another id", field="device_id")
        if device_id in self._senders:
            detail = f"{device_id} has already sent telemetry; only a key without a tenant can register it"
            raise Conflict(
                f"{detail} for {tenant_id}, or grant its prefix to {tenant_id} (`energy tenants grant`)",
                field="device_id",
            )

    def create_or_update(self, index: int, row: Mapping[str, Any]) -> BulkRow:
        """Create or update the device of one row; a row that is wrong changes nothing."""
        device_id = row.get("device_id") if isinstance(row.get("device_id"), str) else None
        device_id = device_id and device_id.encode(errors="replace").decode()  # it may hold half of a surrogate pair
        try:
            device_id = DeviceCreate.model_validate({"device_name": "?", "device_type": "?", **row}).device_id
            device = self._devices.get(device_id)
            if device is None or device.deleted_at:
                self.create(DeviceCreate.model_validate(row))
                return BulkRow(index=index, device_id=device_id, status="created")
            is_changed = update(self._session, self._principal, device, DeviceUpdate.model_validate(row), self._limit)
            return BulkRow(index=index, device_id=device_id, status="updated" if is_changed else "unchanged")
        except ValidationError as error:
            errors = field_errors(error.errors(include_url=False))
            return BulkRow(index=index, device_id=device_id, status="failed", detail=errors[0].message, errors=errors)
        except Problem as problem:
            detail, errors = problem.detail, problem.errors
            return BulkRow(index=index, device_id=device_id, status="failed", detail=detail, errors=errors)

    def hand_over(self) -> None:
        """Give the files of devices that sent telemetry before their registration to their tenants."""
        by_tenant: dict[str, list[str]] = {}
        for device in self._created:
            if device.tenant_id is not None and device.device_id in self._senders:
                by_tenant.setdefault(device.tenant_id, []).append(device.device_id)
        for tenant_id, device_ids in sorted(by_tenant.items()):
            moves.move(self._session, device_ids, tenant_id)


def update(session: Session, principal: Principal, device: Device, body: DeviceUpdate, limit: DeviceLimit) -> bool:
    """Change the fields that the body names; whether any value changed.

    Raises:
        Conflict: The tenant that the body names has too many devices.
        Invalid: The body names another id, or its metadata declare a counter whose unit cannot be meant.
        Refused: The body names another tenant, and the principal is bound to one.

    """
    if body.device_id not in (None, device.device_id):
        raise Invalid("a device's id never changes; register another device instead", field="device_id")
    fields = body.model_dump(exclude_unset=True, exclude={"device_id"})
    if principal.tenant_id is not None and fields.get("tenant_id", device.tenant_id) != device.tenant_id:
        raise Refused(f"the key is bound to the tenant {principal.tenant_id}; leave tenant_id out", field="tenant_id")
    changes = {name: value for name, value in fields.items() if getattr(device, name) != value}
    if "tenant_id" in changes:
        limit.add(changes["tenant_id"])
    if "metadata_json" in changes:
        _check_counters(changes["metadata_json"])
    if "status" in changes:
        failures.record_status(session, device.device_id, device.status, changes["status"])
    basis = basis_names(DeviceMetadata.parse(device.metadata_json))
    had_owner = device.tenant_id is not None
    for name, value in changes.items():
        setattr(device, name, value)
    if changes:
        device.updated_at = utc_now()
    if basis_names(DeviceMetadata.parse(device.metadata_json)) != basis:
        day_figures.expire_energy(session, device.device_id)
    if "tenant_id" in changes:
        moves.move(session, [device.device_id], device.tenant_id, had_owner=had_owner)
    return bool(changes)


def _check_counters(metadata_json: str | None) -> None:
    """Refuse counters that could count nothing; what earlier releases took stays, and the energy answer says why."""
    metadata = DeviceMetadata.parse(metadata_json)
    for name in metadata.counters:
        if problem := unit_problem(metadata, name):
            raise Invalid(f"counters.{name}: {problem}", field="metadata_json")
    for names in several_totals(metadata, metadata.counters, declared=True):
        detail = f"counters: {' and '.join(names)} both have the role total; give it to the one that is the sum"
        raise Invalid(detail, field="metadata_json")
