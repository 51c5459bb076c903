"""What was refused on its way in, kept whole with the reason."""

from datetime import datetime

from sqlalchemy import BigInteger, Identity
from sqlmodel import Field, SQLModel, Text

from storage.database import Timestamp, utc_now


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
