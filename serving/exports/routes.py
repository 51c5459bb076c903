"""Exports on demand: a device's touched days, or one file over a range of days."""

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlmodel import col, select

from serving.auth.tenancy import DatabaseSession
from serving.dependencies import DagsterClient, PlatformSettings
from serving.devices.schemas import DeviceId, DevicePath
from serving.http.errors import Invalid, NotFound, problems
from serving.http.fields import Day, Moment, Text
from serving.http.pagination import SORT, Page, PageQuery, TimeRangeQuery, paginate
from serving.jobs import lifecycle as shared
from serving.jobs.lifecycle import JobPath, JobSort, JobStatus
from storage import dirty_days
from storage.checkpoints import ExportCheckpoint
from storage.devices import Device
from storage.jobs import ExportJob, new_job_id
from storage.times import midnight

router = APIRouter(prefix="/api/v1/exports", tags=["exports"])


class ExportRequest(BaseModel):
    """Without a range the days that telemetry touched are brought up to date; both ends are included."""

    device_id: DeviceId
    start_date: Day | None = None
    end_date: Day | None = None


class ExportStarted(BaseModel):
    device_id: str
    status: Literal["started"] = "started"
    job_id: str


class ExportStatus(BaseModel):
    """How an export of a device goes, or how the newest ended."""

    device_id: str
    status: str
    last_exported_at: Moment | None
    record_count: int
    s3_key: str | None
    job_id: str | None = None
    progress: Annotated[float | None, Field(description="Percent")] = None
    message: str | None = None
    error_message: str | None = None
    created_at: Moment | None = None
    completed_at: Moment | None = None


class ExportQuery(PageQuery, TimeRangeQuery):
    """`start_time` and `end_time` are about when it was asked for."""

    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: DeviceId | None = None
    status: JobStatus | None = None
    sort: Annotated[JobSort, SORT] = "-created_at"


@router.post("/run", status_code=202, responses=problems(NotFound))
def run_export(
    session: DatabaseSession, settings: PlatformSettings, dagster: DagsterClient, body: ExportRequest
) -> ExportStarted:
    """Ask for an export; `GET /api/v1/exports/status/{device_id}` tells how it goes."""
    device = session.get(Device, body.device_id)
    if device is None and not dirty_days.has_telemetry(session, body.device_id):
        raise NotFound(f"there is no device {body.device_id}, and no telemetry of one")
    job = ExportJob(
        job_id=new_job_id(ExportJob),
        tenant_id=device.tenant_id if device else None,
        device_id=body.device_id,
    )
    job.date_range_start, job.date_range_end = _range(body, settings.dataset_start_date)
    shared.ask(session, dagster, job)
    return ExportStarted(device_id=job.device_id, job_id=job.job_id)


@router.get("/status/{device_id}", responses=problems(NotFound))
def get_export_status(session: DatabaseSession, device_id: DevicePath) -> ExportStatus:
    """The newest export that was asked for, or else the newest of the minute cadence."""
    checkpoint = session.exec(
        select(ExportCheckpoint)
        .where(ExportCheckpoint.device_id == device_id)
        .order_by(col(ExportCheckpoint.last_exported_at).desc())
    ).first()
    job = session.exec(
        select(ExportJob).where(ExportJob.device_id == device_id).order_by(col(ExportJob.created_at).desc())
    ).first()
    if job:
        return _status(job, checkpoint)
    if checkpoint is None:
        raise NotFound(f"{device_id} was never exported; POST /api/v1/exports/run asks for it")
    return ExportStatus(
        device_id=device_id,
        status=checkpoint.status.lower(),
        last_exported_at=checkpoint.last_exported_at,
        record_count=checkpoint.record_count,
        s3_key=checkpoint.s3_key,
    )


@router.get("/jobs")
def list_exports(session: DatabaseSession, query: Annotated[ExportQuery, Query()]) -> Page[ExportStatus]:
    """Exports that were asked for, newest first unless sorted otherwise."""
    filters = ("tenant_id", "device_id", "status")
    rows, total = paginate(session, ExportJob, query, *filters, during="created_at")
    return Page[ExportStatus].of(query, [_status(row, None) for row in rows], total)


@router.get("/jobs/{job_id}", responses=problems(NotFound))
def get_export(session: DatabaseSession, job_id: JobPath) -> ExportStatus:
    """One export that was asked for."""
    return _status(shared.found(session, ExportJob, job_id), None)


@router.post("/jobs/{job_id}/cancel", responses=problems(NotFound))
def cancel_export(session: DatabaseSession, dagster: DagsterClient, job_id: JobPath) -> ExportStatus:
    """Take an export back; one that is over stays as it is."""
    return _status(shared.cancel(session, dagster, shared.found(session, ExportJob, job_id)), None)


def _range(body: ExportRequest, first_day: date) -> tuple[datetime | None, datetime | None]:
    start, end = body.start_date, body.end_date
    if start is None and end is None:
        return None, None
    if start is None or end is None:
        raise Invalid("give start_date and end_date, or neither", field="start_date" if start is None else "end_date")
    shared.check_days(start, end)
    if start < first_day:
        raise Invalid(f"datasets begin at {first_day} (DATASET_START_DATE)", field="start_date")
    return midnight(start), midnight(end)


def _status(job: ExportJob, checkpoint: ExportCheckpoint | None) -> ExportStatus:
    result = job.results or {}
    exported_at = checkpoint.last_exported_at if checkpoint else None
    return ExportStatus(
        device_id=job.device_id,
        status=job.status,
        last_exported_at=job.completed_at if job.status == "completed" else exported_at,
        record_count=result.get("record_count", checkpoint.record_count if checkpoint else 0),
        s3_key=result.get("s3_key", checkpoint.s3_key if checkpoint else None),
        job_id=job.job_id,
        progress=job.progress,
        message=job.message,
        error_message=job.error_message,
        created_at=job.created_at,
        completed_at=job.completed_at,
    )
