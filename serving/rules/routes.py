"""Rules, and their evaluation on demand with the evaluator that ingestion uses."""

import json
import time
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlmodel import Session

from ingest.devices import DeviceProfile, Windows, profile_of
from ingest.intake import decode_payload
from ingest.notify import Outbox
from ingest.rules import ActiveRule, Outcome, RuleSet, evaluate_readings, raise_alerts
from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import LimitSettings, NotificationOutbox, PlatformSettings
from serving.http.errors import Conflict, Invalid, NotFound, PreconditionFailed, Unavailable, problems
from serving.http.etags import UNCHANGED, IfMatch, IfNoneMatch, not_modified, refuse_stale
from serving.http.pagination import Page, paginate
from serving.rules.limit import check_devices, check_limit
from serving.rules.schemas import (
    EvaluatedRule,
    Evaluation,
    EvaluationAnswer,
    ReadingBody,
    RuleAnswer,
    RuleCreate,
    RulePublic,
    RuleQuery,
    RuleStatus,
    RuleUpdate,
    check_rule,
    hours_json,
)
from serving.settings import ApiSettings
from storage.database import limit_statement_time
from storage.devices import Device, existing_ids
from storage.last_seen import DeviceLastSeen, senders_among
from storage.maintenance import windows_covering
from storage.rules import ANY_READING, NO_DATA, Rule, existing_rules, rules_for_device
from storage.settings import Settings
from storage.telemetry import Reading
from storage.times import microseconds, utc_now

# Devices that a warning names.
MAX_NAMED = 5

router = APIRouter(prefix="/api/v1/rules", tags=["rules"], route_class=IdentifiedRoute)


@router.get("")
def list_rules(session: DatabaseSession, query: Annotated[RuleQuery, Query()]) -> Page[RulePublic]:
    """List rules, newest first by default. With `device_id`, rules of all devices are included."""
    statement = existing_rules(query.device_id, query.search)
    found = paginate(session, statement, query, "tenant_id", "status", "property", "severity")
    return Page[RulePublic].of(query, [_public(row) for row in found.rows], found)


@router.get("/{rule_id}", response_model=RuleAnswer, responses=problems(NotFound) | UNCHANGED)
def get_rule(session: DatabaseSession, response: Response, rule_id: UUID, if_none_match: IfNoneMatch = None) -> Any:
    """One rule, with its ETag and Last-Modified."""
    rule = existing_rule(session, rule_id)
    return not_modified(response, rule, if_none_match) or RuleAnswer(data=_public(rule))


@router.post("", status_code=201, responses=problems(Conflict))
def create_rule(
    session: DatabaseSession,
    limits: LimitSettings,
    principal: CurrentPrincipal,
    outbox: NotificationOutbox,
    body: RuleCreate,
) -> RuleAnswer:
    """Create a rule. It is active at once, unless `status` says otherwise."""
    rule = Rule(**body.values(limits.notification_cooldown_minutes))
    rule.tenant_id = rule.tenant_id or principal.tenant_id
    check_devices(session, rule, rule.device_ids)
    check_limit(session, rule, limits.max_rules_per_device)
    session.add(rule)
    session.commit()
    return RuleAnswer(data=_public(rule), warnings=warnings_of(session, outbox, rule))


@router.put("/{rule_id}", responses=problems(NotFound, Conflict, PreconditionFailed))
@router.patch("/{rule_id}", responses=problems(NotFound, Conflict, PreconditionFailed))
def update_rule(
    session: DatabaseSession,
    limits: LimitSettings,
    outbox: NotificationOutbox,
    rule_id: UUID,
    body: RuleUpdate,
    *,
    if_match: IfMatch = None,
) -> RuleAnswer:
    """Change the fields that the body names, with PUT as with PATCH. Alerts keep the rule as it was when they fired."""
    rule = existing_rule(session, rule_id, for_update=True)
    refuse_stale(rule, if_match)
    changes = body.model_dump(exclude_unset=True)
    if "active_hours" in changes:
        changes["active_hours"] = hours_json(body.active_hours)
    if changes.get("condition", rule.condition) == NO_DATA:
        changes.setdefault("property", ANY_READING)
    elif rule.condition == NO_DATA:
        changes.setdefault("property", None)
    known_ids = set(rule.device_ids)
    for name, value in changes.items():
        setattr(rule, name, value)
    check_rule(rule)
    with session.no_autoflush:
        check_devices(session, rule, set(rule.device_ids) - known_ids)
    answer = _saved(session, limits, rule)
    return answer.model_copy(update={"warnings": warnings_of(session, outbox, rule)})


@router.patch("/{rule_id}/status", responses=problems(NotFound, Conflict))
def update_rule_status(session: DatabaseSession, limits: LimitSettings, rule_id: UUID, body: RuleStatus) -> RuleAnswer:
    """Pause, resume or archive a rule."""
    rule = existing_rule(session, rule_id)
    rule.status = body.status
    return _saved(session, limits, rule)


@router.delete("/{rule_id}", status_code=204, responses=problems(NotFound))
def delete_rule(session: DatabaseSession, rule_id: UUID) -> None:
    """Delete a rule; its alerts stay."""
    rule = existing_rule(session, rule_id)
    rule.deleted_at = rule.updated_at = utc_now()
    session.commit()


@router.post("/evaluate", responses=problems(Unavailable))
def evaluate_rules(
    session: DatabaseSession,
    settings: PlatformSettings,
    limits: LimitSettings,
    outbox: NotificationOutbox,
    body: ReadingBody,
) -> EvaluationAnswer:
    """Evaluate a reading against the rules that watch its device, and raise alerts. The reading is not stored.

    It counts towards `for_seconds` of a rule like a reading from the device.
    """
    limit_statement_time(session, limits.rule_evaluation_timeout)
    profile = _profile(session, settings, body.device_id)
    payload = json.dumps(body.model_dump()).encode()
    decoded = decode_payload("", body.device_id, payload, time.time_ns() // 1000, profile)
    if not decoded.readings:
        (rejected,) = decoded.rejected
        field = "timestamp" if rejected.reason.startswith("timestamp") else rejected.metric or "body"
        raise Invalid(rejected.reason, field=field)
    (reading,) = decoded.readings
    rules = RuleSet.of(rules_for_device(session, body.device_id))
    last_seen = session.get(DeviceLastSeen, body.device_id)
    newest = {body.device_id: microseconds(last_seen.newest_reading)} if last_seen else {}
    outcome = raise_alerts(session, evaluate_readings(rules, [reading], [profile]), outbox, newest)
    session.commit()
    watching = rules.watching(body.device_id, profile.tenant_id)
    met = [rule for rule in watching if rule.metric in reading.metrics and rule.meets(reading.metrics[rule.metric])]
    results = [_evaluated(rule, reading, profile, outcome) for rule in met]
    return EvaluationAnswer(data=Evaluation(evaluated=len(watching), triggered=len(outcome.alerts), results=results))


def existing_rule(session: Session, rule_id: UUID, *, for_update: bool = False) -> Rule:
    """The rule.

    Raises:
        NotFound: It never existed, or is deleted.

    """
    rule = session.get(Rule, rule_id, with_for_update=for_update or None)
    if rule is None or rule.deleted_at:
        raise NotFound(f"there is no rule {rule_id}; GET /api/v1/rules lists the rules")
    return rule


def warnings_of(session: Session, outbox: Outbox, rule: Rule) -> list[str]:
    """What may not work as meant: devices that nobody knows, and channels without an address.

    Both are taken: a device may be registered later, and the ingester may know more than the API.
    """
    ids = rule.device_ids
    unknown = sorted(set(ids) - existing_ids(session, ids) - senders_among(session, ids))
    named = ", ".join(unknown[:MAX_NAMED]) + (f" and {len(unknown) - MAX_NAMED} more" * (len(unknown) > MAX_NAMED))
    of_devices = f"device_ids: {named}: not registered, and nothing was received; check the id, or register the device"
    return [of_devices] * bool(unknown) + [
        f"notification_channels: {channel} has no address here; unless the ingester has NOTIFY_{channel.upper()}, its"
        " notifications are kept as unconfigured and reach nobody"
        for channel in outbox.without_address(rule.notification_channels, rule.tenant_id)
    ]


def _saved(session: Session, limits: ApiSettings, rule: Rule) -> RuleAnswer:
    with session.no_autoflush:
        check_limit(session, rule, limits.max_rules_per_device)
    rule.updated_at = utc_now()
    session.commit()
    return RuleAnswer(data=_public(rule))


def _profile(session: Session, settings: Settings, device_id: str) -> DeviceProfile:
    device = session.get(Device, device_id)
    windows = Windows(windows_covering(session, [device_id])).of(device_id, device.tenant_id if device else None)
    if device is None:
        return DeviceProfile(zone=settings.zone, windows=windows)
    return profile_of(device, settings.zone, windows)


def _evaluated(rule: ActiveRule, reading: Reading, profile: DeviceProfile, outcome: Outcome) -> EvaluatedRule:
    raised = {alert.rule_id: alert.alert_id for alert in outcome.alerts}
    if rule.rule_id in raised:
        return EvaluatedRule(rule_id=rule.rule_id, triggered=True, alert_id=raised[rule.rule_id])
    if not rule.is_active(reading.time, profile.zone):
        reason = "outside the rule's active hours"
    elif any(breach.rule.rule_id == rule.rule_id for breach in outcome.in_maintenance):
        reason = "the device is in maintenance; the alert is suppressed and counted"
    elif any(breach.rule.rule_id == rule.rule_id for breach in outcome.in_cooldown):
        reason = "within the rule's cooldown after or before another alert"
    else:
        reason = f"the condition has not yet held for {rule.pending_period // 1_000_000} s"
    return EvaluatedRule(rule_id=rule.rule_id, triggered=False, alert_id=None, reason=reason)


def _public(rule: Rule) -> RulePublic:
    return RulePublic.model_validate(rule, from_attributes=True)
