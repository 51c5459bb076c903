"""Whose a device id is before it is registered: prefixes granted to tenants, and ids that have already sent."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlmodel import Field, Session, SQLModel, col, func, select

from storage.database import Timestamp
from storage.devices import Device
from storage.dirty_days import DirtyDay
from storage.last_seen import DeviceLastSeen
from storage.quarantine import QuarantinedReading
from storage.times import utc_now


class TenantPrefix(SQLModel, table=True):
    """A prefix of device ids that only one tenant may register, also those that have already sent."""

    __tablename__ = "tenant_prefixes"

    prefix: str = Field(primary_key=True, max_length=50)
    tenant_id: str = Field(index=True, max_length=50)
    created_at: datetime = Timestamp(default_factory=utc_now)


class PrefixTaken(Exception):
    """Another tenant has the prefix, a part of it, or a longer one that begins with it."""


def grant(session: Session, tenant_id: str, prefix: str) -> bool:
    """Grant a prefix to a tenant; False if it has it. The caller commits.

    Raises:
        PrefixTaken: Some ids with the prefix are granted to another tenant.

    """
    for other in granted_prefixes(session):
        if other.prefix.startswith(prefix) or prefix.startswith(other.prefix):
            if other.tenant_id != tenant_id:
                raise PrefixTaken(f"{other.prefix} is granted to {other.tenant_id}; revoke that first")
            if other.prefix == prefix:
                return False
    session.add(TenantPrefix(prefix=prefix, tenant_id=tenant_id))
    return True


def revoke(session: Session, prefix: str) -> bool:
    """End a grant; False if there is none of this prefix. Devices that are registered stay. The caller commits."""
    row = session.get(TenantPrefix, prefix)
    if row is not None:
        session.delete(row)
    return row is not None


def granted_prefixes(session: Session) -> Sequence[TenantPrefix]:
    """All grants, by tenant and prefix."""
    return session.exec(select(TenantPrefix).order_by(col(TenantPrefix.tenant_id), col(TenantPrefix.prefix))).all()


def grantee(prefixes: Sequence[TenantPrefix], device_id: str) -> str | None:
    """The tenant that an id is granted to."""
    return next((row.tenant_id for row in prefixes if device_id.startswith(row.prefix)), None)


def senders_among(session: Session, device_ids: Collection[str]) -> set[str]:
    """Those of the ids, registered or not, under which anything was ever received, readings or rubbish."""
    found: set[str] = set()
    for table in (DirtyDay, DeviceLastSeen, QuarantinedReading):
        column = col(table.device_id)
        found.update(filter(None, session.exec(select(column).where(column.in_(device_ids)).distinct())))
    return found


_LOCK_COUNT = text("SELECT pg_advisory_xact_lock(hashtext('energy/devices-per-tenant/' || :tenant))")


def count_devices(session: Session, tenant_id: str) -> int:
    """How many devices a tenant has, deleted ones included.

    Holds a lock until the transaction ends, so that two registrations that are counted at once do not miss each other.
    """
    session.execute(_LOCK_COUNT, {"tenant": tenant_id})
    return session.exec(select(func.count()).select_from(Device).where(Device.tenant_id == tenant_id)).one()
