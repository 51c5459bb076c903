"""The fleet ranked by its newest analyses."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.auth.tenancy import DatabaseSession
from serving.http.fields import Moment, Text
from serving.http.pagination import SORT, PageQuery
from storage.fleet import FleetDevice, RankedBy, Ranking, ranked_devices
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/analytics", tags=["analytics"])


class JobBehind(BaseModel):
    """The job behind a figure; its last reading is of the moment `until`, which was `age_seconds` ago."""

    job_id: str
    model_name: str
    until: Moment
    completed_at: Moment
    age_seconds: int


class CurrentAnomaly(BaseModel):
    """The score of the strongest event in the newest 24 hours of the data; 0 without an event."""

    score: float
    job: JobBehind


class FailureRisk(BaseModel):
    """The probability of a failure within the horizon of the job."""

    probability: float
    job: JobBehind


class ExpectedEnergy(BaseModel):
    """The energy that a forecast of power or energy expects in the 24 hours after the data."""

    kwh: float
    job: JobBehind


class RankedDevice(BaseModel):
    """A device; a figure is null if no completed analysis has it."""

    device_id: str
    device_name: str
    device_type: str
    location: str | None
    status: str
    anomaly: CurrentAnomaly | None
    failure_risk: FailureRisk | None
    expected_energy: ExpectedEnergy | None


class FleetQuery(PageQuery):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_type: Annotated[Text, Field(max_length=100)] | None = None
    search: Annotated[Text | None, Field(max_length=100, description="Text in id, name or location")] = None
    sort: Annotated[Literal["anomaly", "-anomaly", "risk", "-risk", "energy", "-energy"], SORT] = "-anomaly"


class Fleet(BaseModel):
    devices: list[RankedDevice]
    total: int
    page: int
    page_size: int


@router.get("/fleet")
def rank_fleet(session: DatabaseSession, query: Annotated[FleetQuery, Query()]) -> Fleet:
    """Devices ranked by current anomaly, failure risk or expected energy, each with the job behind it."""
    by: RankedBy = query.sort.removeprefix("-")  # type: ignore[assignment] # `sort` has these names only
    found, total = ranked_devices(
        session,
        by=by,
        descending=query.sort.startswith("-"),
        tenant_id=query.tenant_id,
        device_type=query.device_type,
        search=query.search,
        offset=query.offset,
        limit=query.page_size,
    )
    now = utc_now()
    return Fleet(
        devices=[_public(device, now) for device in found], total=total, page=query.page, page_size=query.page_size
    )


def _public(found: FleetDevice, now: datetime) -> RankedDevice:
    device, rankings = found
    anomaly, risk, energy = (rankings[name] for name in ("anomaly", "risk", "energy"))
    return RankedDevice(
        device_id=device.device_id,
        device_name=device.device_name,
        device_type=device.device_type,
        location=device.location,
        status=device.status,
        anomaly=CurrentAnomaly(score=anomaly.value, job=_job(anomaly, now)) if anomaly else None,
        failure_risk=FailureRisk(probability=risk.value, job=_job(risk, now)) if risk else None,
        expected_energy=ExpectedEnergy(kwh=round(energy.value, 6), job=_job(energy, now)) if energy else None,
    )


def _job(ranking: Ranking, now: datetime) -> JobBehind:
    return JobBehind(
        job_id=ranking.job_id,
        model_name=ranking.model_name,
        until=ranking.until,
        completed_at=ranking.completed_at,
        age_seconds=round((now - ranking.until).total_seconds()),
    )
