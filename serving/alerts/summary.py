"""Counts of alerts, for an overview: how many are open, how often each rule fired on each day, how long people took."""

from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.auth.tenancy import DatabaseSession
from serving.dependencies import PlatformSettings
from serving.devices.schemas import DeviceId
from serving.http.fields import Moment
from storage import alert_counts
from storage.alert_counts import OpenAlerts, RuleDay
from storage.rules import SEVERITIES, Severity
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

MAX_RULES = 1000


class SummaryQuery(BaseModel):
    """The range of the counts by day: so many days up to today, in the site's time zone."""

    days: Annotated[int, Field(ge=1, le=366)] = 30
    device_id: DeviceId | None = None


class SeverityCount(BaseModel):
    severity: Severity
    open: int
    acknowledged: int


class RuleCount(BaseModel):
    """The alerts of one rule: those that are not resolved, and of the range those of each day and on how many devices.

    `rule_name` is null if the rule raised no alert within the range.
    """

    rule_id: UUID
    rule_name: str | None
    severity: str
    open: int
    acknowledged: int
    alerts: int
    devices: int
    last_raised_at: Moment | None
    days: list[int]


class AlertSummary(BaseModel):
    """`days` of a rule begin with `first_day`. The times are medians in seconds over the alerts of the range."""

    first_day: date
    days: int
    timezone: str
    open: int
    acknowledged: int
    alerts: int
    by_severity: list[SeverityCount]
    by_rule: list[RuleCount] = Field(
        description=f"The {MAX_RULES} rules with the most open alerts, then the most alerts"
    )
    seconds_to_acknowledge: float | None
    seconds_to_resolve: float | None


class AlertSummaryAnswer(BaseModel):
    success: Literal[True] = True
    data: AlertSummary


@router.get("/summary")
def summarize_alerts(
    session: DatabaseSession, settings: PlatformSettings, query: Annotated[SummaryQuery, Query()]
) -> AlertSummaryAnswer:
    """Count alerts by severity and by rule, and each rule's alerts by day."""
    first_day = utc_now().astimezone(settings.zone).date() - timedelta(days=query.days - 1)
    since = datetime(first_day.year, first_day.month, first_day.day, tzinfo=settings.zone)
    unresolved = alert_counts.open_alerts(session, query.device_id)
    by_day = alert_counts.alerts_by_day(session, since, settings.zone, query.device_id)
    devices = alert_counts.devices_by_rule(session, since, query.device_id)
    durations = alert_counts.durations(session, since, query.device_id)
    rules = _rules(unresolved, by_day, devices, first_day, query.days)[:MAX_RULES]
    newest = {rule.last_raised_at for rule in rules if rule.last_raised_at is not None}
    named = {rule.rule_id: rule for rule in alert_counts.rules_named(session, newest)}
    for rule in rules:
        if rule.last_raised_at is not None and rule.rule_id in named:
            rule.rule_name, rule.severity = named[rule.rule_id].rule_name, named[rule.rule_id].severity
    return AlertSummaryAnswer(
        data=AlertSummary(
            first_day=first_day,
            days=query.days,
            timezone=settings.zone.key,
            open=_count(unresolved, status="open"),
            acknowledged=_count(unresolved, status="acknowledged"),
            alerts=sum(rule_day.count for rule_day in by_day),
            by_severity=[
                SeverityCount(
                    severity=severity,
                    open=_count(unresolved, severity=severity, status="open"),
                    acknowledged=_count(unresolved, severity=severity, status="acknowledged"),
                )
                for severity in SEVERITIES
            ],
            by_rule=rules,
            seconds_to_acknowledge=durations.to_acknowledge,
            seconds_to_resolve=durations.to_resolve,
        )
    )


def _rules(
    unresolved: list[OpenAlerts], by_day: list[RuleDay], devices: dict[UUID, int], first_day: date, days: int
) -> list[RuleCount]:
    rules: dict[UUID, RuleCount] = {}
    for found in unresolved:
        rule = rules.setdefault(found.rule_id, _empty(found.rule_id, found.severity, days))
        if found.status == "open":
            rule.open += found.count
        else:
            rule.acknowledged += found.count
    for day in by_day:
        rule = rules.setdefault(day.rule_id, _empty(day.rule_id, "", days))
        rule.last_raised_at = day.last_raised_at
        rule.alerts += day.count
        rule.devices = devices.get(day.rule_id, 0)
        position = (day.day - first_day).days
        if 0 <= position < days:  # a day may end between two of the queries
            rule.days[position] += day.count
    return sorted(rules.values(), key=lambda rule: (-rule.open, -rule.alerts, str(rule.rule_id)))


def _empty(rule_id: UUID, severity: str, days: int) -> RuleCount:
    return RuleCount(
        rule_id=rule_id, rule_name=None, severity=severity, open=0, acknowledged=0, alerts=0, devices=0,
        last_raised_at=None, days=[0] * days,
    )  # fmt: skip


def _count(found: list[OpenAlerts], **wanted: str) -> int:
    return sum(row.count for row in found if all(getattr(row, name) == value for name, value in wanted.items()))
