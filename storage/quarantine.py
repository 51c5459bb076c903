"""What was refused on its way in, kept whole with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import BigInteger, Identity
from sqlmodel import Field, Session, SQLModel, Text, col, select
from sqlmodel.sql.expression import SelectOfScalar

from storage.database import Timestamp
from storage.times import utc_now


class QuarantinedReading(SQLModel, table=True):
    """A message, or one item of a message, that could not be taken as a reading."""

    __tablename__ = "quarantine"

    id: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()], primary_key=True)
    device_id: str | None = Field(default=None, index=True, max_length=50)
    topic: str = Field(sa_type=Text)
    payload: bytes
    reason: str = Field(sa_type=Text)
    metric: str | None = Field(default=None, max_length=63)
    received_at: datetime = Timestamp(default_factory=utc_now, index=True)
    replayed_at: datetime | None = Timestamp(default=None)


Row = TypeVar("Row")


@dataclass(frozen=True)
class Selection:
    """Which rows of the quarantine: those that meet everything that is said. `since` is included, `until` is not."""

    ids: Sequence[int] | None = None
    device_id: str | None = None
    reason: str | None = None
    metric: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    replayed: bool | None = None

    def of(self, found: SelectOfScalar[Row]) -> SelectOfScalar[Row]:
        """The query, narrowed; `reason` is a part of the reason's text in any case."""
        row = QuarantinedReading
        if self.ids is not None:
            found = found.where(col(row.id).in_(self.ids))
        if self.device_id is not None:
            found = found.where(row.device_id == self.device_id)
        if self.reason is not None:
            found = found.where(col(row.reason).icontains(self.reason, autoescape=True))
        if self.metric is not None:
            found = found.where(row.metric == self.metric)
        if self.since is not None:
            found = found.where(col(row.received_at) >= self.since)
        if self.until is not None:
            found = found.where(col(row.received_at) < self.until)
        if self.replayed is not None:
            found = found.where(col(row.replayed_at).is_not(None) if self.replayed else col(row.replayed_at).is_(None))
        return found

    def rows(self) -> SelectOfScalar[QuarantinedReading]:
        """Select the rows."""
        return self.of(select(QuarantinedReading))


def newest(session: Session, selection: Selection, limit: int) -> Sequence[QuarantinedReading]:
    """The selection's rows, newest first."""
    row = QuarantinedReading
    return session.exec(
        selection.of(select(row)).order_by(col(row.received_at).desc(), col(row.id).desc()).limit(limit)
    ).all()
