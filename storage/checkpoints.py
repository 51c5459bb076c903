"""The table `export_checkpoints`, which clients read: a row per exported file, with the outcome of the last export."""

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field, Session, SQLModel, Text, col, select, update

from storage.catalogue import Dataset
from storage.database import Timestamp
from storage.times import utc_now


class ExportCheckpoint(SQLModel, table=True):
    """The last export of a device's file. `last_sequence` counts the exports of the file that succeeded."""

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


def newest(session: Session, device_id: str) -> ExportCheckpoint | None:
    """Return the checkpoint of the device's file that was exported last."""
    of_device = select(ExportCheckpoint).where(ExportCheckpoint.device_id == device_id)
    return session.exec(of_device.order_by(col(ExportCheckpoint.last_exported_at).desc()).limit(1)).first()


def note_export(session: Session, dataset: Dataset) -> None:
    """Record a successful export of a file. The caller commits."""
    now = utc_now()
    updated = session.exec(
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
    if not updated.rowcount:
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
    """Record that an export of a file failed; its next successful export clears the error. The caller commits."""
    query = select(ExportCheckpoint).where(ExportCheckpoint.device_id == device_id, ExportCheckpoint.s3_key == key)
    row = session.exec(query).first() or ExportCheckpoint(
        device_id=device_id, s3_key=key, status="FAILED", last_exported_at=utc_now()
    )
    row.updated_at = utc_now()
    row.status, row.error_message = "FAILED", reason
    session.add(row)
