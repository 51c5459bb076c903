"""Reports: request one, follow it, and download it by a link that expires."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from assets.reports import WrongPeriod, check_period, schema
from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import public
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import JobLauncher, Objects
from serving.devices.registration import registered_device
from serving.http.errors import Conflict, Invalid, NotFound, problems
from serving.http.pagination import Page, paginate
from serving.jobs import lifecycle
from serving.jobs.downloads import Download, download_of
from serving.jobs.schemas import JobPath
from serving.reports.schemas import ReportAccepted, ReportQuery, ReportRequest, ReportState
from storage import jobs
from storage.jobs import ReportJob

router = APIRouter(prefix="/api/reports", tags=["reports"], route_class=IdentifiedRoute)


@router.post("/generate", status_code=202, responses=problems(NotFound))
def generate_report(session: DatabaseSession, launcher: JobLauncher, body: ReportRequest) -> ReportAccepted:
    """Start a report. `GET /api/reports/status/{job_id}` returns its progress."""
    device = registered_device(session, body.device_id)
    try:
        check_period(body.date_range_start, body.date_range_end)
    except WrongPeriod as wrong:
        raise Invalid(str(wrong), field=wrong.field) from None
    job = ReportJob(
        job_id=jobs.new_job_id(ReportJob),
        tenant_id=device.tenant_id,
        device_id=body.device_id,
        analysis_types=list(dict.fromkeys(body.analysis_types)),
        format=body.format,
        parameters={"language": body.language} if body.language else None,
        date_range_start=body.date_range_start,
        date_range_end=body.date_range_end,
    )
    lifecycle.submit(session, launcher, job)
    return ReportAccepted(job_id=job.job_id, status=job.status)


@router.get("/status/{job_id}", responses=problems(NotFound))
def get_report_status(session: DatabaseSession, job_id: JobPath) -> ReportState:
    """The status and the progress of a report."""
    return ReportState.of(lifecycle.get_job(session, ReportJob, job_id))


@router.get("/download/{job_id}", responses=problems(NotFound, Conflict))
def download_report(request: Request, session: DatabaseSession, objects: Objects, job_id: JobPath) -> Download:
    """A link to the file of a completed report. Anyone who has the link can download the file until it expires."""
    job = lifecycle.get_job(session, ReportJob, job_id)
    if job.status != "completed" or not job.results:
        reason = f": {job.error_message}" if job.error_message else ""
        raise Conflict(f"{job_id} is {job.status} and has no file{reason}")
    return download_of(request, objects, job_id, job.results["key"])


@router.get("/schema")
@public
def get_report_schema() -> dict[str, Any]:
    """The JSON schema of a report in the format `json`."""
    return schema()


@router.get("/jobs")
def list_reports(session: DatabaseSession, query: Annotated[ReportQuery, Query()]) -> Page[ReportState]:
    """Reports, newest first by default."""
    filters = ("tenant_id", "device_id", "status", "format")
    found = paginate(session, ReportJob, query, *filters, during="created_at")
    return Page[ReportState].of(query, [ReportState.of(job) for job in found.rows], found)


@router.post("/{job_id}/cancel", responses=problems(NotFound))
def cancel_report(session: DatabaseSession, launcher: JobLauncher, job_id: JobPath) -> ReportState:
    """Cancel a report. One that has ended stays as it is."""
    job = lifecycle.get_job(session, ReportJob, job_id)
    lifecycle.cancel(session, launcher, job)
    return ReportState.of(job)
