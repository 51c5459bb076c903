"""Reports: request one, follow it, and download it by a link that expires."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlmodel import Session

from assets.reports import WrongPeriod, check_period, fleet_schema, schema
from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import CurrentPrincipal, public
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import JobLauncher, Objects
from serving.devices.registration import registered_device
from serving.http.errors import Conflict, Invalid, NotFound, problems
from serving.http.pagination import Found, Page, paginate
from serving.jobs import lifecycle
from serving.jobs.downloads import Download, download_of
from serving.jobs.schemas import JobPath
from serving.reports.editions import ReportEditions
from serving.reports.schemas import ReportAccepted, ReportQuery, ReportRequest, ReportState
from serving.reports.subject import Scope, scope_of, subject_of
from storage import jobs, reports as stored
from storage.jobs import ReportJob

router = APIRouter(prefix="/api/reports", tags=["reports"], route_class=IdentifiedRoute)


@router.post("/generate", status_code=202, responses=problems(NotFound))
def generate_report(
    session: DatabaseSession, principal: CurrentPrincipal, launcher: JobLauncher, body: ReportRequest
) -> ReportAccepted:
    """Start a report of a device or of a fleet. `GET /api/reports/status/{job_id}` returns its progress."""
    subject = subject_of(session, body, principal.tenant_id)
    try:
        check_period(body.date_range_start, body.date_range_end)
    except WrongPeriod as wrong:
        raise Invalid(str(wrong), field=wrong.field) from None
    job = ReportJob(
        job_id=jobs.new_job_id(ReportJob),
        tenant_id=subject.tenant_id,
        device_id=subject.device_id,
        analysis_types=list(dict.fromkeys(body.analysis_types)),
        format=body.format,
        parameters=stored.report_parameters(
            language=body.language, compute_missing=body.compute_missing, device_ids=subject.device_ids
        ),
        date_range_start=body.date_range_start,
        date_range_end=body.date_range_end,
    )
    lifecycle.submit(session, launcher, job)
    return ReportAccepted(job_id=job.job_id, status=job.status)


@router.post("/{job_id}/editions", status_code=202, responses=problems(NotFound, Conflict))
def create_edition(session: DatabaseSession, launcher: JobLauncher, job_id: JobPath) -> ReportAccepted:
    """Make a completed report again, from the datasets as they are now. The report itself stays as it was issued."""
    report = lifecycle.get_job(session, ReportJob, job_id)
    if report.status != "completed":
        raise Conflict(f"{job_id} is {report.status}; only a completed report has a new edition")
    job = stored.new_edition(session, report)
    if scope_of(job.device_id) == "device":
        job.tenant_id = registered_device(session, job.device_id).tenant_id
    lifecycle.submit(session, launcher, job)
    return ReportAccepted(job_id=job.job_id, status=job.status)


@router.get("/status/{job_id}", responses=problems(NotFound))
def get_report_status(session: DatabaseSession, editions: ReportEditions, job_id: JobPath) -> ReportState:
    """The status and the progress of a report, and whether its datasets were made again since it was issued."""
    job = lifecycle.get_job(session, ReportJob, job_id)
    return editions.states([job])[0].model_copy(update={"message": lifecycle.message_of(session, job)})


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
def get_report_schema(scope: Scope = "device") -> dict[str, Any]:
    """The JSON schema of a report of a device, or of a fleet, in the format `json`; its `schema_version` says which."""
    return fleet_schema() if scope == "fleet" else schema()


@router.get("/jobs", name="list_reports")
def list_reports_with_editions(
    session: DatabaseSession, editions: ReportEditions, query: Annotated[ReportQuery, Query()]
) -> Page[ReportState]:
    """Reports, newest first by default; each says whether its datasets were made again since it was issued."""
    found = find_reports(session, query)
    rows = lifecycle.with_messages(session, found.rows, editions.states(found.rows))
    return Page[ReportState].of(query, rows, found)


def list_reports(session: Session, query: ReportQuery) -> Page[ReportState]:
    """Reports without a look at their editions."""
    found = find_reports(session, query)
    return Page[ReportState].of(query, [ReportState.of(job) for job in found.rows], found)


def find_reports(session: Session, query: ReportQuery) -> Found[ReportJob]:
    """The rows of a page of reports."""
    filters = ("tenant_id", "device_id", "status", "format")
    reports = stored.report_jobs(of_fleets=None if query.scope is None else query.scope == "fleet")
    return paginate(session, reports, query, *filters, during="created_at")


@router.post("/{job_id}/cancel", responses=problems(NotFound))
def cancel_report(session: DatabaseSession, launcher: JobLauncher, job_id: JobPath) -> ReportState:
    """Cancel a report. One that has ended stays as it is."""
    job = lifecycle.get_job(session, ReportJob, job_id)
    lifecycle.cancel(session, launcher, job)
    return ReportState.of(job)
