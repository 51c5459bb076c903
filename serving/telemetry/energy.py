"""Energy of devices over time."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from sqlmodel import Session

from assets.datasets import TelemetryReader, energy_of
from assets.energy import EnergyFigures, SiteSettings, standby, working_periods
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import PlatformSettings, Readings, WorkingSite
from serving.devices.schemas import DevicePath
from serving.http.errors import Invalid, NotFound, problems
from serving.http.fields import Moment
from serving.http.formats import json_answer
from serving.telemetry.items import json_findings
from serving.telemetry.routes import refuse_unknown, requested_range
from serving.telemetry.schemas import End, EnergyFinding, Start
from storage.devices import metadata_of
from storage.settings import Settings
from storage.times import HOUR, QUARTER, microseconds, moment

router = APIRouter(prefix="/api/v1/data", tags=["telemetry"])

MAX_ITEMS = 10_000
Interval = Literal["15m", "hour", "day", "month"]


class EnergyItem(BaseModel):
    """Energy of one interval. `coverage` is its measured share, as far as it has passed: 0 to 1.

    `energy_kwh` is null if nothing of the interval is known. `demand` is the mean power (W) over the measured time.
    """

    start_time: Moment
    end_time: Moment
    energy_kwh: float | None
    energy_export_kwh: float | None
    demand: float | None
    coverage: float


class EnergyData(BaseModel):
    """Energy taken and fed in, by intervals in the device's time zone; their sum is the total, to the digit.

    The sources name every counter that counts, or `integral:power`. `findings` is what was noticed about the readings.
    """

    device_id: str
    start_time: Moment
    end_time: Moment
    interval: Interval
    timezone: str
    energy_source: str | None = Field(examples=["integral:power", "counter:energy_total"])
    energy_export_source: str | None
    energy_kwh: float | None
    energy_export_kwh: float | None
    coverage: float
    peak_demand_15min: float | None
    peak_demand_15min_at: Moment | None
    base_load: float | None = Field(description="W: the median over days of the 2.5th percentile of their load")
    outside_working_hours_kwh: float | None = Field(description="Energy of the quarter hours outside working hours")
    outside_working_hours_share: float | None = Field(description="Its share of the energy of all quarter hours")
    outdated_days: int = Field(
        description="Days whose figures in the catalogue are still being made again; their energy is from readings"
    )
    items: list[EnergyItem]
    findings: list[EnergyFinding]


class EnergyAnswer(BaseModel):
    success: Literal[True] = True
    data: EnergyData


@router.get("/energy/{device_id}", response_model=EnergyAnswer, responses=problems(NotFound))
def get_energy(
    session: DatabaseSession,
    reader: Readings,
    settings: PlatformSettings,
    site: WorkingSite,
    device_id: DevicePath,
    *,
    start_time: Start = None,
    end_time: End = None,
    interval: Annotated[Interval, Query(description="Intervals begin on the clock of the device's time zone")] = "hour",
) -> Response:
    """The energy of a device over a range, by default the last 24 hours, by quarter hour, hour, day or month."""
    start, end = requested_range(start_time, end_time)
    data = energy_data(session, reader, settings, site, device_id, start=start, end=end, interval=interval)
    return json_answer({"success": True, "data": data})


def energy_data(
    session: Session,
    reader: TelemetryReader,
    settings: Settings,
    site: SiteSettings,
    device_id: str,
    *,
    start: int,
    end: int,
    interval: Interval,
) -> dict[str, Any]:
    """`EnergyData` of a device over the half-open range (µs)."""
    metadata = metadata_of(session, device_id)
    zone = metadata.zone(settings.zone)
    edges = list(_edges(start, end, interval, zone))
    energy = energy_of(session, reader, device_id, start, end)
    if not energy.sources:
        refuse_unknown(session, [device_id])
    peak = energy.peak_demand
    unused = standby(energy, working_periods(metadata, site, zone, start, end), zone)
    return {
        "device_id": device_id,
        "start_time": moment(start),
        "end_time": moment(end),
        "interval": interval,
        "timezone": zone.key,
        "energy_source": energy.source,
        "energy_export_source": energy.export_source,
        "energy_kwh": energy.kwh,
        "energy_export_kwh": energy.export_kwh,
        "coverage": energy.coverage,
        "peak_demand_15min": peak and peak.watts,
        "peak_demand_15min_at": peak and moment(peak.at),
        "base_load": unused.base_load,
        "outside_working_hours_kwh": unused.outside_kwh,
        "outside_working_hours_share": unused.share,
        "outdated_days": energy.outdated_days,
        "items": [_item(energy.part(a, b)) for a, b in pairwise(edges)],
        "findings": json_findings(energy.findings),
    }


def _item(energy: EnergyFigures) -> dict[str, Any]:
    return {
        "start_time": moment(energy.start),
        "end_time": moment(energy.end),
        "energy_kwh": energy.kwh,
        "energy_export_kwh": energy.export_kwh,
        "demand": energy.mean_power,
        "coverage": energy.coverage,
    }


def _edges(start: int, end: int, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    """The start, every edge of an interval within the range, and the end, in µs.

    Raises:
        Invalid: there are too many.

    """
    yield start
    edges = _clock_edges(start, interval, zone)
    for _ in range(MAX_ITEMS):
        edge = next(edges)
        if edge >= end:
            yield end
            return
        if edge > start:
            yield edge
    raise Invalid(f"the range has more than {MAX_ITEMS} intervals; choose longer ones", field="interval")


def _clock_edges(start: int, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    local = moment(start).astimezone(zone)
    if interval in ("15m", "hour"):
        step = QUARTER if interval == "15m" else HOUR
        # Zones are a multiple of 15 minutes apart; hours of one that is not whole begin on its own clock.
        offset = round((local.utcoffset() or timedelta()).total_seconds()) * 1_000_000 % step
        edge = (start + offset) // step * step - offset
        while True:
            yield edge
            edge += step
    year, month, day = local.year, local.month, 1 if interval == "month" else local.day
    current = datetime(year, month, day, tzinfo=zone)
    while True:
        yield microseconds(current)
        if interval == "day":
            current = datetime(current.year, current.month, current.day, tzinfo=zone) + timedelta(days=1)
        else:
            current = datetime(current.year + current.month // 12, current.month % 12 + 1, 1, tzinfo=zone)
