"""Planned work on machines: windows of time in which no alert is raised, and how many alerts they suppressed."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
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
    """The windows of these devices and those of all devices, even in a session that sees one tenant only."""
    rows = session.execute(_COVERING, {"devices": list(devices)})
    return [MaintenanceWindow(**row) for row in rows.mappings()]


def windows_during(
    session: Session, device_id: str, tenant_id: str | None, start: datetime, end: datetime
) -> list[MaintenanceWindow]:
    """The windows that cover a device, which may belong to a tenant, and overlap the half-open range."""
    return [
        window
        for window in windows_covering(session, [device_id])
        if window.starts_at < end
        and start < window.ends_at
        and (window.device_id is not None or window.tenant_id in {None, tenant_id})
    ]


def all_windows(session: Session) -> list[MaintenanceWindow]:
    """Every window, those that are over included."""
    return list(session.exec(select(MaintenanceWindow)))


class SuppressedAlerts(SQLModel, table=True):
    """How many alerts a rule would have raised for a device if it had not been in maintenance.

    The table keeps the name it was made with.
    """

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


class Suppressed(NamedTuple):
    """Alerts of a device and a rule that are to be counted as suppressed: how many, and their first and last time."""

    device_id: str
    rule_id: UUID
    tenant_id: str | None
    alerts: int
    first: datetime
    last: datetime


_SPANS = text("""
SELECT h.device_id, h.rule_id, h.first_reading_time, h.last_reading_time FROM held_back_alerts h
JOIN unnest(CAST(:devices AS text[]), CAST(:rules AS uuid[])) AS w (device_id, rule_id)
  ON h.rule_id = w.rule_id AND h.device_id = w.device_id
""")
_ADD = text("""
INSERT INTO held_back_alerts AS h (device_id, rule_id, tenant_id, count, first_reading_time, last_reading_time)
SELECT * FROM unnest(CAST(:devices AS text[]), CAST(:rules AS uuid[]), CAST(:tenants AS text[]), CAST(:counts AS int[]),
                     CAST(:firsts AS timestamptz[]), CAST(:lasts AS timestamptz[]))
ON CONFLICT (rule_id, device_id) DO UPDATE SET
    count = h.count + excluded.count,
    first_reading_time = least(h.first_reading_time, excluded.first_reading_time),
    last_reading_time = greatest(h.last_reading_time, excluded.last_reading_time)
""")


def suppressed_spans(
    session: Session, keys: Collection[tuple[str, UUID]]
) -> dict[tuple[str, UUID], tuple[datetime, datetime]]:
    """The first and last time of the suppressed alerts of each (device, rule); those without any are left out."""
    columns = {"devices": [device_id for device_id, _ in keys], "rules": [rule_id for _, rule_id in keys]}
    return {(device_id, rule_id): (first, last) for device_id, rule_id, first, last in session.execute(_SPANS, columns)}


def add_suppressed(session: Session, rows: Sequence[Suppressed]) -> None:
    """Add to the counts of suppressed alerts."""
    names = ("devices", "rules", "tenants", "counts", "firsts", "lasts")
    columns = (list(column) for column in zip(*rows, strict=True))
    session.execute(_ADD, dict(zip(names, columns, strict=True)))
