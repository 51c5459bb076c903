"""The quarantine: what was refused on its way in, kept whole with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import BigInteger, Identity, insert, text, tuple_
from sqlmodel import Field, Session, SQLModel, Text, col, select, update
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
    """Which rows of the quarantine: those that match every field that is set. `since` is included, `until` is not."""

    ids: Sequence[int] | None = None
    device_id: str | None = None
    reason: str | None = None
    metric: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    replayed: bool | None = None

    def of(self, query: SelectOfScalar[Row]) -> SelectOfScalar[Row]:
        """The query, narrowed to the selection; `reason` is a part of the reason's text in any case."""
        row = QuarantinedReading
        if self.ids is not None:
            query = query.where(col(row.id).in_(self.ids))
        if self.device_id is not None:
            query = query.where(row.device_id == self.device_id)
        if self.reason is not None:
            query = query.where(col(row.reason).icontains(self.reason, autoescape=True))
        if self.metric is not None:
            query = query.where(row.metric == self.metric)
        if self.since is not None:
            query = query.where(col(row.received_at) >= self.since)
        if self.until is not None:
            query = query.where(col(row.received_at) < self.until)
        if self.replayed is not None:
            query = query.where(col(row.replayed_at).is_not(None) if self.replayed else col(row.replayed_at).is_(None))
        return query

    def rows(self) -> SelectOfScalar[QuarantinedReading]:
        """Select the rows."""
        return self.of(select(QuarantinedReading))


def add_quarantined(session: Session, rows: Sequence[QuarantinedReading]) -> None:
    """Add rows, thousands of them in one statement."""
    if rows:
        session.execute(insert(QuarantinedReading), [row.model_dump(exclude={"id"}) for row in rows])


def without_known(session: Session, rows: Sequence[QuarantinedReading]) -> list[QuarantinedReading]:
    """The rows whose payload has not been quarantined on its topic before, whether it was replayed or not."""
    if not rows:
        return []
    row = QuarantinedReading
    query = select(row.topic, row.payload).where(
        tuple_(row.topic, row.payload).in_([(r.topic, r.payload) for r in rows])
    )
    known = set(session.exec(query))
    return [r for r in rows if (r.topic, r.payload) not in known]


def newest_rows(session: Session, selection: Selection, limit: int) -> list[QuarantinedReading]:
    """The selection's rows, newest first."""
    row = QuarantinedReading
    query = selection.rows().order_by(col(row.received_at).desc(), col(row.id).desc())
    return list(session.exec(query.limit(limit)))


def waiting_ids(session: Session, selection: Selection, *, after: int = 0, limit: int) -> list[int]:
    """Ids of the selection's rows that have not been replayed, ascending, from those above `after`."""
    row_id = col(QuarantinedReading.id)
    query = selection.of(select(row_id)).where(col(QuarantinedReading.replayed_at).is_(None), row_id > after)
    return [found_id for found_id in session.exec(query.order_by(row_id).limit(limit)) if found_id is not None]


def waiting_rows(session: Session, ids: Sequence[int]) -> list[QuarantinedReading]:
    """Those of the rows that have not been replayed, by ascending id."""
    query = Selection(ids=ids, replayed=False).rows()
    return list(session.exec(query.order_by(col(QuarantinedReading.id))))


def mark_replayed(session: Session, ids: Sequence[int]) -> None:
    """Record that these rows were replayed now."""
    if ids:
        session.exec(
            update(QuarantinedReading).where(col(QuarantinedReading.id).in_(ids)).values(replayed_at=utc_now())
        )


def try_lock_replay(session: Session) -> bool:
    """Take the lock of replays until the transaction ends; False if another replay has it."""
    return bool(session.execute(text("SELECT pg_try_advisory_xact_lock(hashtext('energy/replay'))")).scalar())
