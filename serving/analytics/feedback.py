"""Feedback about anomalies: was it a fault? Later analyses of the device learn from it."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from serving.analytics.feedback_schemas import EventFeedback, FeedbackPublic, FeedbackQuery, MissedFault
from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import ANONYMOUS_ACTOR, DatabaseSession
from serving.devices.registration import registered_device
from serving.http.errors import Conflict, Invalid, NotFound, problems
from serving.http.pagination import Page, paginate
from serving.jobs import lifecycle
from serving.jobs.schemas import JobPath
from storage import anomaly_feedback
from storage.anomaly_feedback import AnomalyFeedback
from storage.jobs import AnalyticsJob
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/analytics", tags=["analytics"], route_class=IdentifiedRoute)

MAX_FAULT = timedelta(days=32)
EVENT_FEEDBACK = "/results/{job_id}/events/{number}/feedback"
EventNumber = Annotated[int, Path(ge=1, le=100_000, description="`number` of the event in the result, from 1")]


@router.put(EVENT_FEEDBACK, responses=problems(NotFound, Conflict))
def give_event_feedback(
    session: DatabaseSession, principal: CurrentPrincipal, job_id: JobPath, number: EventNumber, body: EventFeedback
) -> FeedbackPublic:
    """Say whether an event of an anomaly analysis was a fault. Saying it again replaces what was said before."""
    job = lifecycle.get_job(session, AnalyticsJob, job_id)
    event = _event(job, number)
    row = anomaly_feedback.of_event(session, job, number) or AnomalyFeedback(
        tenant_id=job.tenant_id,
        device_id=job.device_id,
        job_id=job.job_id,
        event=number,
        starts_at=datetime.fromisoformat(event["start"]),
        ends_at=datetime.fromisoformat(event["end"]),
        kind=event.get("kind"),
        model_name=job.model_name,
        exceeds=event.get("exceeds"),
        verdict=body.verdict,
        given_by="",
    )
    row.verdict, row.note = body.verdict, body.note
    row.given_by, row.given_at = principal.name or ANONYMOUS_ACTOR, utc_now()
    session.add(row)
    session.commit()
    return _public(row)


@router.delete(EVENT_FEEDBACK, status_code=204, responses=problems(NotFound, Conflict))
def delete_event_feedback(session: DatabaseSession, job_id: JobPath, number: EventNumber) -> None:
    """Take back what was said about an event."""
    job = lifecycle.get_job(session, AnalyticsJob, job_id)
    _event(job, number)
    row = anomaly_feedback.of_event(session, job, number)
    if row is None:
        raise NotFound(f"nothing was said about event {number} of {job_id}")
    session.delete(row)
    session.commit()


@router.post("/feedback", status_code=201, responses=problems(NotFound))
def report_missed_fault(session: DatabaseSession, principal: CurrentPrincipal, body: MissedFault) -> FeedbackPublic:
    """Report a fault that no event reported. The device's later analyses are more sensitive, within bounds."""
    device = registered_device(session, body.device_id)
    if body.ends_at - body.starts_at > MAX_FAULT:
        raise Invalid(f"the fault is longer than {MAX_FAULT.days} days; report it in parts", field="to")
    if body.ends_at > utc_now():
        raise Invalid("to lies in the future; report what has happened", field="to")
    row = AnomalyFeedback(
        tenant_id=device.tenant_id,
        verdict="fault",
        given_by=principal.name or ANONYMOUS_ACTOR,
        **body.model_dump(),
    )
    session.add(row)
    session.commit()
    return _public(row)


@router.get("/feedback")
def list_feedback(session: DatabaseSession, query: Annotated[FeedbackQuery, Query()]) -> Page[FeedbackPublic]:
    """What was said about anomalies, the newest first by default."""
    rows = anomaly_feedback.of_devices(query.device_id)
    found = paginate(session, rows, query, "job_id", "verdict", columns={"from": "starts_at"})
    return Page[FeedbackPublic].of(query, [_public(row) for row in found.rows], found)


@router.delete("/feedback/{feedback_id}", status_code=204, responses=problems(NotFound))
def delete_feedback(session: DatabaseSession, feedback_id: Annotated[int, Path(ge=1, lt=2**63)]) -> None:
    """Take back what was said."""
    row = session.get(AnomalyFeedback, feedback_id)
    if row is None:
        raise NotFound(f"there is no feedback {feedback_id}; GET /api/v1/analytics/feedback lists it")
    session.delete(row)
    session.commit()


def _event(job: AnalyticsJob, number: int) -> dict[str, Any]:
    if job.analysis_type != "anomaly" or job.status != "completed":
        kind = "job" if job.analysis_type == "anomaly" else f"{job.analysis_type} job"
        raise Conflict(f"{job.job_id} is a {job.status} {kind}; only completed anomaly jobs have events")
    events = (job.results or {}).get("events", [])
    if number > len(events):
        count = "1 event" if len(events) == 1 else f"{len(events)} events"
        raise NotFound(f"{job.job_id} has {count}, so it has no event {number}")
    event: dict[str, Any] = events[number - 1]
    return event


def _public(row: AnomalyFeedback) -> FeedbackPublic:
    return FeedbackPublic.model_validate(row, from_attributes=True)
