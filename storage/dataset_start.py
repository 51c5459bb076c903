"""The first day of datasets, with which Dagster's partitions begin: as set, or the month of the oldest reading."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, text
from sqlmodel import Field, Session, SQLModel, col, select

from storage.database import Timestamp
from storage.dirty_days import DirtyDay, waits_for_export
from storage.settings import Settings
from storage.times import utc_now


class DatasetStart(SQLModel, table=True):
    """The one row that keeps the first day, once there is a reading. It moves to earlier days only."""

    __tablename__ = "dataset_start"
    __table_args__ = (CheckConstraint("id = 1", name="dataset_start_one_row"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    day: date
    moved_at: datetime = Timestamp(default_factory=utc_now)


_MOVE = text("""
INSERT INTO dataset_start AS s (id, day, moved_at) VALUES (1, :day, now())
ON CONFLICT (id) DO UPDATE SET day = excluded.day, moved_at = now() WHERE s.day > excluded.day
""")


def dataset_start(session: Session, settings: Settings) -> date:
    """The first day of datasets now: as set, or kept, or, without any telemetry, the first of this month."""
    kept = session.get(DatasetStart, 1, populate_existing=True)
    return settings.dataset_start_date or (kept.day if kept else utc_now().date().replace(day=1))


def move_dataset_start(session: Session, settings: Settings) -> date:
    """Let datasets begin in the month of the oldest reading, if they begin later, and return the first day.

    A start that is set stays. The caller commits.
    """
    if settings.dataset_start_date is None:
        days = select(DirtyDay)
        if session.get(DatasetStart, 1):  # only what came lately can be older, and waits for its export
            days = days.where(waits_for_export())
        oldest = session.exec(days.order_by(col(DirtyDay.day)).limit(1)).first()
        if oldest is not None:
            session.execute(_MOVE, {"day": oldest.day.replace(day=1)})
    return dataset_start(session, settings)
