"""When devices were last heard, and since when somebody listens."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from storage.database import Timestamp


class DeviceLastSeen(SQLModel, table=True):
    """A device that was heard at least once: when its last reading came, and the newest time that one carried."""

    __tablename__ = "device_presence"

    device_id: str = Field(primary_key=True, max_length=50)
    heard_at: datetime = Timestamp()
    newest_reading: datetime = Timestamp()


class Listening(SQLModel, table=True):
    """The one row that says since when, without a break, some ingester takes what devices send."""

    __tablename__ = "listening"
    __table_args__ = (CheckConstraint("id = 1", name="listening_one_row"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    since: datetime = Timestamp()
    until: datetime = Timestamp()
