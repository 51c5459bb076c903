"""The data: how complete each machine's days are, days that wait for an export, and exports."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import Field
from sqlmodel import Session

from serving.auth.tenancy import DatabaseSession
from serving.dependencies import JobLauncher, PlatformSettings
from serving.devices.schemas import DeviceId
from serving.exports import routes as exports, waiting
from serving.exports.schemas import ExportQuery, ExportRequest
from serving.exports.waiting import WaitingQuery
from serving.http.fields import Text
from serving.http.pagination import PageQuery
from serving.jobs.schemas import JobPath
from serving.pages.forms import body_of, device_of, with_known_id
from serving.pages.render import is_partial, show
from serving.pages.route import form_of, pages, to_page
from serving.telemetry import completeness
from serving.telemetry.completeness import CompletenessQuery, ShownDay
from storage.jobs import ACTIVE
from storage.times import utc_now

router = pages()

DAYS_SHOWN = 30


class CompletenessFilters(PageQuery):
    """The machines of the heat map, and its last day."""

    search: Annotated[Text, Field(max_length=100)] | None = None
    end_date: ShownDay | None = None
    page_size: Annotated[int, Field(ge=1, le=100)] = 30


class ExportsFilters(PageQuery):
    device_id: DeviceId | None = None


@router.get("/data")
def completeness_page(
    request: Request,
    session: DatabaseSession,
    query: Annotated[CompletenessFilters, Query()],
) -> Response:
    """How complete each machine's days are, as a table of machine by day; htmx asks for the table alone."""
    end = query.end_date or utc_now().date()
    start = end - timedelta(days=DAYS_SHOWN - 1)
    found = completeness.list_completeness(
        session,
        CompletenessQuery.model_validate({**query.model_dump(), "start_date": str(start), "end_date": str(end)}),
    )
    days = [start + timedelta(days=i) for i in range(DAYS_SHOWN)]
    context = {
        "found": found,
        "days": days,
        "months": _months(days),
        "cells": {device.device_id: {day.day: day for day in device.days} for device in found.data},
        "query": query,
        "chosen": query.model_dump(mode="json", exclude_none=True),
        "earlier": start - timedelta(days=1),
        "later": min(end + timedelta(days=DAYS_SHOWN), utc_now().date()) if end < utc_now().date() else None,
        "one_day": timedelta(days=1),
        "tab": "",
    }
    return show(request, "partials/completeness.html" if is_partial(request) else "data.html", context)


@router.get("/data/late")
def late_days_page(request: Request, session: DatabaseSession, query: Annotated[PageQuery, Query()]) -> Response:
    """Days that are over and wait for an export, since readings came late."""
    found = waiting.list_waiting_days(session, WaitingQuery(late=True, page=query.page, page_size=50))
    context = {"found": found, "tab": "late"}
    return show(request, "data_late.html", context)


@router.get("/data/exports")
def exports_page(request: Request, session: DatabaseSession, query: Annotated[ExportsFilters, Query()]) -> Response:
    """Exports that were asked for, and the form for another; htmx asks for the list alone."""
    context = _exports(session, with_known_id(session, query)) | {"tab": "exports"}
    return show(request, "partials/export_list.html" if is_partial(request) else "data_exports.html", context)


@router.post("/data/exports")
def run_export(
    request: Request, session: DatabaseSession, settings: PlatformSettings, launcher: JobLauncher
) -> Response:
    """Start an export, and go to the list."""
    form = form_of(request)
    body = body_of(ExportRequest, _days_of(form) | {"device_id": device_of(session, form)})
    exports.run_export(session, settings, launcher, body)
    return to_page(request, "data/exports")


@router.post("/data/exports/{job_id}/cancel")
def cancel_export(request: Request, session: DatabaseSession, launcher: JobLauncher, job_id: JobPath) -> Response:
    """Cancel an export, and show the list again."""
    exports.cancel_export(session, launcher, job_id)
    return show(request, "partials/export_list.html", _exports(session, ExportsFilters()) | {"tab": "exports"})


def _months(days: Sequence[date]) -> list[tuple[str, int]]:
    """The months of the days, each with how many of them it has; one of a few days has a short name."""
    groups = [list(group) for _, group in groupby(days, key=lambda day: (day.year, day.month))]
    return [(f"{group[0]:%B %Y}" if len(group) > 4 else f"{group[0]:%b}", len(group)) for group in groups]


def _exports(session: Session, query: ExportsFilters) -> dict[str, Any]:
    found = exports.list_exports(session, ExportQuery.model_validate({**query.model_dump(), "page_size": 25}))
    chosen = query.model_dump(mode="json", exclude_none=True)
    is_active = any(job.status in ACTIVE for job in found.data)
    return {"found": found, "query": query, "chosen": chosen, "is_active": is_active}


def _days_of(form: Mapping[str, str]) -> dict[str, Any]:
    """The days of the form as the API's body has them: both, or none."""
    return {name: form[name] for name in ("start_date", "end_date") if form.get(name)}
