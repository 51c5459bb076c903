"""States of machines over time."""

from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from sqlmodel import Session

from assets.datasets import TelemetryReader, states_of
from assets.energy import STATES, SiteSettings, State, working_periods
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import PlatformSettings, Readings, WorkingSite
from serving.devices.schemas import DevicePath
from serving.http.errors import Invalid, NotFound, problems
from serving.http.fields import Moment
from serving.http.formats import json_answer
from serving.telemetry.routes import refuse_unknown, requested_range
from serving.telemetry.schemas import End, Start
from storage import maintenance
from storage.devices import Device, metadata_of
from storage.settings import Settings
from storage.times import DAY, SECOND, microseconds, moment

router = APIRouter(prefix="/api/v1/data", tags=["telemetry"])

MAX_DAYS = 32
MAX_SPANS = 10_000


class StateTotal(BaseModel):
    """How long the machine was in a state, the share of the range (0 to 1), and the energy that it took meanwhile."""

    state: State
    seconds: float
    share: float
    energy_kwh: float


class StateSpan(BaseModel):
    state: State
    start_time: Moment
    end_time: Moment


class StatesData(BaseModel):
    """The states of a machine over a range as far as it has passed; they follow each other without a gap.

    `unknown`: its power is known, but its metadata have neither `off_below_w` nor `idle_below_w`. `silent`: nothing is
    known of its power. The energy is that of `source`.
    """

    device_id: str
    start_time: Moment
    end_time: Moment
    timezone: str
    source: str | None = Field(examples=["integral:power", "counter:energy_total"])
    off_below_w: float | None
    idle_below_w: float | None
    energy_kwh: float = Field(description="The sum over all states")
    working_seconds: float = Field(description="How much of the range is working hours")
    states: list[StateTotal]
    timeline: list[StateSpan] = Field(description=f"The first {MAX_SPANS:,} spans")
    timeline_end: Moment = Field(description="Where the timeline ends, since it may have more spans than are shown")


class StatesAnswer(BaseModel):
    success: Literal[True] = True
    data: StatesData


@router.get("/states/{device_id}", response_model=StatesAnswer, responses=problems(NotFound))
def get_states(
    session: DatabaseSession,
    reader: Readings,
    settings: PlatformSettings,
    site: WorkingSite,
    device_id: DevicePath,
    *,
    start_time: Start = None,
    end_time: End = None,
) -> Response:
    """When a machine was off, idle, running, silent or in maintenance, by default in the last 24 hours."""
    start, end = requested_range(start_time, end_time)
    data = states_data(session, reader, settings, site, device_id, start=start, end=end)
    return json_answer({"success": True, "data": data})


def states_data(
    session: Session,
    reader: TelemetryReader,
    settings: Settings,
    site: SiteSettings,
    device_id: str,
    *,
    start: int,
    end: int,
) -> dict[str, Any]:
    """`StatesData` of a machine over the half-open range (µs)."""
    if end - start > MAX_DAYS * DAY:
        raise Invalid(f"the range is longer than {MAX_DAYS} days; request it in parts", field="start_time")
    device, metadata = session.get(Device, device_id), metadata_of(session, device_id)
    tenant_id = device.tenant_id if device else None
    planned = maintenance.windows_during(session, device_id, tenant_id, moment(start), moment(end))
    windows = [(microseconds(window.starts_at), microseconds(window.ends_at)) for window in planned]
    found, source = states_of(session, reader, device_id, start, end, maintenance=windows)
    if source is None:
        refuse_unknown(session, [device_id])
    zone, length = metadata.zone(settings.zone), found.end - found.start
    working = working_periods(metadata, site, zone, found.start, found.end)
    shown = found.spans[:MAX_SPANS]
    return {
        "device_id": device_id,
        "start_time": moment(start),
        "end_time": moment(found.end),
        "timezone": zone.key,
        "source": source,
        "off_below_w": metadata.off_below_w,
        "idle_below_w": metadata.idle_below_w,
        "energy_kwh": found.total_kwh,
        "working_seconds": sum(until - since for since, until in working) / SECOND,
        "states": [
            {
                "state": state,
                "seconds": found.time[state] / SECOND,
                "share": found.time[state] / length if length else 0.0,
                "energy_kwh": found.kwh(state),
            }
            for state in STATES
        ],
        "timeline": [
            {"state": span.state, "start_time": moment(span.start), "end_time": moment(span.end)} for span in shown
        ],
        "timeline_end": moment(shown[-1].end if shown else start),
    }
