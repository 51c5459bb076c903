"""Corrections of readings: what somebody says about a range of a metric. The readings themselves are never changed.

A correction is never edited or deleted: undoing it fills the columns that say who undid it, when and why. Later
corrections win over earlier ones, in the order of their ids.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, text
from sqlmodel import Field, Session, SQLModel, Text, col, func, select
from sqlmodel.sql.expression import SelectOfScalar

from storage import dirty_days
from storage.access import keys_of_others
from storage.database import Timestamp
from storage.times import utc_now

FORMER_OWNER = "a former owner"
FORMER_REASON = "A former owner of the device gave the reason."
CorrectionAction = Literal["exclude", "replace", "confirm"]


class Correction(SQLModel, table=True):
    """A correction of a device's metric over the half-open range from `starts_at` to `ends_at`.

    `value` belongs to `replace`. With a `unit` it is what a counter counted in the range, in that unit; without one it
    is the value of each reading.
    """

    __tablename__ = "corrections"
    __table_args__ = (
        CheckConstraint("starts_at < ends_at", name="corrections_range"),
        Index("corrections_of", "device_id", "correction_id"),
        Index("corrections_active", "device_id", postgresql_where=text("undone_at IS NULL")),
    )

    correction_id: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()], primary_key=True)
    device_id: str = Field(max_length=50)
    metric: str = Field(max_length=63)
    starts_at: datetime = Timestamp()
    ends_at: datetime = Timestamp()
    action: str = Field(max_length=10)
    value: float | None = None
    unit: str | None = Field(default=None, max_length=20)
    reason: str = Field(sa_type=Text)
    created_by: str = Field(max_length=100)
    created_at: datetime = Timestamp(default_factory=utc_now)
    undone_by: str | None = Field(default=None, max_length=100)
    undone_at: datetime | None = Timestamp(default=None)
    undone_reason: str | None = Field(default=None, sa_type=Text)


def of_device(device_id: str) -> SelectOfScalar[Correction]:
    """Select the corrections of a device, undone ones included."""
    return select(Correction).where(Correction.device_id == device_id)


def seen_by(session: Session, rows: Iterable[Correction], tenant_id: str | None) -> list[dict[str, Any]]:
    """Corrections as a tenant sees them; None sees everything.

    A device may have moved: who of its former owner corrected something, and why, is not shown.
    """
    found = [row.model_dump() for row in rows]
    names = {row[name] for row in found for name in ("created_by", "undone_by") if row[name] is not None}
    others = keys_of_others(session, names, tenant_id) if tenant_id is not None else frozenset()
    for row in found:
        if row["created_by"] in others:
            row |= {"created_by": FORMER_OWNER, "reason": FORMER_REASON}
        if row["undone_by"] in others:
            row |= {"undone_by": FORMER_OWNER, "undone_reason": row["undone_reason"] and FORMER_REASON}
    return found


def active(session: Session, device_id: str) -> list[Correction]:
    """The corrections of a device that are not undone, oldest first."""
    found = of_device(device_id).where(col(Correction.undone_at).is_(None))
    return list(session.exec(found.order_by(col(Correction.correction_id))))


def count_active(session: Session, device_id: str) -> int:
    """How many corrections of a device are not undone."""
    found = select(func.count()).select_from(Correction)
    return session.exec(found.where(Correction.device_id == device_id, col(Correction.undone_at).is_(None))).one()


def add(session: Session, correction: Correction) -> None:
    """Store a correction and mark its days dirty. The caller commits."""
    session.add(correction)
    session.flush()
    dirty_days.mark_range(session, correction.device_id, correction.starts_at, correction.ends_at)


def undo(session: Session, correction: Correction, *, by: str, reason: str | None) -> None:
    """Undo a correction and mark its days dirty; one that is undone stays as it is. The caller commits."""
    if correction.undone_at is not None:
        return
    correction.undone_by, correction.undone_at, correction.undone_reason = by, utc_now(), reason
    session.add(correction)
    session.flush()
    dirty_days.mark_range(session, correction.device_id, correction.starts_at, correction.ends_at)
