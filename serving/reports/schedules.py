"""Schedules of reports: what is made and sent by itself, and what was sent."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlmodel import Session

from assets.reports import next_due, reported_period
from ingest.notify import Outbox
from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import JobLauncher, NotificationOutbox, PlatformSettings
from serving.http.errors import Conflict, Invalid, NotFound, PreconditionFailed, problems
from serving.http.etags import UNCHANGED, IfMatch, IfNoneMatch, not_modified, refuse_stale
from serving.http.pagination import Page, paginate
from serving.reports.schedule_schemas import (
    DeliveryOfRun,
    ReportOfRun,
    RunQuery,
    Schedule,
    ScheduleFields,
    ScheduleQuery,
    ScheduleRun,
)
from serving.reports.subject import scope_of, subject_of
from storage import report_schedules
from storage.access import Principal
from storage.jobs import ReportJob
from storage.notifications import Notification, last_attempts, notifications_of_runs
from storage.report_schedules import ReportSchedule, ReportScheduleRun
from storage.settings import Settings
from storage.times import utc_now

router = APIRouter(prefix="/api/reports/schedules", tags=["reports"], route_class=IdentifiedRoute)


@router.get("")
def list_schedules(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    query: Annotated[ScheduleQuery, Query()],
) -> Page[Schedule]:
    """List schedules of reports, newest first by default."""
    found = paginate(session, ReportSchedule, query, "tenant_id", "device_id", "frequency", "status")
    return Page[Schedule].of(query, _public(session, principal, outbox, settings, *found.rows), found)


@router.post("", status_code=201, responses=problems(NotFound))
def create_schedule(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    body: ScheduleFields,
) -> Schedule:
    """Create a schedule of reports."""
    values = _values(session, principal, settings, body)
    _check_recipients(outbox, values["recipients"], values["tenant_id"])
    row = ReportSchedule(**values)
    session.add(row)
    session.commit()
    return _public(session, principal, outbox, settings, row)[0]


@router.get("/{schedule_id}", response_model=Schedule, responses=problems(NotFound) | UNCHANGED)
def get_schedule(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    schedule_id: UUID,
    *,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """One schedule of reports, with its last run."""
    row = _existing(session, schedule_id)
    return not_modified(response, row, if_none_match) or _public(session, principal, outbox, settings, row)[0]


@router.put("/{schedule_id}", responses=problems(NotFound, Conflict, PreconditionFailed))
def update_schedule(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    schedule_id: UUID,
    *,
    body: ScheduleFields,
    if_match: IfMatch = None,
) -> Schedule:
    """Replace the fields of a schedule; those that are left out get their defaults. Its tenant and its runs stay."""
    row = _existing(session, schedule_id, for_update=True)
    refuse_stale(row, if_match)
    values = _values(session, principal, settings, body)
    if values.pop("tenant_id") != row.tenant_id:
        raise Conflict("the schedule is of another tenant than the devices; create a new schedule", field="device_id")
    _check_recipients(outbox, values["recipients"], row.tenant_id, known=row.recipients)
    for name, value in values.items():
        setattr(row, name, value)
    row.updated_at = utc_now()
    session.commit()
    return _public(session, principal, outbox, settings, row)[0]


@router.delete("/{schedule_id}", status_code=204, responses=problems(NotFound))
def delete_schedule(session: DatabaseSession, schedule_id: UUID) -> None:
    """Delete a schedule with the record of its runs. The reports that it made stay."""
    session.delete(_existing(session, schedule_id))
    session.commit()


@router.get("/{schedule_id}/runs", responses=problems(NotFound))
def list_runs(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    schedule_id: UUID,
    query: Annotated[RunQuery, Query()],
) -> Page[ScheduleRun]:
    """List the runs of a schedule, newest first by default: which reports were made, and to whom they were sent."""
    _existing(session, schedule_id)
    found = paginate(session, report_schedules.runs_of(schedule_id), query, "status")
    return Page[ScheduleRun].of(query, _runs(session, principal, outbox, found.rows), found)


@router.post("/{schedule_id}/run", status_code=202, responses=problems(NotFound))
def run_schedule(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    launcher: JobLauncher,
    *,
    schedule_id: UUID,
) -> ScheduleRun:
    """Make and send the reports of a schedule now, for the period that ended last, also while it is paused."""
    row, now = _existing(session, schedule_id), utc_now()
    run, reports = report_schedules.start_run(session, row, now, reported_period(row.frequency, settings.zone, now))
    session.commit()
    for job in reports:
        launcher.launch(job)
    return _runs(session, principal, outbox, [run])[0]


def _values(session: Session, principal: Principal, settings: Settings, body: ScheduleFields) -> dict[str, Any]:
    """The values of a schedule's row."""
    subject = subject_of(session, body, principal.tenant_id)
    is_active = body.status == "active"
    return {
        **body.model_dump(exclude={"scope"}),
        **subject._asdict(),
        "formats": list(dict.fromkeys(body.formats)),
        "recipients": list(dict.fromkeys(body.recipients)),
        "analysis_types": list(dict.fromkeys(body.analysis_types)),
        "next_run_at": next_due(body.frequency, body.send_at, settings.zone, utc_now()) if is_active else None,
    }


def _check_recipients(
    outbox: Outbox, recipients: Sequence[str], tenant_id: str | None, known: Collection[str] = ()
) -> None:
    """Refuse recipients that would get nothing; those that the schedule has already may stay.

    Raises:
        Invalid: the settings have no address for one.

    """
    for channel in outbox.without_address(recipients, tenant_id):
        if channel not in known:
            raise Invalid(
                f"{channel} is not a configured channel, so nobody would get the reports. Set NOTIFY_{channel.upper()}"
                " to an address, or leave the recipient out and download the reports",
                field=f"recipients.{recipients.index(channel)}",
            )


def _existing(session: Session, schedule_id: UUID, *, for_update: bool = False) -> ReportSchedule:
    row = session.get(ReportSchedule, schedule_id, with_for_update=for_update or None)
    if row is None:
        raise NotFound(f"there is no schedule {schedule_id}; GET /api/reports/schedules lists the schedules")
    return row


def _public(
    session: Session, principal: Principal, outbox: Outbox, settings: Settings, *rows: ReportSchedule
) -> list[Schedule]:
    last = report_schedules.last_runs(session, [row.schedule_id for row in rows])
    runs = {run.schedule_id: run for run in _runs(session, principal, outbox, list(last.values()))}
    return [
        Schedule.model_validate(
            {
                **row.model_dump(),
                "scope": (scope := scope_of(row.device_id)),
                "device_id": row.device_id if scope == "device" else None,
                "timezone": settings.zone.key,
                "last_run": runs.get(row.schedule_id),
                "warnings": _warnings(outbox, row),
            }
        )
        for row in rows
    ]


def _warnings(outbox: Outbox, row: ReportSchedule) -> list[str]:
    return [
        f"recipients: {channel} has no address here; unless the ingester has NOTIFY_{channel.upper()}, it gets nothing"
        for channel in outbox.without_address(row.recipients, row.tenant_id)
    ]


def _runs(
    session: Session, principal: Principal, outbox: Outbox, rows: Sequence[ReportScheduleRun]
) -> list[ScheduleRun]:
    """The runs with their reports and deliveries.

    A tenant sees what receivers answered on channels with an address of its own.
    """
    job_ids = [job_id for row in rows for job_id in row.job_ids]
    reports = {job.job_id: _report(job) for job in report_schedules.reports_of(session, job_ids)}
    notifications = notifications_of_runs(session, [row.run_id for row in rows])
    attempts = last_attempts(session, [row.notification_id for row in notifications])
    deliveries: dict[UUID | None, list[DeliveryOfRun]] = {}
    for row in notifications:
        shown = principal.tenant_id is None or outbox.has_own_address(row.channel, principal.tenant_id)
        attempt = attempts.get(row.notification_id) if shown else None
        deliveries.setdefault(row.report_run_id, []).append(_delivery(row, attempt.detail if attempt else None))
    return [
        ScheduleRun.model_validate(
            {
                **row.model_dump(),
                "reports": [reports[job_id] for job_id in row.job_ids if job_id in reports],
                "deliveries": deliveries.get(row.run_id, []),
            }
        )
        for row in rows
    ]


def _report(job: ReportJob) -> ReportOfRun:
    size = (job.results or {}).get("size_bytes")
    path = f"/api/reports/download/{job.job_id}"
    return ReportOfRun.model_validate({**job.model_dump(), "size_bytes": size, "download": path})


def _delivery(row: Notification, detail: str | None) -> DeliveryOfRun:
    return DeliveryOfRun(recipient=row.channel, status=row.status, sent_at=row.sent_at, detail=detail)
