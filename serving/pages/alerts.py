"""The alerts: counts, a list grouped by machine, what people do with alerts, and the page of one alert."""

from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from sqlmodel import Session

from serving.alerts import evidence, routes as alerts, summary
from serving.alerts.evidence import EvidenceAnswer
from serving.alerts.schemas import (
    AlertPublic,
    AlertQuery,
    BulkAcknowledgement,
    BulkResolution,
    ChangedAlerts,
)
from serving.alerts.summary import AlertSummary, SummaryQuery
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import PlatformSettings
from serving.devices.schemas import DeviceId
from serving.http.errors import Invalid
from serving.http.pagination import PageQuery
from serving.pages.forms import body_of, with_known_id
from serving.pages.recent import recent
from serving.pages.render import is_partial, show
from serving.pages.route import fields_of, form_of, pages
from storage.rules import NO_DATA, Severity
from storage.settings import Settings
from storage.times import rfc3339, utc_now

router = pages()

AROUND = timedelta(hours=1)
SUMMARY_SECONDS = 5


class AlertsQuery(PageQuery):
    """The page's filters; `status` is `open` unless it is chosen, and `all` for any."""

    status: Literal["open", "acknowledged", "resolved", "all"] = "open"
    severity: Severity | None = None
    device_id: DeviceId | None = None
    rule_id: UUID | None = None
    page_size: Annotated[int, Query(ge=1, le=100)] = 50

    def of_api(self) -> AlertQuery:
        status = None if self.status == "all" else self.status
        return AlertQuery.model_validate({**self.model_dump(), "status": status})


@router.get("/alerts")
def alerts_page(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    settings: PlatformSettings,
    query: Annotated[AlertsQuery, Query()],
) -> Response:
    """The counts of alerts and the list; htmx asks for the list alone."""
    context = list_of_alerts(session, principal, with_known_id(session, query))
    if is_partial(request):
        return show(request, "partials/alert_list.html", context)
    context["summary"] = alert_summary(request, session, settings, principal.tenant_id)
    return show(request, "alerts.html", context)


@router.get("/alerts/counts")
def counts(
    request: Request, session: DatabaseSession, principal: CurrentPrincipal, settings: PlatformSettings
) -> Response:
    """The counts alone, which the page asks for again and again."""
    found = alert_summary(request, session, settings, principal.tenant_id)
    return show(request, "partials/alert_counts.html", {"summary": found})


@router.post("/alerts/change")
def change_alerts(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    query: Annotated[AlertsQuery, Query()],
) -> Response:
    """Acknowledge or resolve the chosen alerts with a note, and show the list again."""
    changed = change(session, principal, request)
    return show(request, "partials/alert_list.html", list_of_alerts(session, principal, query) | {"changed": changed})


@router.get("/alerts/{alert_id}")
def alert_page(request: Request, found: Annotated[EvidenceAnswer, Depends(evidence.get_evidence)]) -> Response:
    """One alert with what it rests on."""
    alert = found.data.alert
    context = {
        "evidence": found.data,
        "alert": alert,
        "rule": alert.rule,
        "chart": _chart_of(alert),
        "changed": None,
    }
    return show(request, "alert.html", context)


@router.post("/alerts/{alert_id}/change")
def change_alert(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    alert_id: UUID,
) -> Response:
    """Acknowledge or resolve one alert, and show what was done with it."""
    changed = change(session, principal, request)
    alert = alerts.get_alert(session, principal, alert_id).data
    return show(request, "partials/alert_handling.html", {"alert": alert, "changed": changed})


def _chart_of(alert: AlertPublic) -> str:
    """The chart of what the rule watches around the alert's reading; of the power if it watches for silence."""
    watches_no_metric = alert.rule.get("condition") == NO_DATA
    query = {
        "metric": "power" if watches_no_metric else alert.rule.get("property"),
        "start_time": rfc3339(alert.reading_time - AROUND),
        "end_time": rfc3339(min(alert.reading_time + AROUND, utc_now() + timedelta(minutes=1))),
        **({} if watches_no_metric else {"limit": alert.threshold_value}),
    }
    return f"machines/{alert.device_id}/telemetry-chart?{urlencode(query)}"


def list_of_alerts(
    session: DatabaseSession, principal: CurrentPrincipal, query: AlertsQuery, *, of: str | None = None
) -> dict[str, Any]:
    """One page of alerts, `of` one machine or grouped by machine in the order of each machine's newest alert."""
    place = "alerts" if of is None else f"machines/{of}/alerts"
    query = query if of is None else query.model_copy(update={"device_id": of})
    found = alerts.list_alerts(session, principal, query.of_api())
    order = {alert.device_id: i for i, alert in reversed(list(enumerate(found.data)))}
    by_machine = sorted(found.data, key=lambda alert: order[alert.device_id])
    groups: list[tuple[str, list[AlertPublic]]] = [
        (device_id, list(group)) for device_id, group in groupby(by_machine, key=lambda alert: alert.device_id)
    ]
    chosen = {name: value for name, value in query.model_dump(mode="json").items() if value is not None}
    return {"groups": groups, "found": found, "query": query, "chosen": chosen, "changed": None, "place": place}


def alert_summary(request: Request, session: Session, settings: Settings, tenant_id: str | None) -> AlertSummary:
    """The counts of alerts; many open pages ask for them, and they are worked out once in a few seconds."""
    kept = recent(request, SUMMARY_SECONDS)
    make = partial(summary.summarize_alerts, session, settings, SummaryQuery())
    return kept.get(("alert summary", tenant_id), make).data


def change(session: DatabaseSession, principal: CurrentPrincipal, request: Request) -> ChangedAlerts:
    """What the form asks to do with its alerts, as the API's routes do it."""
    form, alert_ids = form_of(request), fields_of(request, "alert_ids")
    if not alert_ids:
        raise Invalid("no alert is chosen; choose alerts in the list first", field="alert_ids")
    common = {"alert_ids": alert_ids, "note": form.get("note", "").strip() or None}
    name = form.get("name", "").strip() or None
    if form.get("action") == "resolve":
        body = body_of(BulkResolution, common | {"resolved_by": name})
        return alerts.resolve_alerts(session, principal, body).data
    if form.get("action") != "acknowledge":
        raise Invalid("action is neither acknowledge nor resolve", field="action")
    acknowledgement = body_of(BulkAcknowledgement, common | {"acknowledged_by": name})
    return alerts.acknowledge_alerts(session, principal, acknowledgement).data
