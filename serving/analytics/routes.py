"""Analyses: the models, the datasets to run them on, jobs and their results."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlmodel import Session

from assets.analyses import ANALYSES, Parameters, WrongParameter, changed_days, check_parameters
from serving.analytics.schemas import (
    AnalysisRequest,
    DatasetList,
    DatasetPublic,
    JobAccepted,
    JobList,
    JobQuery,
    JobResults,
    JobState,
)
from serving.auth.identified import IdentifiedRoute
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import JobLauncher, Objects
from serving.devices.schemas import DeviceId
from serving.http.errors import Conflict, Invalid, NotFound, problems
from serving.http.fields import Text
from serving.http.pagination import paginate
from serving.http.redirects import redirect
from serving.jobs import lifecycle
from serving.jobs.downloads import Download, download_of
from serving.jobs.schemas import JobPath
from serving.telemetry.routes import refuse_unknown
from storage import catalogue, jobs
from storage.anomaly_feedback import with_feedback
from storage.dataset_contents import newest_day
from storage.jobs import AnalyticsJob
from storage.objects import LINK_VALIDITY
from storage.times import midnight
from storage.validation import one_of, shown

router = APIRouter(prefix="/api/v1/analytics", tags=["analytics"], route_class=IdentifiedRoute)


@router.get("/models")
def get_supported_models() -> dict[str, list[str]]:
    """The models of each family of analyses."""
    return {analysis.family: list(analysis.models) for analysis in ANALYSES.values()}


@router.get("/datasets")
def list_datasets(session: DatabaseSession, device_id: Annotated[DeviceId, Query()]) -> DatasetList:
    """A device's datasets in time order."""
    datasets = catalogue.datasets_of(session, device_id)
    return DatasetList(device_id=device_id, datasets=[DatasetPublic.of(dataset) for dataset in datasets])


@router.get("/datasets/download", status_code=307, response_class=RedirectResponse, responses=problems(NotFound))
def download_dataset(
    request: Request,
    session: DatabaseSession,
    objects: Objects,
    dataset_key: Annotated[Text, Query(max_length=500)],
) -> RedirectResponse:
    """Redirect to the file of a dataset. Anyone who has that link can download the file until it expires."""
    if catalogue.current(session, dataset_key) is None:
        raise NotFound(f"there is no dataset {shown(dataset_key)}; GET /api/v1/analytics/datasets lists a device's")
    return redirect(request, objects.download_url(dataset_key, LINK_VALIDITY), 307)


@router.post("/run", status_code=202, responses=problems(NotFound))
def run_analytics(session: DatabaseSession, launcher: JobLauncher, body: AnalysisRequest) -> JobAccepted:
    """Start an analysis. `GET /api/v1/analytics/status/{job_id}` returns its progress."""
    model_name = body.model_name or ANALYSES[body.analysis_type].default
    parameters = _parameters(body, model_name)
    start, end, tenant_id = _days(session, body)
    try:
        check_parameters(session, body.device_id, parameters, start=start, end=end, key=body.dataset_key)
    except WrongParameter as error:
        raise Invalid(str(error), field=f"parameters.{error.field}" if error.field else None) from None
    job = AnalyticsJob(
        job_id=jobs.new_job_id(AnalyticsJob),
        tenant_id=tenant_id,
        device_id=body.device_id,
        analysis_type=body.analysis_type,
        model_name=model_name,
        dataset_key=body.dataset_key,
        date_range_start=midnight(start),
        date_range_end=midnight(end + timedelta(days=1)),
        parameters=parameters.model_dump(mode="json"),
    )
    lifecycle.submit(session, launcher, job)
    return JobAccepted(job_id=job.job_id, status=job.status)


@router.get("/status/{job_id}", responses=problems(NotFound))
def get_job_status(session: DatabaseSession, job_id: JobPath) -> JobState:
    """The status and the progress of a job. The message of a pending one says what it waits for."""
    job = lifecycle.get_job(session, AnalyticsJob, job_id)
    return JobState.of(job).model_copy(update={"message": lifecycle.message_of(session, job)})


@router.get("/results/{job_id}", responses=problems(NotFound, Conflict))
def get_analytics_results(session: DatabaseSession, job_id: JobPath) -> JobResults:
    """The result of a completed job. Events have a `number`, and in `feedback` what was said of them."""
    job = lifecycle.get_job(session, AnalyticsJob, job_id)
    if job.status != "completed":
        reason = f": {job.error_message}" if job.error_message else ""
        raise Conflict(f"{job_id} is {job.status} and has no result{reason}")
    found = JobResults.model_validate(job, from_attributes=True)
    if job.analysis_type == "anomaly":
        found.results = with_feedback(session, job)
    found.changed_files = changed_days(session, job)
    return found


@router.get("/results/{job_id}/scores", responses=problems(NotFound, Conflict))
def download_scores(request: Request, session: DatabaseSession, objects: Objects, job_id: JobPath) -> Download:
    """A link to the scores of all rows, as Parquet. Anyone who has the link can download the file until it expires."""
    job = lifecycle.get_job(session, AnalyticsJob, job_id)
    scores = (job.results or {}).get("scores")
    if job.status != "completed" or not scores:
        raise Conflict(
            f"{job_id} is {job.status} and has no scores. Completed anomaly and prediction jobs that a client requested"
            " have them"
        )
    return download_of(request, objects, job_id, scores["key"])


@router.get("/jobs")
def list_jobs(session: DatabaseSession, query: Annotated[JobQuery, Query()]) -> JobList:
    """Jobs, newest first by default. The message of a pending one says what it waits for."""
    filters = ("tenant_id", "status", "device_id", "analysis_type")
    found = paginate(session, AnalyticsJob, query, *filters, during="created_at")
    rows = lifecycle.with_messages(session, found.rows, [JobState.of(job) for job in found.rows])
    return JobList(jobs=rows, total=found.total, limit=query.limit, offset=query.offset)


@router.post("/jobs/{job_id}/cancel", responses=problems(NotFound))
def cancel_job(session: DatabaseSession, launcher: JobLauncher, job_id: JobPath) -> JobState:
    """Cancel a job. One that has ended stays as it is."""
    job = lifecycle.get_job(session, AnalyticsJob, job_id)
    lifecycle.cancel(session, launcher, job)
    return JobState.of(job)


def _parameters(body: AnalysisRequest, model_name: str) -> Parameters:
    """The analysis's parameters, checked together with the model's name."""
    analysis = ANALYSES[body.analysis_type]
    if model_name not in analysis.models:
        raise Invalid(
            f"there is no model {model_name} for {body.analysis_type}; choose {one_of(analysis.models)}",
            field="model_name",
        )
    try:
        return analysis.parameters.model_validate(body.parameters or {})
    except ValidationError as error:
        raise RequestValidationError([_located(one) for one in error.errors(include_url=False)]) from None


def _located(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error of the parameters as one of the body. An unknown one may be a parameter of another analysis."""
    located = {**error, "loc": ("body", "parameters", *error["loc"])}
    name = error["loc"][-1] if error["loc"] else None
    of = [kind for kind, analysis in ANALYSES.items() if name in analysis.parameters.model_fields]
    if error["type"] == "extra_forbidden" and of:
        located |= {"type": "value_error", "msg": f"Value error, is a parameter of {one_of(of)} only; leave it out"}
    return located


def _days(session: Session, body: AnalysisRequest) -> tuple[date, date, str | None]:
    """The first and the last day to analyse, and the tenant of their datasets."""
    if body.dataset_key is not None:
        if body.start_date or body.end_date:
            raise Invalid("send dataset_key, or start_date and end_date, but not both", field="dataset_key")
        dataset = catalogue.current(session, body.dataset_key)
        if dataset is None or dataset.device_id != body.device_id:
            refuse_unknown(session, [body.device_id])
            raise NotFound(
                f"{body.device_id} has no dataset {body.dataset_key}; GET /api/v1/analytics/datasets lists its datasets"
            )
        return dataset.start_date, dataset.end_date, dataset.tenant_id
    if body.start_date is None or body.end_date is None:
        raise Invalid("send dataset_key, or start_date and end_date", field="dataset_key")
    lifecycle.check_days(body.start_date, body.end_date)
    newest = newest_day(session, body.device_id, body.start_date, body.end_date)
    if newest is None:
        refuse_unknown(session, [body.device_id])
        raise NotFound(
            f"{body.device_id} has no dataset from {body.start_date} to {body.end_date};"
            " POST /api/v1/exports/run makes datasets"
        )
    return body.start_date, body.end_date, newest.tenant_id
