"""The reports: ask for one, follow it, see it in place, and the schedules that make them by themselves."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, get_args
from zoneinfo import ZoneInfo

from fastapi import Query, Request, Response
from sqlmodel import Session

from assets.analyses import ANALYSES
from assets.reports import LanguageCode
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import JobLauncher, Objects, PlatformSettings
from serving.devices.schemas import DeviceId
from serving.http.errors import Invalid
from serving.http.pagination import PageQuery
from serving.http.redirects import redirect
from serving.jobs import lifecycle
from serving.jobs.schemas import JobPath
from serving.pages.forms import body_of, devices_of, with_known_id
from serving.pages.render import is_partial, show
from serving.pages.route import SEE_OTHER, fields_of, form_of, pages, to_page
from serving.reports import routes as reports
from serving.reports.editions import Editions, ReportEditions
from serving.reports.schemas import Format, ReportQuery, ReportRequest
from storage.jobs import ACTIVE, JobStatus, ReportJob
from storage.times import midnight, utc_now

router = pages()

DAYS = 7
# What the form of a report or of a schedule offers, and what is chosen in it at first.
CHOICES: dict[str, Any] = {
    "formats": get_args(Format),
    "languages": get_args(LanguageCode),
    "kinds": list(ANALYSES),
}
USUAL: dict[str, Any] = {
    "scope": "device",
    "device_ids": [],
    "formats": ["pdf"],
    "analysis_types": ["anomaly", "forecast"],
    "compute_missing": False,
    "language": None,
}
IN_PLACE = ("pdf", "html")
# A report is shown in a frame of our own pages. It has its look within it, and runs no script.
FRAMED = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:;"
    " frame-ancestors 'self'; sandbox",
    "X-Content-Type-Options": "nosniff",
}
# The browser's viewer of PDF does not work in a sandbox.
FRAMED_PDF = {**FRAMED, "Content-Security-Policy": "frame-ancestors 'self'"}


class ReportsFilters(PageQuery):
    """The filters of the list, which also fill in the form."""

    device_id: DeviceId | None = None
    status: JobStatus | None = None
    page_size: Annotated[int, Query(ge=1, le=100)] = 25


@router.get("/reports")
def reports_page(
    request: Request, session: DatabaseSession, settings: PlatformSettings, query: Annotated[ReportsFilters, Query()]
) -> Response:
    """The form for a report, and the reports; htmx asks for the list alone."""
    query = with_known_id(session, query)
    context = _list(session, query)
    if is_partial(request):
        return show(request, "partials/report_list.html", context)
    today = utc_now().astimezone(settings.zone).date()
    form = {
        **CHOICES,
        "values": {**USUAL, "device_ids": [query.device_id] if query.device_id else []},
        "start": today - timedelta(days=DAYS),
        "end": today - timedelta(days=1),
        "zone": settings.zone.key,
    }
    return show(request, "reports.html", context | form)


@router.post("/reports")
def ask_for_reports(
    request: Request,
    session: DatabaseSession,
    settings: PlatformSettings,
    principal: CurrentPrincipal,
    launcher: JobLauncher,
) -> Response:
    """Ask for a report in each chosen format, and go to the first of them."""
    form = form_of(request)
    subject = subject_of_form(session, form)
    bodies = [
        body_of(ReportRequest, subject | _report_of(form, request, settings.zone) | {"format": format_})
        for format_ in formats_of_form(request)
    ]
    accepted = [reports.generate_report(session, principal, launcher, body) for body in bodies]
    done = f"{len(accepted)} reports are being made; the list of reports has all of them." if accepted[1:] else ""
    return to_page(request, f"reports/{accepted[0].job_id}", done=done)


@router.get("/reports/{job_id}")
def report_page(request: Request, session: DatabaseSession, editions: ReportEditions, job_id: JobPath) -> Response:
    """One report: its progress, and then the file in place; htmx asks for the part that changes."""
    context = _report(session, editions, job_id)
    return show(request, "partials/report_job.html" if is_partial(request) else "report.html", context)


@router.post("/reports/{job_id}/cancel")
def cancel_report(
    request: Request,
    session: DatabaseSession,
    editions: ReportEditions,
    launcher: JobLauncher,
    job_id: JobPath,
) -> Response:
    """Cancel a report, and show its state again."""
    reports.cancel_report(session, launcher, job_id)
    context = _report(session, editions, job_id)
    return show(request, "partials/report_job.html", context)


@router.post("/reports/{job_id}/editions")
def create_edition(request: Request, session: DatabaseSession, launcher: JobLauncher, job_id: JobPath) -> Response:
    """Make a report again from the datasets as they are now, and go to it."""
    accepted = reports.create_edition(session, launcher, job_id)
    return to_page(request, f"reports/{accepted.job_id}")


@router.get("/reports/{job_id}/download")
def download_report(request: Request, session: DatabaseSession, objects: Objects, job_id: JobPath) -> Response:
    """Lead to a link to the report's file, which expires."""
    return redirect(request, reports.download_report(request, session, objects, job_id).download_url, SEE_OTHER)


@router.get("/reports/{job_id}/file")
def report_in_place(request: Request, session: DatabaseSession, objects: Objects, job_id: JobPath) -> Response:
    """The report's file, to be shown in a frame of its page."""
    reports.download_report(request, session, objects, job_id)  # refuses as the API does
    job = lifecycle.get_job(session, ReportJob, job_id)
    content = objects.get(str((job.results or {})["key"]))
    headers = FRAMED if job.format == "html" else FRAMED_PDF
    media_type = "text/html; charset=utf-8" if job.format == "html" else "application/pdf"
    return Response(content, media_type=media_type, headers={**headers, "Content-Disposition": "inline"})


def formats_of_form(request: Request) -> list[str]:
    """The formats that are ticked.

    Raises:
        Invalid: no format is ticked.

    """
    formats = fields_of(request, "formats")
    if not formats:
        raise Invalid("no format is ticked; tick at least one", field="formats")
    return formats


def subject_of_form(session: Session, form: Mapping[str, str]) -> dict[str, Any]:
    """What the form says the report is about: a device, several, or all.

    Raises:
        Invalid: It is about one machine, and names none or several.

    """
    ids = devices_of(session, form)
    if form.get("scope") == "fleet":
        return {"scope": "fleet", **({"device_ids": ids} if ids else {})}
    if not ids:
        raise Invalid("no machine is given; write its id", field="device_ids")
    if len(ids) > 1:
        raise Invalid(f"{len(ids)} machines are given; choose one, or several machines together", field="device_ids")
    return {"device_id": ids[0]}


def analyses_of_form(form: Mapping[str, str], request: Request) -> dict[str, Any]:
    """What the form says of the analyses of a machine; a fleet has none, whatever is ticked."""
    if form.get("scope") == "fleet":
        return {}
    return {
        "analysis_types": fields_of(request, "analysis_types"),
        "compute_missing": bool(form.get("compute_missing")),
    }


def _report_of(form: Mapping[str, str], request: Request, zone: ZoneInfo) -> dict[str, Any]:
    """Period, analyses and language of the form; its days are those of the site, the last one included."""
    days = {
        "date_range_start": _midnight(form.get("start_date", ""), zone),
        "date_range_end": _midnight(form.get("end_date", ""), zone, days=1),
    }
    return {
        **{name: day for name, day in days.items() if day},
        **analyses_of_form(form, request),
        "language": form.get("language") or None,
    }


def _midnight(day: str, zone: ZoneInfo, days: int = 0) -> str:
    """The beginning of a local day as the API takes it; text that is no day stays, and the API says so."""
    try:
        local = midnight(datetime.fromisoformat(day).date() + timedelta(days=days), zone)
    except (ValueError, OverflowError):
        return day
    return local.isoformat()


def _report(session: Session, editions: Editions, job_id: str) -> dict[str, Any]:
    job = reports.get_report_status(session, editions, job_id)
    return {"job": job, "is_active": job.status in ACTIVE, "in_place": job.format in IN_PLACE}


def _list(session: Session, query: ReportsFilters) -> dict[str, Any]:
    found = reports.list_reports(session, ReportQuery.model_validate(query.model_dump()))
    is_active = any(job.status in ACTIVE for job in found.data)
    chosen = query.model_dump(mode="json", exclude_none=True)
    return {"found": found, "query": query, "chosen": chosen, "is_active": is_active}
