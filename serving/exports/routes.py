"""Exports on request: a device's changed days, or one file over a range of days."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from serving.auth.identified import IdentifiedRoute
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import JobLauncher, PlatformSettings
from serving.devices.schemas import DevicePath
from serving.exports.schemas import ExportQuery, ExportRequest, ExportStarted, ExportStatus
from serving.http.errors import Invalid, NotFound, problems
from serving.http.pagination import Page, paginate
from serving.jobs import lifecycle
from serving.jobs.schemas import JobPath
from storage import checkpoints, dirty_days, jobs
from storage.devices import Device
from storage.jobs import ExportJob
from storage.times import midnight

router = APIRouter(prefix="/api/v1/exports", tags=["exports"], route_class=IdentifiedRoute)


@router.post("/run", status_code=202, responses=problems(NotFound))
def run_export(
    session: DatabaseSession, settings: PlatformSettings, launcher: JobLauncher, body: ExportRequest
) -> ExportStarted:
    """Start an export. `GET /api/v1/exports/status/{device_id}` returns its progress."""
    device = session.get(Device, body.device_id)
    if device is None and not dirty_days.has_telemetry(session, body.device_id):
        raise NotFound(f"there is no device {body.device_id}, and no telemetry from it")
    start, end = _range(body, settings.dataset_start_date)
    job = ExportJob(
        job_id=jobs.new_job_id(ExportJob),
        tenant_id=device.tenant_id if device else None,
        device_id=body.device_id,
        date_range_start=start,
        date_range_end=end,
    )
    lifecycle.submit(session, launcher, job)
    return ExportStarted(device_id=job.device_id, job_id=job.job_id)


@router.get("/status/{device_id}", responses=problems(NotFound))
def get_export_status(session: DatabaseSession, device_id: DevicePath) -> ExportStatus:
    """The device's newest export job, or its newest automatic export if it has no job."""
    checkpoint = checkpoints.newest(session, device_id)
    if job := jobs.newest_export(session, device_id):
        status = ExportStatus.of_job(job, checkpoint)
        return status.model_copy(update={"message": lifecycle.message_of(session, job)})
    if checkpoint is None:
        raise NotFound(f"{device_id} was never exported; start an export with POST /api/v1/exports/run")
    return ExportStatus.of_checkpoint(checkpoint)


@router.get("/jobs")
def list_exports(session: DatabaseSession, query: Annotated[ExportQuery, Query()]) -> Page[ExportStatus]:
    """Export jobs, newest first by default."""
    filters = ("tenant_id", "device_id", "status")
    found = paginate(session, ExportJob, query, *filters, during="created_at")
    rows = lifecycle.with_messages(session, found.rows, [ExportStatus.of_job(job) for job in found.rows])
    return Page[ExportStatus].of(query, rows, found)


@router.get("/jobs/{job_id}", responses=problems(NotFound))
def get_export(session: DatabaseSession, job_id: JobPath) -> ExportStatus:
    """One export job. The message of a pending one says what it waits for."""
    job = lifecycle.get_job(session, ExportJob, job_id)
    return ExportStatus.of_job(job).model_copy(update={"message": lifecycle.message_of(session, job)})


@router.post("/jobs/{job_id}/cancel", responses=problems(NotFound))
def cancel_export(session: DatabaseSession, launcher: JobLauncher, job_id: JobPath) -> ExportStatus:
    """Cancel an export. One that has ended stays as it is."""
    job = lifecycle.get_job(session, ExportJob, job_id)
    lifecycle.cancel(session, launcher, job)
    return ExportStatus.of_job(job)


def _range(body: ExportRequest, first_day: date | None) -> tuple[datetime | None, datetime | None]:
    start, end = body.start_date, body.end_date
    if start is None and end is None:
        return None, None
    if start is None or end is None:
        missing = "start_date" if start is None else "end_date"
        raise Invalid(f"{missing} is missing; send start_date and end_date, or neither", field=missing)
    lifecycle.check_days(start, end)
    if first_day and start < first_day:
        raise Invalid(
            f"start_date is before {first_day}, where datasets begin (DATASET_START_DATE)", field="start_date"
        )
    return midnight(start), midnight(end)
