"""The alerts of a machine, with what people do with them."""

from typing import Annotated, Literal

from fastapi import Query, Request, Response

from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.devices.schemas import DevicePath
from serving.pages.alerts import AlertsQuery, change, list_of_alerts
from serving.pages.machine import machine_context
from serving.pages.render import is_partial, show
from serving.pages.route import pages

router = pages()


class MachineAlertsQuery(AlertsQuery):
    """The filters of the page of all alerts; here those of every state are shown."""

    status: Literal["open", "acknowledged", "resolved", "all"] = "all"


@router.get("/machines/{device_id}/alerts")
def alerts_of_machine(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    device_id: DevicePath,
    query: Annotated[MachineAlertsQuery, Query()],
) -> Response:
    """The alerts of the machine, newest first; htmx asks for the list alone."""
    context = list_of_alerts(session, principal, query, of=device_id)
    if is_partial(request):
        return show(request, "partials/alert_list.html", context)
    return show(request, "machine_alerts.html", machine_context(session, device_id, "alerts") | context)


@router.post("/machines/{device_id}/alerts/change")
def change_alerts(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    device_id: DevicePath,
    query: Annotated[MachineAlertsQuery, Query()],
) -> Response:
    """Acknowledge or resolve the chosen alerts with a note, and show the list again."""
    changed = change(session, principal, request)
    context = list_of_alerts(session, principal, query, of=device_id) | {"changed": changed}
    return show(request, "partials/alert_list.html", context)
