"""A machine's data: its datasets with their checks, its reports, and where they were made."""

from typing import Annotated

from fastapi import Query, Request, Response

from serving.analytics import routes as analytics
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import Objects
from serving.devices.schemas import DevicePath
from serving.http.fields import Text
from serving.http.pagination import PageQuery
from serving.pages.machine import machine_context
from serving.pages.render import show
from serving.pages.route import pages
from serving.reports import routes as reports
from serving.reports.schemas import ReportQuery
from storage import catalogue

router = pages()


@router.get("/machines/{device_id}/data")
def data_tab(
    request: Request,
    session: DatabaseSession,
    device_id: DevicePath,
    page: Annotated[PageQuery, Query()],
) -> Response:
    """Datasets, newest first, and reports."""
    context = machine_context(session, device_id, "data")
    datasets, total = catalogue.newest_of(session, device_id, offset=page.offset, limit=page.page_size)
    context |= {
        "datasets": datasets,
        "total": total,
        "query": page,
        "reports": reports.list_reports(session, ReportQuery(device_id=device_id, page_size=10)),
    }
    return show(request, "machine_data.html", context)


@router.get("/machines/{device_id}/dataset")
def download_dataset(
    request: Request,
    session: DatabaseSession,
    objects: Objects,
    device_id: DevicePath,  # noqa: ARG001 - a tenant's key is checked against it
    key: Annotated[Text, Query(max_length=500)],
) -> Response:
    """Lead to the file of a dataset, as GET /api/v1/analytics/datasets/download does."""
    return analytics.download_dataset(request, session, objects, key)
