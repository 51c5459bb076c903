"""Schedules of reports: the list with the last run of each, a form, and what is done with a schedule."""

from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import Query, Request, Response
from sqlmodel import Session

from serving.auth.principal import CurrentPrincipal, needs
from serving.auth.tenancy import DatabaseSession
from serving.channels import routes as channels
from serving.dependencies import JobLauncher, NotificationOutbox, NotificationSettings, PlatformSettings
from serving.http.pagination import PageQuery
from serving.pages.forms import body_of
from serving.pages.render import is_partial, show
from serving.pages.reports import CHOICES, USUAL, analyses_of_form, formats_of_form, subject_of_form
from serving.pages.route import fields_of, form_of, pages, to_page
from serving.reports import schedules
from serving.reports.schedule_schemas import RunQuery, ScheduleFields, ScheduleQuery
from storage.access import Principal
from storage.report_schedules import Frequency

router = pages()


@router.get("/reports/schedules")
def schedules_page(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    *,
    notify: NotificationSettings,
    page: Annotated[PageQuery, Query()],
) -> Response:
    """The schedules, and the form for another; htmx asks for the list alone."""
    query = ScheduleQuery(page=page.page, page_size=page.page_size)
    context: dict[str, Any] = {"found": schedules.list_schedules(session, principal, outbox, settings, query)}
    if is_partial(request):
        return show(request, "partials/schedule_list.html", context)
    usual: dict[str, Any] = {
        "name": None,
        "frequency": "weekly",
        "send_at": "06:00",
        "recipients": [],
        "delivery": "attachment",
    }
    context |= _form(principal, settings, notify, USUAL | usual) | {"target": "reports/schedules", "version": None}
    return show(request, "report_schedules.html", context)


@router.post("/reports/schedules")
def create_schedule(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
) -> Response:
    """Create the schedule of the form."""
    body = body_of(ScheduleFields, _schedule_of(session, request))
    schedules.create_schedule(session, principal, outbox, settings, body)
    return to_page(request, "reports/schedules", done="The schedule is created.")


@router.get("/reports/schedules/{schedule_id}/edit")
@needs("operate")
def edit_page(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    *,
    notify: NotificationSettings,
    schedule_id: UUID,
) -> Response:
    """The form, filled in with what the schedule says."""
    version = Response()
    known = schedules.get_schedule(session, principal, outbox, settings, schedule_id, response=version)
    values = known.model_dump()
    values["device_ids"] = known.device_ids or ([known.device_id] if known.scope == "device" else [])
    context = _form(principal, settings, notify, values)
    context |= {"target": f"reports/schedules/{schedule_id}", "version": version.headers["ETag"]}
    return show(request, "report_schedule.html", context)


@router.post("/reports/schedules/{schedule_id}")
def change_schedule(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    *,
    schedule_id: UUID,
) -> Response:
    """Change the schedule, as PUT /api/reports/schedules/{schedule_id} does, unless somebody else did so meanwhile."""
    form = form_of(request)
    body = body_of(ScheduleFields, _schedule_of(session, request) | {"status": form.get("status", "active")})
    version = form.get("version")
    schedules.update_schedule(session, principal, outbox, settings, schedule_id, body=body, if_match=version)
    return to_page(request, "reports/schedules", done="The schedule is changed.")


@router.get("/reports/schedules/{schedule_id}")
def schedule_runs(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    schedule_id: UUID,
) -> Response:
    """The last runs of a schedule: which reports were made, and to whom they were sent."""
    runs = schedules.list_runs(session, principal, outbox, schedule_id, RunQuery(page_size=20))
    return show(request, "partials/schedule_runs.html", {"runs": runs})


@router.post("/reports/schedules/{schedule_id}/run")
def run_schedule(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    *,
    launcher: JobLauncher,
    schedule_id: UUID,
) -> Response:
    """Make and send the reports of a schedule now."""
    schedules.run_schedule(session, principal, outbox, settings, launcher, schedule_id=schedule_id)
    return _shown(request, session, principal, outbox, settings)


@router.post("/reports/schedules/{schedule_id}/status")
def change_status(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    *,
    schedule_id: UUID,
) -> Response:
    """Pause a schedule, or resume it."""
    known = schedules.get_schedule(session, principal, outbox, settings, schedule_id, response=Response())
    values = known.model_dump(include=set(ScheduleFields.model_fields))
    body = body_of(ScheduleFields, values | {"status": form_of(request).get("status")})
    schedules.update_schedule(session, principal, outbox, settings, schedule_id, body=body)
    return _shown(request, session, principal, outbox, settings)


@router.post("/reports/schedules/{schedule_id}/delete")
def delete_schedule(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    settings: PlatformSettings,
    *,
    schedule_id: UUID,
) -> Response:
    """Delete a schedule; the reports that it made stay."""
    schedules.delete_schedule(session, schedule_id)
    return _shown(request, session, principal, outbox, settings)


def _shown(
    request: Request, session: Session, principal: Principal, outbox: NotificationOutbox, settings: PlatformSettings
) -> Response:
    found = schedules.list_schedules(session, principal, outbox, settings, ScheduleQuery())
    return show(request, "partials/schedule_list.html", {"found": found})


def _form(
    principal: Principal, settings: PlatformSettings, notify: NotificationSettings, values: dict[str, Any]
) -> dict[str, Any]:
    """What the form shows; a channel that lost its address can be left out."""
    known = [channel.channel for channel in channels.list_channels(notify, principal).data]
    return {
        **CHOICES,
        "frequencies": get_args(Frequency),
        "channels": list(dict.fromkeys([*known, *values["recipients"]])),
        "zone": settings.zone.key,
        "values": values,
    }


def _schedule_of(session: Session, request: Request) -> dict[str, Any]:
    """The form as the API's body."""
    form = form_of(request)
    return {
        **subject_of_form(session, form),
        "name": form.get("name", "").strip() or None,
        "frequency": form.get("frequency"),
        "send_at": form.get("send_at", "06:00"),
        "formats": formats_of_form(request),
        "recipients": fields_of(request, "recipients"),
        "delivery": form.get("delivery", "attachment"),
        **analyses_of_form(form, request),
        "language": form.get("language") or None,
    }
