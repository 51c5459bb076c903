"""Reports: ask for one, follow it, download it by a link that expires."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from assets.analyses import AnalysisType
from assets.reports import schema
from serving.auth.principal import public
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import DagsterClient, Objects
from serving.devices.registration import registered_device
from serving.devices.schemas import DeviceId
from serving.http.errors import Conflict, Invalid, NotFound, problems
from serving.http.fields import Instant, Moment, Text
from serving.http.pagination import SORT, Page, PageQuery, TimeRangeQuery, paginate
from serving.jobs import lifecycle as shared
from serving.jobs.lifecycle import JobPath, JobSort, JobStatus
from storage.jobs import ReportJob, new_job_id
from storage.times import utc_now

router = APIRouter(prefix="/api/reports", tags=["reports"])

Format = Literal["pdf", "excel", "json"]
MAX_PERIOD = timedelta(days=366)
LINK_VALID = timedelta(hours=1)


class ReportRequest(BaseModel):
    """A report of one device from `date_range_start` up to `date_range_end`, with the newest results of analyses."""

    device_id: DeviceId
    analysis_types: Annotated[list[AnalysisType], Field(max_length=3)] = []
    date_range_start: Instant
    date_range_end: Instant
    format: Format = "pdf"


class ReportAccepted(BaseModel):
    job_id: str
    status: str


class ReportState(BaseModel):
    """How a report goes; `size_bytes` and `sha256` once there is a file."""

    job_id: str
    device_id: str
    format: Format
    status: str
    progress: Annotated[float | None, Field(description="Percent")]
    message: str | None
    error_message: str | None
    date_range_start: Moment
    date_range_end: Moment
    created_at: Moment
    completed_at: Moment | None
    size_bytes: int | None
    sha256: str | None


class ReportQuery(PageQuery, TimeRangeQuery):
    """`start_time` and `end_time` are about when it was asked for."""

    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: DeviceId | None = None
    status: JobStatus | None = None
    format: Format | None = None
    sort: Annotated[JobSort, SORT] = "-created_at"


class Download(BaseModel):
    job_id: str
    download_url: str
    expires_at: Moment


@router.post("/generate", status_code=202, responses=problems(NotFound))
def generate_report(session: DatabaseSession, dagster: DagsterClient, body: ReportRequest) -> ReportAccepted:
    """Ask for a report; `GET /api/reports/status/{job_id}` tells how it goes."""
    device = registered_device(session, body.device_id)
    if body.date_range_start >= body.date_range_end:
        raise Invalid("date_range_start is not before date_range_end", field="date_range_start")
    if body.date_range_start > utc_now():
        raise Invalid("date_range_start lies in the future; nothing was measured there yet", field="date_range_start")
    if body.date_range_end - body.date_range_start > MAX_PERIOD:
        raise Invalid(f"a report covers at most {MAX_PERIOD.days} days", field="date_range_end")
    job = ReportJob(
        job_id=new_job_id(ReportJob),
        tenant_id=device.tenant_id,
        device_id=body.device_id,
        analysis_types=list(dict.fromkeys(body.analysis_types)),
        format=body.format,
        date_range_start=body.date_range_start,
        date_range_end=body.date_range_end,
    )
    shared.ask(session, dagster, job)
    return ReportAccepted(job_id=job.job_id, status=job.status)


@router.get("/status/{job_id}", responses=problems(NotFound))
def get_report_status(session: DatabaseSession, job_id: JobPath) -> ReportState:
    """How a report goes."""
    return _state(shared.found(session, ReportJob, job_id))


@router.get("/download/{job_id}", responses=problems(NotFound, Conflict))
def download_report(request: Request, session: DatabaseSession, objects: Objects, job_id: JobPath) -> Download:
    """A link to the file of a completed report; whoever holds it may download that file until it expires."""
    job = shared.found(session, ReportJob, job_id)
    if job.status != "completed" or not job.results:
        why = f": {job.error_message}" if job.error_message else ""
        raise Conflict(f"{job_id} is {job.status} and has no file{why}")
    link = objects.download_url(job.results["key"], LINK_VALID)
    base = "" if "://" in link else str(request.base_url).rstrip("/")
    return Download(job_id=job_id, download_url=base + link, expires_at=utc_now() + LINK_VALID)


@router.get("/schema")
@public
def get_report_schema() -> dict[str, Any]:
    """The JSON schema of a report in the format `json`."""
    return schema()


@router.get("/jobs")
def list_reports(session: DatabaseSession, query: Annotated[ReportQuery, Query()]) -> Page[ReportState]:
    """Reports, newest first unless sorted otherwise."""
    filters = ("tenant_id", "device_id", "status", "format")
    rows, total = paginate(session, ReportJob, query, *filters, during="created_at")
    return Page[ReportState].of(query, [_state(row) for row in rows], total)


@router.post("/{job_id}/cancel", responses=problems(NotFound))
def cancel_report(session: DatabaseSession, dagster: DagsterClient, job_id: JobPath) -> ReportState:
    """Take a report back; one that is over stays as it is."""
    return _state(shared.cancel(session, dagster, shared.found(session, ReportJob, job_id)))


def _state(job: ReportJob) -> ReportState:
    file = job.results or {}
    return ReportState.model_validate(
        {**job.model_dump(), "size_bytes": file.get("size_bytes"), "sha256": file.get("sha256")}
    )
