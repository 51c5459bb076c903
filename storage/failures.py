"""Recorded failures of devices: what failure prediction learns from, with the source of each record.

A device whose status turns `error` has failed. It is repaired when its status leaves `error`.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field, Session, SQLModel, Text, col, select
from sqlmodel.sql.expression import SelectOfScalar

from storage.database import Timestamp
from storage.times import utc_now

FAILED = "error"  # a device's status
FailureSource = Literal["api", "import", "status"]


class Failure(SQLModel, table=True):
    """A failure of a device, and when the device ran again, if that is known."""

    __tablename__ = "failures"
    __table_args__ = (
        UniqueConstraint("device_id", "failed_at", name="failures_once"),
        CheckConstraint("failed_at < repaired_at", name="failures_range"),
    )

    failure_id: UUID = Field(default_factory=uuid4, primary_key=True)
    device_id: str = Field(max_length=50)
    failed_at: datetime = Timestamp()
    repaired_at: datetime | None = Timestamp(default=None)
    description: str | None = Field(default=None, sa_type=Text)
    source: str = Field(max_length=10)
    created_at: datetime = Timestamp(default_factory=utc_now)
    updated_at: datetime = Timestamp(default_factory=utc_now)


def of_device(device_id: str) -> SelectOfScalar[Failure]:
    """Select the failures of a device."""
    return select(Failure).where(Failure.device_id == device_id)


def of_devices(session: Session, device_ids: Collection[str]) -> dict[str, list[Failure]]:
    """The failures of these devices in time order; devices without failures are left out."""
    found: dict[str, list[Failure]] = {}
    rows = select(Failure).where(col(Failure.device_id).in_(device_ids)).order_by(col(Failure.failed_at))
    for row in session.exec(rows):
        found.setdefault(row.device_id, []).append(row)
    return found


def at(session: Session, device_id: str, failed_at: datetime) -> Failure | None:
    """The device's failure at exactly this moment."""
    return session.exec(of_device(device_id).where(Failure.failed_at == failed_at)).first()


def record_status(session: Session, device_id: str, before: str, after: str) -> None:
    """Record that a device's status has turned `error`, or has left it. The caller commits."""
    now = utc_now()
    if after == FAILED != before:
        session.add(Failure(device_id=device_id, failed_at=now, source="status"))
    elif before == FAILED != after:
        is_open = of_device(device_id).where(Failure.source == "status", col(Failure.repaired_at).is_(None))
        row = session.exec(is_open.order_by(col(Failure.failed_at).desc())).first()
        if row is not None and row.failed_at < now:
            row.repaired_at, row.updated_at = now, now
            session.add(row)
