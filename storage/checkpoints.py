"""The handover's history of exports: a row per file, and how its last export went."""

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field, Session, SQLModel, Text, col, select, update

from storage.catalogue import Dataset
from storage.database import Timestamp
from storage.times import utc_now


class ExportCheckpoint(SQLModel, table=True):
    """The handover's history of exports, one row per export of a device."""

    __tablename__ = "export_checkpoints"
    __table_args__ = (
        UniqueConstraint("device_id", "last_exported_at", name="uq_checkpoint_device_exported"),
        Index("idx_checkpoint_device_id", "device_id"),
        Index("idx_checkpoint_status", "status"),
        Index("idx_checkpoint_updated", "updated_at"),
    )

    id: int | None = Field(default=None, primary_key=True)
    device_id: str = Field(max_length=50)
    last_exported_at: datetime = Timestamp()
    last_sequence: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    status: str = Field(max_length=50)
    s3_key: str | None = Field(default=None, max_length=500)
    record_count: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    error_message: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Timestamp(default_factory=utc_now, sa_column_kwargs={"server_default": text("now()")})
    updated_at: datetime = Timestamp(default_factory=utc_now, sa_column_kwargs={"server_default": text("now()")})


def note_export(session: Session, dataset: Dataset) -> None:
    """Note an export in the handover's history: a row per file, moved on by each export of it. The caller commits."""
    now = utc_now()
    moved = session.exec(
        update(ExportCheckpoint)
        .where(col(ExportCheckpoint.device_id) == dataset.device_id, col(ExportCheckpoint.s3_key) == dataset.key)
        .values(
            last_exported_at=now,
            updated_at=now,
            last_sequence=col(ExportCheckpoint.last_sequence) + 1,
            record_count=dataset.rows,
            status="COMPLETED",
            error_message=None,
        )
    )
    if not moved.rowcount:
        session.add(
            ExportCheckpoint(
                device_id=dataset.device_id,
                s3_key=dataset.key,
                last_exported_at=now,
                last_sequence=1,
                record_count=dataset.rows,
                status="COMPLETED",
            )
        )


def note_failure(session: Session, device_id: str, key: str, reason: str) -> None:
    """Note there that an export did not come to its end; the next one that does clears it. The caller commits."""
    of_file = select(ExportCheckpoint).where(ExportCheckpoint.device_id == device_id, ExportCheckpoint.s3_key == key)
    row = session.exec(of_file).first() or ExportCheckpoint(
        device_id=device_id, s3_key=key, status="FAILED", last_exported_at=utc_now()
    )
    row.updated_at = utc_now()
    row.status, row.error_message = "FAILED", reason
    session.add(row)
