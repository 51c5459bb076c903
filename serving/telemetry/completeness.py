"""How complete each device's days are: the share of each day that readings cover, and what its checks found."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, Field

from serving.auth.tenancy import DatabaseSession
from serving.devices.schemas import DeviceId
from serving.http.errors import Invalid
from serving.http.fields import Day, Text
from serving.http.pagination import SORT, CursorQuery, Page, paginate
from storage.completeness import KnownDay, known_days
from storage.devices import registered
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/data", tags=["telemetry"])

MAX_DAYS = 92
DEFAULT_DAYS = 30


def _within_years(day: date) -> date:
    if not 1970 <= day.year <= 2200:
        raise ValueError("is outside the years 1970 to 2200")
    return day


ShownDay = Annotated[Day, AfterValidator(_within_years)]


class CompletenessQuery(CursorQuery):
    """Days from `start_date` to `end_date`, both included; by default the last 30."""

    start_date: ShownDay | None = None
    end_date: ShownDay | None = None
    device_id: DeviceId | None = None
    search: Annotated[Text, Field(max_length=100, description="Part of the id, the name or the location")] | None = None
    sort: Annotated[Literal["device_id", "-device_id", "device_name", "-device_name"], SORT] = "device_id"


class DayCompleteness(BaseModel):
    """A UTC day with telemetry.

    `coverage` is the share of the day that readings cover, 0 to 1, and `status` the worst of the day's checks; both are
    null while the day is open. `findings` are the checks that are not ok. `waiting`: readings came that are not in the
    day's file yet, and `late` says so of a day that is over.
    """

    day: date
    rows: int | None
    coverage: float | None
    status: Literal["ok", "warn", "error"] | None
    findings: dict[str, str]
    waiting: bool
    late: bool


class DeviceCompleteness(BaseModel):
    """A device's days with telemetry, ascending; the other days of the range have none."""

    device_id: str
    device_name: str
    days: list[DayCompleteness]


@router.get("/completeness")
def list_completeness(
    session: DatabaseSession, query: Annotated[CompletenessQuery, Query()]
) -> Page[DeviceCompleteness]:
    """How complete each registered device's days are, at most 92 days."""
    today = utc_now().date()
    end = query.end_date or today
    start = query.start_date or end - timedelta(days=DEFAULT_DAYS - 1)
    if start > end:
        raise Invalid("start_date is after end_date", field="start_date")
    if (end - start).days >= MAX_DAYS:
        raise Invalid(f"the range is longer than {MAX_DAYS} days; ask for fewer", field="start_date")
    found = paginate(session, registered(query.search), query, "device_id")
    days = known_days(session, [device.device_id for device in found.rows], start, end)
    items: dict[str, DeviceCompleteness] = {
        device.device_id: DeviceCompleteness(device_id=device.device_id, device_name=device.device_name, days=[])
        for device in found.rows
    }
    for (device_id, day), known in sorted(days.items()):
        items[device_id].days.append(_public(day, known, today))
    return Page[DeviceCompleteness].of(query, list(items.values()), found)


def _public(day: date, known: KnownDay, today: date) -> DayCompleteness:
    checks: Mapping[str, Any] = known.checks or {}
    statuses = {check["status"] for check in checks.values()}
    return DayCompleteness(
        day=day,
        rows=known.rows,
        coverage=checks["completeness"]["value"] if "completeness" in checks else None,
        status=next((status for status in ("error", "warn", "ok") if status in statuses), None),
        findings={kind: check["detail"] for kind, check in checks.items() if check["status"] != "ok"},
        waiting=known.waiting,
        late=known.waiting and day < today,
    )
