"""Planned work on machines: windows of time in which no alert is raised, and what was held back."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, text
from sqlmodel import Field, Session, SQLModel, Text, col, select
from sqlmodel.sql.expression import SelectOfScalar

from storage.database import Timestamp
from storage.times import utc_now


class MaintenanceWindow(SQLModel, table=True):
    """A half-open range of time of one device, or of all (of a tenant, where it has one)."""

    __tablename__ = "maintenance_windows"
    __table_args__ = (CheckConstraint("starts_at < ends_at", name="maintenance_windows_range"),)

    window_id: UUID = Field(default_factory=uuid4, primary_key=True)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    device_id: str | None = Field(default=None, index=True, max_length=50)
    starts_at: datetime = Timestamp()
    ends_at: datetime = Timestamp(index=True)
    reason: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Timestamp(default_factory=utc_now)
    updated_at: datetime = Timestamp(default_factory=utc_now)


_COVERING = text("""
SELECT window_id, tenant_id, device_id, starts_at, ends_at, reason, created_at, updated_at FROM maintenance_windows
WHERE device_id IS NULL OR device_id = ANY(CAST(:devices AS text[]))
""")


def windows_covering(session: Session, devices: Sequence[str]) -> list[MaintenanceWindow]:
    """Windows of these devices and those of all, also of a session that lists its own tenant's only."""
    rows = session.execute(_COVERING, {"devices": list(devices)})
    return [MaintenanceWindow(**row) for row in rows.mappings()]


class SuppressedAlerts(SQLModel, table=True):
    """How many alerts a rule would have raised for a device, had it not been in maintenance."""

    __tablename__ = "held_back_alerts"

    rule_id: UUID = Field(foreign_key="rules.rule_id", ondelete="CASCADE", primary_key=True)
    device_id: str = Field(primary_key=True, max_length=50)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    count: int
    first_reading_time: datetime = Timestamp()
    last_reading_time: datetime = Timestamp()


def windows(device_id: str | None = None, at: datetime | None = None) -> SelectOfScalar[MaintenanceWindow]:
    """Select windows; with `device_id` those that cover it, with `at` those that include this time."""
    statement = select(MaintenanceWindow)
    if device_id is not None:
        column = col(MaintenanceWindow.device_id)
        statement = statement.where((column == device_id) | column.is_(None))
    if at is not None:
        statement = statement.where(col(MaintenanceWindow.starts_at) <= at, col(MaintenanceWindow.ends_at) > at)
    return statement
