"""Analyses: which there are, the datasets to run them on, jobs and their results."""

from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, ValidationError
from sqlmodel import Session

from assets.analyses import ANALYSES, AnalysisType
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import DagsterClient
from serving.devices.schemas import DeviceId
from serving.http.errors import Conflict, Invalid, NotFound, problems
from serving.http.fields import Day, Moment, Text
from serving.http.pagination import SORT, TimeRangeQuery, paginate
from serving.jobs import lifecycle as shared
from serving.jobs.lifecycle import JobPath, JobSort, JobStatus
from storage import catalogue
from storage.catalogue import Dataset
from storage.jobs import AnalyticsJob, new_job_id
from storage.times import midnight

router = APIRouter(prefix="/api/v1/analytics", tags=["analytics"])


class DatasetPublic(BaseModel):
    """A Parquet file; `size` in bytes, the days both included."""

    key: str
    size: int
    last_modified: Moment
    kind: str
    rows: int
    start_date: date
    end_date: date
    sha256: str


class DatasetList(BaseModel):
    device_id: str
    datasets: list[DatasetPublic]


class AnalysisRequest(BaseModel):
    """An analysis of one dataset, or of the days from `start_date` to `end_date`, both included."""

    device_id: DeviceId
    analysis_type: AnalysisType
    model_name: Annotated[Text, Field(max_length=100, examples=["isolation_forest"])]
    dataset_key: Annotated[Text, Field(max_length=500)] | None = None
    start_date: Day | None = None
    end_date: Day | None = None
    parameters: dict[str, Any] | None = None


class JobAccepted(BaseModel):
    job_id: str
    status: str


class JobState(BaseModel):
    job_id: str
    device_id: str
    analysis_type: AnalysisType
    model_name: str
    status: JobStatus
    progress: Annotated[float | None, Field(description="Percent")]
    message: str | None
    error_message: str | None
    dataset_key: str | None
    date_range_start: Moment
    date_range_end: Moment
    created_at: Moment
    started_at: Moment | None
    completed_at: Moment | None


class JobList(BaseModel):
    jobs: list[JobState]
    total: int
    limit: int
    offset: int


class JobQuery(TimeRangeQuery):
    """`start_time` and `end_time` are about when it was asked for."""

    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    status: JobStatus | None = None
    device_id: DeviceId | None = None
    analysis_type: AnalysisType | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    offset: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    sort: Annotated[JobSort, SORT] = "-created_at"

    @property
    def page_size(self) -> int:
        return self.limit


class JobResults(BaseModel):
    job_id: str
    device_id: str
    analysis_type: AnalysisType
    model_name: str
    status: JobStatus
    results: dict[str, Any]
    accuracy_metrics: dict[str, Any]
    execution_time_seconds: int | None


@router.get("/models")
def get_supported_models() -> dict[str, list[str]]:
    """Models by family: those that can be run."""
    return {analysis.family: list(analysis.models) for analysis in ANALYSES.values()}


@router.get("/datasets")
def list_datasets(session: DatabaseSession, device_id: Annotated[DeviceId, Query()]) -> DatasetList:
    """A device's datasets in time order."""
    found = catalogue.datasets_of(session, device_id)
    return DatasetList(device_id=device_id, datasets=[_dataset(dataset) for dataset in found])


@router.post("/run", status_code=202, responses=problems(NotFound))
def run_analytics(session: DatabaseSession, dagster: DagsterClient, body: AnalysisRequest) -> JobAccepted:
    """Ask for an analysis; `GET /api/v1/analytics/status/{job_id}` tells how it goes."""
    analysis = ANALYSES[body.analysis_type]
    if body.model_name not in analysis.models:
        offered = ", ".join(analysis.models) or "none yet"
        raise Invalid(
            f"there is no model {body.model_name} for {body.analysis_type}; there is {offered}", field="model_name"
        )
    try:
        parameters = analysis.parameters.model_validate(body.parameters or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in ("parameters", *first["loc"]))
        raise Invalid(f"{where}: {first['msg'].removeprefix('Value error, ')}", field=where) from None
    start, end, tenant_id = _days(session, body)
    job = AnalyticsJob(
        job_id=new_job_id(AnalyticsJob),
        tenant_id=tenant_id,
        device_id=body.device_id,
        analysis_type=body.analysis_type,
        model_name=body.model_name,
        dataset_key=body.dataset_key,
        date_range_start=midnight(start),
        date_range_end=midnight(end + timedelta(days=1)),
        parameters=parameters.model_dump(mode="json"),
    )
    shared.ask(session, dagster, job)
    return JobAccepted(job_id=job.job_id, status=job.status)


@router.get("/status/{job_id}", responses=problems(NotFound))
def get_job_status(session: DatabaseSession, job_id: JobPath) -> JobState:
    """How a job goes."""
    return _state(shared.found(session, AnalyticsJob, job_id))


@router.get("/results/{job_id}", responses=problems(NotFound, Conflict))
def get_analytics_results(session: DatabaseSession, job_id: JobPath) -> JobResults:
    """The result of a completed job."""
    job = shared.found(session, AnalyticsJob, job_id)
    if job.status != "completed":
        why = f": {job.error_message}" if job.error_message else ""
        raise Conflict(f"{job_id} is {job.status} and has no result{why}")
    return JobResults.model_validate(job, from_attributes=True)


@router.get("/jobs")
def list_jobs(session: DatabaseSession, query: Annotated[JobQuery, Query()]) -> JobList:
    """Jobs, newest first unless sorted otherwise."""
    filters = ("tenant_id", "status", "device_id", "analysis_type")
    rows, total = paginate(session, AnalyticsJob, query, *filters, during="created_at")
    return JobList(jobs=[_state(row) for row in rows], total=total, limit=query.limit, offset=query.offset)


@router.post("/jobs/{job_id}/cancel", responses=problems(NotFound))
def cancel_job(session: DatabaseSession, dagster: DagsterClient, job_id: JobPath) -> JobState:
    """Take a job back; one that is over stays as it is."""
    return _state(shared.cancel(session, dagster, shared.found(session, AnalyticsJob, job_id)))


def _days(session: Session, body: AnalysisRequest) -> tuple[date, date, str | None]:
    """First and last day of what is analysed, and the dataset's tenant."""
    if body.dataset_key is not None:
        if body.start_date or body.end_date:
            raise Invalid("give dataset_key, or start_date and end_date, not both", field="dataset_key")
        dataset = catalogue.current(session, body.dataset_key)
        if dataset is None or dataset.device_id != body.device_id:
            raise NotFound(
                f"{body.device_id} has no dataset {body.dataset_key}; GET /api/v1/analytics/datasets lists them"
            )
        return dataset.start_date, dataset.end_date, dataset.tenant_id
    if body.start_date is None or body.end_date is None:
        raise Invalid("give dataset_key, or start_date and end_date", field="dataset_key")
    shared.check_days(body.start_date, body.end_date)
    days = catalogue.datasets_of(session, body.device_id, start=body.start_date, end=body.end_date, kind="day")
    if not days:
        raise NotFound(f"{body.device_id} has no dataset in these days; POST /api/v1/exports/run asks for one")
    return body.start_date, body.end_date, days[-1].tenant_id


def _dataset(dataset: Dataset) -> DatasetPublic:
    return DatasetPublic(
        key=dataset.key,
        size=dataset.bytes,
        last_modified=dataset.created_at,
        kind=dataset.kind,
        rows=dataset.rows,
        start_date=dataset.start_date,
        end_date=dataset.end_date,
        sha256=dataset.sha256,
    )


def _state(job: AnalyticsJob) -> JobState:
    return JobState.model_validate(job, from_attributes=True)
