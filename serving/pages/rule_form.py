"""A rule's page: its form, and beside it what the rule would have done over the last 30 days."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlmodel import Session

from serving.auth.principal import CurrentPrincipal, needs
from serving.auth.tenancy import DatabaseSession
from serving.channels import routes as channels
from serving.dependencies import LimitSettings, NotificationOutbox, NotificationSettings, PlatformSettings, Readings
from serving.devices.schemas import DeviceId
from serving.http.errors import Problem, field_errors
from serving.http.etags import tag_of
from serving.pages.charts import Span
from serving.pages.forms import body_of, devices_of, number_of
from serving.pages.machine_telemetry import ChartQuery, chart_of
from serving.pages.render import show
from serving.pages.route import fields_of, form_of, pages, to_page
from serving.pages.wording import in_labels, label
from serving.rules import preview, routes as rules
from serving.rules.preview_schemas import PreviewRequest
from serving.rules.schemas import RuleCreate, RulePublic, RuleUpdate
from storage.device_metrics import metric_names
from storage.devices import Metric, order_metrics
from storage.rules import ANY_READING, NO_DATA, OUTSIDE_FORECAST
from storage.times import utc_now

router = pages()

DAYS = timedelta(days=30)
# Markers in the chart. More would only cover each other.
MAX_MARKERS = 200
# Machines of which the form offers the metrics.
MAX_DEVICES = 100
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EMPTY: dict[str, Any] = {
    "rule_name": "", "description": "", "scope": "selected_devices", "device_ids": [], "property": "temperature",
    "condition": ">", "threshold": "", "for_seconds": 0, "active_hours": None, "severity": "high", "status": "active",
    "notification_channels": [], "cooldown_minutes": "",
}  # fmt: skip


class NewRule(BaseModel):
    """What a link to the form may set beforehand."""

    device_id: DeviceId | None = None


@router.get("/rules/new")
@needs("operate")
def new_rule_page(
    request: Request,
    session: DatabaseSession,
    notify: NotificationSettings,
    principal: CurrentPrincipal,
    query: Annotated[NewRule, Query()],
) -> Response:
    """The form for a new rule."""
    ids = [query.device_id] if query.device_id else []
    sent = metric_names(session, ids)
    usual = next((name for name in ("power", *order_metrics(sent)) if name in sent), "power")
    values = EMPTY | {"device_ids": ids, "property": usual}
    return show(request, "rule.html", _form(session, values, None, channels.list_channels(notify, principal)))


@router.get("/rules/{rule_id}")
def rule_page(
    request: Request,
    session: DatabaseSession,
    notify: NotificationSettings,
    principal: CurrentPrincipal,
    *,
    outbox: NotificationOutbox,
    rule_id: UUID,
) -> Response:
    """One rule: its form for who may change it, its values for others."""
    kept = rules.existing_rule(session, rule_id)
    rule = RulePublic.model_validate(kept, from_attributes=True)
    form = _form(session, rule.model_dump(by_alias=True), rule, channels.list_channels(notify, principal))
    form |= {"warnings": rules.warnings_of(session, outbox, kept), "version": tag_of(kept)}
    return show(request, "rule.html", form)


@router.post("/rules")
def create_rule(
    request: Request,
    session: DatabaseSession,
    limits: LimitSettings,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
) -> Response:
    """Create the rule of the form, and go to its page."""
    body = body_of(RuleCreate, _rule_of(session, form_of(request), request))
    answer = rules.create_rule(session, limits, principal, outbox, body)
    return to_page(request, f"rules/{answer.data.rule_id}")


@router.post("/rules/preview")
def preview_rule(
    request: Request,
    session: DatabaseSession,
    settings: PlatformSettings,
    limits: LimitSettings,
    reader: Readings,
) -> Response:
    """What the rule of the form would have done, or what is still missing in it."""
    form = form_of(request)
    if not form.get("threshold"):
        missing = "Enter a threshold, and see here how often the rule would have fired, when, and on which machines."
        return show(request, "partials/rule_preview.html", {"missing": missing, "preview": None})
    try:
        body = body_of(
            PreviewRequest, {"rule": _rule_of(session, form, request) | {"rule_name": "preview", "status": "active"}}
        )
        found = preview.preview_rule(session, settings, limits, reader, body).data
    except Problem as problem:
        missing = in_labels(problem.detail)
        return show(request, "partials/rule_preview.html", {"missing": missing, "preview": None})
    except RequestValidationError as error:
        wrong = [(label(e.field.removeprefix("body.rule.")), e.message) for e in field_errors(error.errors())]
        missing = "; ".join(f"{name}: {message}" for name, message in wrong)
        return show(request, "partials/rule_preview.html", {"missing": missing, "preview": None})
    hit = sorted((d for d in found.devices if d.episodes), key=lambda device: -device.episodes)
    ids = [device.device_id for device in (hit or found.devices)]
    shown = form["chart_device"] if form.get("chart_device") in ids else next(iter(ids), "")
    context = {"missing": None, "preview": found, "hit": hit, "shown": shown, "fields": _chart_fields(form)}
    return show(request, "partials/rule_preview.html", context)


@router.post("/rules/{rule_id}")
def update_rule(
    request: Request, session: DatabaseSession, limits: LimitSettings, outbox: NotificationOutbox, rule_id: UUID
) -> Response:
    """Change the rule as the form says, unless somebody else did so meanwhile."""
    form = form_of(request)
    values = _rule_of(session, form, request)
    if values["cooldown_minutes"] is None:
        del values["cooldown_minutes"]
    answer = rules.update_rule(
        session, limits, outbox, rule_id, body_of(RuleUpdate, values), if_match=form.get("version")
    )
    context = {"rule": answer.data, "warnings": answer.warnings, "version": tag_of(answer.data)}
    return show(request, "partials/rule_saved.html", context)


class PreviewChart(BaseModel):
    """The parts of a rule that its chart shows."""

    device_id: DeviceId
    property: Metric
    condition: str
    threshold: float
    for_seconds: int = 0
    cooldown_minutes: int | None = None


@router.get("/rules/preview/chart")
def preview_chart(
    session: DatabaseSession,
    settings: PlatformSettings,
    limits: LimitSettings,
    reader: Readings,
    query: Annotated[PreviewChart, Query()],
) -> Response:
    """The metric on one machine over the last 30 days, with the threshold and the alerts that there would have been."""
    rule = query.model_dump(exclude={"device_id"}) | {"rule_name": "preview", "device_ids": [query.device_id]}
    body = body_of(PreviewRequest, {"rule": rule, "device_ids": [query.device_id]})
    found = preview.preview_rule(session, settings, limits, reader, body).data
    of_metric = ChartQuery(
        metric=query.property, start_time=found.start_time, end_time=found.end_time, limit=query.threshold
    )
    spans = [
        Span(item.time.timestamp(), item.time.timestamp(), "alert", f"{item.value:g}")
        for item in found.items[:MAX_MARKERS]
    ]
    return replace(chart_of(session, reader, query.device_id, of_metric), spans=spans).answer()


def _form(
    session: Session, values: Mapping[str, Any], rule: RulePublic | None, known: channels.ChannelList
) -> dict[str, Any]:
    names = [channel.channel for channel in known.data]
    return {
        "values": values,
        "rule": rule,
        "channels": sorted({*names, *values["notification_channels"]}),
        "configured": names,
        "metrics": order_metrics(set(metric_names(session, values["device_ids"][:MAX_DEVICES]))),
        "weekdays": WEEKDAYS,
        "warnings": [],
        "version": None,
        "any_reading": ANY_READING,
        "now_from": utc_now() - DAYS,
    }


def _rule_of(session: Session, form: Mapping[str, str], request: Request) -> dict[str, Any]:
    """The rule of the form as the API's body has it; numbers that are none stay text, which the API refuses."""
    watches_no_metric = form.get("condition") == NO_DATA
    of_values = form.get("condition") not in (NO_DATA, OUTSIDE_FORECAST)
    of_all = form.get("scope") == "all_devices"
    days = [int(day) for day in fields_of(request, "days") if day.isdecimal()]
    hours = {"days": days or list(range(7)), "from": form.get("from", ""), "to": form.get("to", "")}
    has_hours = form.get("from") or form.get("to")
    return {
        "rule_name": form.get("rule_name", "").strip(),
        "description": form.get("description", "").strip() or None,
        "scope": "all_devices" if of_all else "selected_devices",
        "device_ids": [] if of_all else devices_of(session, form),
        **({} if watches_no_metric else {"property": form.get("property", "").strip()}),
        "condition": form.get("condition"),
        **({"threshold": number_of(form, "threshold")} if form.get("threshold") else {}),
        "for_seconds": number_of(form, "for_seconds", 0) if of_values else 0,
        "active_hours": hours if has_hours else None,
        "severity": form.get("severity"),
        "status": form.get("status", "active"),
        "notification_channels": fields_of(request, "notification_channels"),
        "cooldown_minutes": number_of(form, "cooldown_minutes"),
    }


def _chart_fields(form: Mapping[str, str]) -> dict[str, str]:
    names = ("property", "condition", "threshold", "for_seconds", "cooldown_minutes")
    return {name: form[name] for name in names if form.get(name)}
