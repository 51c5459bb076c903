"""The analyses: ask for one, follow it, and the history of all."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from sqlmodel import Session

from assets.analyses import ANALYSES, AnalysisType
from serving.analytics import feedback, fleet, routes as analytics
from serving.analytics.feedback import EventNumber
from serving.analytics.feedback_schemas import EventFeedback
from serving.analytics.fleet import FleetQuery
from serving.analytics.schemas import AnalysisRequest, JobQuery
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import JobLauncher, Objects
from serving.devices.schemas import DeviceId
from serving.http.errors import NotFound
from serving.http.redirects import redirect
from serving.jobs.schemas import JobPath
from serving.pages.forms import body_of, device_of, number_of, with_known_id
from serving.pages.render import is_partial, show
from serving.pages.route import SEE_OTHER, form_of, pages, to_page
from storage.jobs import ACTIVE, JobStatus
from storage.times import utc_now

router = pages()

DEFAULT_DAYS = 28
PAGE_SIZE = 25
RANKED = 10


class HistoryQuery(BaseModel):
    """The filters of the history, which also fill in the form."""

    device_id: DeviceId | None = None
    analysis_type: AnalysisType | None = None
    status: JobStatus | None = None
    page: Annotated[int, Field(ge=1, le=100_000)] = 1
    rank: Literal["-anomaly", "-risk", "-energy"] = "-anomaly"


class OptionsQuery(BaseModel):
    """What the form has so far."""

    device_id: DeviceId | None = None
    analysis_type: AnalysisType = "anomaly"


@router.get("/analytics")
def analytics_page(request: Request, session: DatabaseSession, query: Annotated[HistoryQuery, Query()]) -> Response:
    """The form for an analysis, and the history; htmx asks for the history alone."""
    query = with_known_id(session, query)
    context = _history(session, query)
    if is_partial(request):
        return show(request, "partials/analysis_history.html", context)
    options = OptionsQuery(device_id=query.device_id, analysis_type=query.analysis_type or "anomaly")
    ranked = fleet.rank_fleet(session, FleetQuery(sort=query.rank, page_size=RANKED))
    return show(request, "analytics.html", context | _options(session, options) | {"ranked": ranked})


@router.get("/analytics/options")
def analysis_options(request: Request, session: DatabaseSession, query: Annotated[OptionsQuery, Query()]) -> Response:
    """The models and parameters of the chosen kind, and the datasets of the chosen machine."""
    return show(request, "partials/analysis_options.html", _options(session, with_known_id(session, query)))


@router.post("/analytics")
def run_analysis(request: Request, session: DatabaseSession, launcher: JobLauncher) -> Response:
    """Start the analysis, and go to its page."""
    form = form_of(request)
    body = body_of(AnalysisRequest, _analysis_of(form) | {"device_id": device_of(session, form)})
    accepted = analytics.run_analytics(session, launcher, body)
    return to_page(request, f"analytics/{accepted.job_id}")


@router.get("/analytics/{job_id}")
def analysis_page(request: Request, session: DatabaseSession, job_id: JobPath) -> Response:
    """One analysis: its progress, and then its result; htmx asks for the part that changes."""
    context = job_context(session, job_id)
    return show(request, "partials/analysis_job.html" if is_partial(request) else "analysis.html", context)


@router.post("/analytics/{job_id}/cancel")
def cancel_analysis(request: Request, session: DatabaseSession, launcher: JobLauncher, job_id: JobPath) -> Response:
    """Cancel the analysis, and show its state again."""
    analytics.cancel_job(session, launcher, job_id)
    context = job_context(session, job_id)
    return show(request, "partials/analysis_job.html", context)


@router.post("/analytics/{job_id}/events/{number}/feedback")
def give_feedback(
    request: Request, session: DatabaseSession, principal: CurrentPrincipal, job_id: JobPath, number: EventNumber
) -> Response:
    """Say whether an event was a fault, or take it back, and show the event again."""
    form = form_of(request)
    if form.get("verdict") == "nothing" and (feedback_id := form.get("feedback_id", "")).isdecimal():
        feedback.delete_feedback(session, int(feedback_id))
    else:
        body = body_of(EventFeedback, {"verdict": form.get("verdict"), "note": form.get("note", "").strip() or None})
        feedback.give_event_feedback(session, principal, job_id, number, body)
    event = completed(session, job_id, "anomaly")["events"][number - 1]
    job = analytics.get_job_status(session, job_id)
    return show(request, "partials/result_event.html", {"event": event, "job": job})


@router.get("/analytics/{job_id}/scores")
def download_scores(request: Request, session: DatabaseSession, objects: Objects, job_id: JobPath) -> Response:
    """Lead to a link to the scores of all rows, which expires."""
    return redirect(request, analytics.download_scores(request, session, objects, job_id).download_url, SEE_OTHER)


def job_context(session: Session, job_id: str) -> dict[str, Any]:
    """What the templates of one job show."""
    job = analytics.get_job_status(session, job_id)
    result = analytics.get_analytics_results(session, job_id) if job.status == "completed" else None
    return {"job": job, "result": result, "is_active": job.status in ACTIVE}


def _history(session: Session, query: HistoryQuery) -> dict[str, Any]:
    offset = (query.page - 1) * PAGE_SIZE
    chosen = query.model_dump(exclude_none=True, exclude={"rank"})
    found = analytics.list_jobs(session, JobQuery.model_validate({**chosen, "limit": PAGE_SIZE, "offset": offset}))
    is_active = any(job.status in ACTIVE for job in found.jobs)
    return {"found": found, "query": query, "chosen": chosen, "page_size": PAGE_SIZE, "is_active": is_active}


def _options(session: Session, query: OptionsQuery) -> dict[str, Any]:
    datasets = analytics.list_datasets(session, query.device_id).datasets if query.device_id else []
    days = [dataset for dataset in datasets if dataset.kind == "day"]
    last = days[-1].end_date if days else utc_now().date() - timedelta(days=1)
    return {
        "kinds": list(ANALYSES),
        "kind": query.analysis_type,
        "analysis": ANALYSES[query.analysis_type],
        "device_id": query.device_id,
        "datasets": datasets[::-1][:200],
        "first_day": days[0].start_date if days else None,
        "start": max(last - timedelta(days=DEFAULT_DAYS - 1), days[0].start_date if days else last),
        "end": last,
    }


def _analysis_of(form: Mapping[str, str]) -> dict[str, Any]:
    """The form as the API's body, without its machine. Fields of other kinds than the chosen one are not in it."""
    kind = form.get("analysis_type", "")
    parameters: dict[str, Any] = {
        name: number_of(form, name)
        for name in ("false_events_a_week", "strictness", "horizon_hours")
        if form.get(name, "").strip()
    }
    parameters |= {name: form[name].strip() for name in ("trained_until", "metric") if form.get(name, "").strip()}
    if failures := form.get("failures", "").split():
        parameters["failures"] = failures
    if form.get("with_errors"):
        parameters["with_errors"] = True
    days = {name: form[name] for name in ("start_date", "end_date") if form.get(name)}
    return {
        "analysis_type": kind,
        "model_name": form.get("model_name") or None,
        "parameters": parameters,
        **({"dataset_key": form["dataset_key"]} if form.get("dataset_key") else days),
    }


def completed(session: Session, job_id: str, kind: AnalysisType) -> dict[str, Any]:
    """The result of a completed job of a kind.

    Raises:
        NotFound: The job is of another kind.

    """
    job = analytics.get_analytics_results(session, job_id)
    if job.analysis_type != kind:
        raise NotFound(f"{job_id} is a job of {job.analysis_type}")
    return job.results
