"""Days whose newest readings are not in a file yet."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.auth.tenancy import DatabaseSession
from serving.devices.schemas import DeviceId
from serving.http.fields import Moment
from serving.http.pagination import SORT, CursorQuery, Page, paginate
from storage.dirty_days import waiting_days
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/exports", tags=["exports"])


class WaitingQuery(CursorQuery):
    device_id: DeviceId | None = None
    late: Annotated[bool, Field(description="Only days that are over (true), or only today (false)")] | None = None
    sort: Annotated[Literal["day", "-day"], SORT] = "-day"


class WaitingDayPublic(BaseModel):
    """A device's UTC day that waits for its export; `late` says that the day is over.

    `first_marked_at` is when the first of the new readings came, `last_marked_at` when one came last, to half a minute.
    """

    device_id: str
    day: date
    late: bool
    first_marked_at: Moment
    last_marked_at: Moment


@router.get("/waiting")
def list_waiting_days(session: DatabaseSession, query: Annotated[WaitingQuery, Query()]) -> Page[WaitingDayPublic]:
    """List days whose newest readings are not in a file yet, newest day first by default."""
    today = utc_now().date()
    found = paginate(session, waiting_days(today, late=query.late), query, "device_id")
    items = [
        WaitingDayPublic(
            device_id=row.device_id,
            day=row.day,
            late=row.day < today,
            first_marked_at=row.first_touched_at,
            last_marked_at=row.touched_at,
        )
        for row in found.rows
    ]
    return Page[WaitingDayPublic].of(query, items, found)
