"""Rules: what is watched, and an evaluation on demand by the evaluator that ingestion uses."""

import time
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator
from sqlalchemy import or_, text
from sqlmodel import Session, col, func, select

from ingest.alerts import AlertRaiser
from ingest.readings import decode
from ingest.registry import UNREGISTERED, facts_of
from ingest.rules import RuleSet
from serving.dependencies import DatabaseSession, DeviceId, Moment, PageQuery, PlatformSettings, Text
from serving.errors import Invalid, NotFound, Unavailable, problems
from storage.database import utc_now
from storage.devices import METRIC, RESERVED, Device
from storage.rules import Rule

router = APIRouter(prefix="/api/v1/rules", tags=["rules"])

Scope = Literal["all_devices", "selected_devices"]
Condition = Literal[">", "<", "=", "!=", ">=", "<="]
Status = Literal["active", "paused", "archived"]
Severity = Literal["low", "medium", "high", "critical"]
MetricName = Annotated[str, Field(pattern=METRIC, examples=["temperature"])]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[Text, Field(min_length=1, max_length=255)]
DeviceIds = Annotated[list[DeviceId], Field(max_length=10_000)]
Channels = Annotated[list[Annotated[Text, Field(min_length=1, max_length=50)]], Field(max_length=20)]
CooldownMinutes = Annotated[int, Field(ge=0, le=525_600)]


class RuleCreate(BaseModel):
    """A new rule; without `cooldown_minutes` NOTIFICATION_COOLDOWN_MINUTES holds, without `severity` it is high."""

    rule_name: Name
    description: Text | None = None
    scope: Scope = "selected_devices"
    device_ids: DeviceIds = []
    property: MetricName
    condition: Condition
    threshold: Finite
    severity: Severity | None = None
    notification_channels: Channels = []
    cooldown_minutes: CooldownMinutes | None = None
    tenant_id: DeviceId | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "RuleCreate":
        _check_scope(self.scope, self.device_ids)
        _check_metric(self.property)
        return self


class RuleUpdate(BaseModel):
    """Changes of a rule; a field that is left out stays."""

    rule_name: Name | None = None
    description: Text | None = None
    scope: Scope | None = None
    device_ids: DeviceIds | None = None
    property: MetricName | None = None
    condition: Condition | None = None
    threshold: Finite | None = None
    severity: Severity | None = None
    status: Status | None = None
    notification_channels: Channels | None = None
    cooldown_minutes: CooldownMinutes | None = None


class RuleStatus(BaseModel):
    status: Status


class RulePublic(BaseModel):
    rule_id: UUID
    tenant_id: str | None
    rule_name: str
    description: str | None
    scope: Scope
    device_ids: list[str]
    property: str
    condition: Condition
    threshold: float
    severity: Severity | None
    status: Status
    notification_channels: list[str]
    cooldown_minutes: int
    last_triggered_at: Moment | None
    created_at: Moment
    updated_at: Moment


class RuleAnswer(BaseModel):
    success: Literal[True] = True
    data: RulePublic


class RuleList(BaseModel):
    success: Literal[True] = True
    data: list[RulePublic]
    total: int
    page: int
    page_size: int


class EvaluatedRule(BaseModel):
    """A rule whose condition is met; `triggered` is False, with the reason, where its cooldown holds it back."""

    rule_id: UUID
    triggered: bool
    alert_id: UUID | None
    reason: str | None = None


class Evaluation(BaseModel):
    evaluated: int
    triggered: int
    results: list[EvaluatedRule]


class EvaluationAnswer(BaseModel):
    success: Literal[True] = True
    data: Evaluation


class ReadingBody(BaseModel, extra="allow"):
    """A reading as a device sends it, with its `device_id`; further numbers are extra metrics."""

    device_id: DeviceId
    timestamp: Any = Field(examples=["2026-02-12T10:00:00Z"])


@router.get("")
def list_rules(
    session: DatabaseSession,
    page: PageQuery,
    device_id: Annotated[DeviceId | None, Query()] = None,
    status: Status | None = None,
) -> RuleList:
    """Rules, newest first; with `device_id` those that watch that device, among them those of all devices."""
    found = select(Rule).where(col(Rule.deleted_at).is_(None))
    if device_id is not None:
        found = found.where(or_(col(Rule.scope) == "all_devices", col(Rule.device_ids).contains([device_id])))
    if status is not None:
        found = found.where(Rule.status == status)
    total = session.exec(select(func.count()).select_from(found.subquery())).one()
    ordered = found.order_by(col(Rule.created_at).desc(), col(Rule.rule_id))
    rows = session.exec(ordered.offset(page.offset).limit(page.page_size)).all()
    return RuleList(data=[_public(row) for row in rows], total=total, page=page.page, page_size=page.page_size)


@router.get("/{rule_id}", responses=problems(NotFound))
def get_rule(session: DatabaseSession, rule_id: UUID) -> RuleAnswer:
    """One rule."""
    return RuleAnswer(data=_public(_standing(session, rule_id)))


@router.post("", status_code=201)
def create_rule(session: DatabaseSession, settings: PlatformSettings, body: RuleCreate) -> RuleAnswer:
    """Make a rule; it is active at once."""
    values = body.model_dump()
    if values["cooldown_minutes"] is None:
        values["cooldown_minutes"] = settings.notification_cooldown_minutes
    rule = Rule(**values)
    session.add(rule)
    session.commit()
    return RuleAnswer(data=_public(rule))


@router.put("/{rule_id}", responses=problems(NotFound))
def update_rule(session: DatabaseSession, rule_id: UUID, body: RuleUpdate) -> RuleAnswer:
    """Change the fields that the body names. Alerts that were raised keep what the rule said then."""
    rule = _standing(session, rule_id)
    for name, value in body.model_dump(exclude_unset=True).items():
        if value is None and name not in ("description", "severity"):
            raise Invalid(f"{name} cannot be empty; leave it out to keep it", field=name)
        setattr(rule, name, value)
    try:
        _check_scope(rule.scope, rule.device_ids)
        _check_metric(rule.property)
    except ValueError as error:
        session.rollback()
        raise Invalid(str(error)) from None
    rule.updated_at = utc_now()
    session.commit()
    return RuleAnswer(data=_public(rule))


@router.patch("/{rule_id}/status", responses=problems(NotFound))
def update_rule_status(session: DatabaseSession, rule_id: UUID, body: RuleStatus) -> RuleAnswer:
    """Pause, resume or archive a rule."""
    rule = _standing(session, rule_id)
    rule.status, rule.updated_at = body.status, utc_now()
    session.commit()
    return RuleAnswer(data=_public(rule))


@router.delete("/{rule_id}", status_code=204, responses=problems(NotFound))
def delete_rule(session: DatabaseSession, rule_id: UUID) -> None:
    """Delete a rule; its alerts stay."""
    rule = _standing(session, rule_id)
    rule.deleted_at = rule.updated_at = utc_now()
    session.commit()


@router.post("/evaluate", responses=problems(Unavailable))
def evaluate_rules(session: DatabaseSession, settings: PlatformSettings, body: ReadingBody) -> EvaluationAnswer:
    """Evaluate a reading against the rules that watch its device, and raise alerts. The reading is not stored."""
    milliseconds = int(settings.rule_evaluation_timeout * 1000)
    session.execute(text(f"SET LOCAL statement_timeout = {milliseconds}"))
    device = session.get(Device, body.device_id)
    facts = facts_of(device) if device else UNREGISTERED
    decoded = decode("", body.device_id, body.model_dump_json().encode(), time.time_ns() // 1000, lambda _: facts)
    if not decoded.readings:
        raise Invalid(decoded.rejected[0].reason, field=decoded.rejected[0].metric or "body")
    active = select(Rule).where(Rule.status == "active", col(Rule.deleted_at).is_(None))
    watching = active.where(or_(col(Rule.scope) == "all_devices", col(Rule.device_ids).contains([body.device_id])))
    rules = RuleSet(session.exec(watching).all())
    breaches = rules.evaluate(decoded.readings, [facts.tenant_id])
    raised = {alert.rule_id: alert.alert_id for alert in AlertRaiser().raise_alerts(session, breaches)}
    session.commit()
    results = [
        EvaluatedRule(
            rule_id=breach.rule.rule_id,
            triggered=breach.rule.rule_id in raised,
            alert_id=raised.get(breach.rule.rule_id),
            reason=None if breach.rule.rule_id in raised else "within the rule's cooldown of another alert",
        )
        for breach in breaches
    ]
    evaluated = len(rules.watching(body.device_id, facts.tenant_id))
    return EvaluationAnswer(data=Evaluation(evaluated=evaluated, triggered=len(raised), results=results))


def _standing(session: Session, rule_id: UUID) -> Rule:
    rule = session.get(Rule, rule_id)
    if rule is None or rule.deleted_at:
        raise NotFound(f"there is no rule {rule_id}; GET /api/v1/rules lists them")
    return rule


def _check_scope(scope: str, device_ids: list[str]) -> None:
    if scope == "selected_devices" and not device_ids:
        raise ValueError("device_ids is empty; name the devices, or give scope all_devices")


def _check_metric(name: str) -> None:
    if name in RESERVED:
        raise ValueError(f"property {name!r} is a reserved name and no metric")


def _public(rule: Rule) -> RulePublic:
    return RulePublic.model_validate(rule, from_attributes=True)
