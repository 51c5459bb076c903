"""Rules that watch telemetry."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, get_args
from uuid import UUID, uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, Field as Key, model_validator
from sqlalchemy import CheckConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, Session, SQLModel, String, Text, col, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from storage.database import Timestamp
from storage.times import utc_now

# The condition of a rule that watches whether a device sends at all; its threshold is minutes without data.
NO_DATA = "no_data"
# The condition of a rule that compares what was measured with the stored forecast; its threshold is hours in a row.
OUTSIDE_FORECAST = "outside_forecast"
# The property of a no_data rule, where others name a metric.
ANY_READING = "telemetry"

RULES_PER_QUERY = 1000

Severity = Literal["low", "medium", "high", "critical"]
# The worst first.
SEVERITIES: tuple[Severity, ...] = get_args(Severity)[::-1]


def _time_of_day(value: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00", value):
        raise ValueError("give a time of day from 00:00 to 24:00, such as 06:00")
    return value


def _distinct(days: list[int]) -> list[int]:
    return sorted(set(days))


class ActiveHours(BaseModel):
    """When a rule may raise alerts, in the device's time zone.

    A range that ends before it begins runs overnight, and belongs to the day that it begins on.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    days: Annotated[
        list[Annotated[int, Key(ge=0, le=6, strict=True)]],
        Key(min_length=1, max_length=7, description="0 is Monday"),
        AfterValidator(_distinct),
    ] = [0, 1, 2, 3, 4, 5, 6]
    since: Annotated[str, AfterValidator(_time_of_day), Key(alias="from", examples=["06:00"])]
    until: Annotated[str, AfterValidator(_time_of_day), Key(alias="to", examples=["18:00"])]

    @model_validator(mode="after")
    def _is_a_range(self) -> "ActiveHours":
        if self.since in (self.until, "24:00"):
            raise ValueError("from and to are the same time; for whole days give 00:00 and 24:00")
        return self


class Rule(SQLModel, table=True):
    """A threshold on one metric, a limit of time without data, or the forecast's band, for some devices or for all."""

    __tablename__ = "rules"
    __table_args__ = (
        CheckConstraint(
            "condition IN ('>', '<', '=', '!=', '>=', '<=', 'no_data', 'outside_forecast')", name="rules_condition"
        ),
    )

    rule_id: UUID = Field(default_factory=uuid4, primary_key=True)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    rule_name: str = Field(max_length=255)
    description: str | None = Field(default=None, sa_type=Text)
    scope: str = Field(max_length=50)
    device_ids: list[str] = Field(default_factory=list, sa_type=ARRAY(String(50)))
    property: str = Field(index=True, max_length=100)
    condition: str = Field(max_length=20)
    threshold: float
    for_seconds: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    active_hours: dict[str, object] | None = Field(default=None, sa_type=JSONB)
    severity: str | None = Field(default=None, max_length=50)
    status: str = Field(default="active", index=True, max_length=50)
    notification_channels: list[str] = Field(default_factory=list, sa_type=ARRAY(String(50)))
    cooldown_minutes: int = 15
    last_triggered_at: datetime | None = Timestamp(default=None)
    created_at: datetime = Timestamp(default_factory=utc_now)
    updated_at: datetime = Timestamp(default_factory=utc_now)
    deleted_at: datetime | None = Timestamp(default=None)


_IS_ACTIVE = (col(Rule.status) == "active", col(Rule.deleted_at).is_(None))
_TRIGGERED = text("""
UPDATE rules r SET last_triggered_at = greatest(r.last_triggered_at, t.at)
FROM unnest(CAST(:rules AS uuid[]), CAST(:times AS timestamptz[])) AS t (rule_id, at) WHERE r.rule_id = t.rule_id
""")


def active_versions(session: Session) -> dict[UUID, datetime]:
    """The version (`updated_at`) of every active rule."""
    return dict(session.exec(select(Rule.rule_id, Rule.updated_at).where(*_IS_ACTIVE)).all())


def active_rules(session: Session, rule_ids: Sequence[UUID]) -> list[Rule]:
    """Those of the rules that are active."""
    rules: list[Rule] = []
    for start in range(0, len(rule_ids), RULES_PER_QUERY):
        some = col(Rule.rule_id).in_(rule_ids[start : start + RULES_PER_QUERY])
        rules += session.exec(select(Rule).where(*_IS_ACTIVE, some))
    return rules


def active_rules_with(session: Session, condition: str) -> list[Rule]:
    """The active rules with that condition."""
    return list(session.exec(select(Rule).where(*_IS_ACTIVE, Rule.condition == condition)))


def existing_rules(device_id: str | None = None, search: str | None = None) -> SelectOfScalar[Rule]:
    """Select rules that are not deleted.

    With `device_id`, those of all devices or of this one; with `search`, those with this text in name or description.
    """
    statement = select(Rule).where(col(Rule.deleted_at).is_(None))
    if device_id is not None:
        statement = statement.where(or_(col(Rule.scope) == "all_devices", col(Rule.device_ids).contains([device_id])))
    if search:
        columns = (Rule.rule_name, Rule.description)
        statement = statement.where(or_(*(col(column).icontains(search, autoescape=True) for column in columns)))
    return statement


def rules_for_device(session: Session, device_id: str) -> Sequence[Rule]:
    """The active rules of all devices and of this one."""
    return session.exec(existing_rules(device_id).where(Rule.status == "active")).all()


# Two requests that would exceed the limit together wait for each other.
_LOCK_LIMIT = text("SELECT pg_advisory_xact_lock(hashtext('energy/rules-per-device'))")
# A rule watches a device if it names it or is of all devices, and has the device's tenant or none. NULL among the
# tenants of a rule of all devices stands for devices that are not registered, or have no tenant.
_MOST_WATCHED = text("""
WITH others AS MATERIALIZED (
    SELECT rule_id, tenant_id, scope, device_ids FROM rules
    WHERE status = 'active' AND deleted_at IS NULL AND rule_id <> :rule_id
), naming AS (
    SELECT n.device_id, d.tenant_id, count(DISTINCT o.rule_id) AS rules
    FROM others o CROSS JOIN unnest(o.device_ids) AS n (device_id) LEFT JOIN devices d ON d.device_id = n.device_id
    WHERE o.scope = 'selected_devices' AND (o.tenant_id IS NULL OR o.tenant_id = d.tenant_id)
      AND (:of_all_devices OR n.device_id = ANY(CAST(:devices AS text[])))
    GROUP BY n.device_id, d.tenant_id
), watched AS (
    SELECT device_id, tenant_id, rules FROM naming
    UNION ALL
    SELECT n.device_id, d.tenant_id, 0 FROM unnest(CAST(:devices AS text[])) AS n (device_id)
    LEFT JOIN devices d ON d.device_id = n.device_id WHERE NOT :of_all_devices
    UNION ALL
    SELECT NULL, tenant_id, 0 FROM (SELECT tenant_id FROM devices UNION SELECT CAST(:tenant AS text)) t
    WHERE :of_all_devices
)
SELECT w.device_id, w.rules + (
    SELECT count(*) FROM others o WHERE o.scope = 'all_devices' AND (o.tenant_id IS NULL OR o.tenant_id = w.tenant_id)
) AS rules
FROM watched w WHERE CAST(:tenant AS text) IS NULL OR w.tenant_id = :tenant
ORDER BY rules DESC, w.device_id LIMIT 1
""")


def most_watched_device(session: Session, rule: Rule) -> tuple[str | None, int]:
    """Of the devices that a rule watches, the one that most other active rules watch, and how many these are.

    The device is None if it is one that only rules of all devices watch. Rules that name a device of another tenant do
    not watch it and do not count. Holds a lock until the transaction ends, so that two rules that are counted at once
    do not miss each other.
    """
    session.execute(_LOCK_LIMIT)
    parameters = {
        "rule_id": rule.rule_id,
        "of_all_devices": rule.scope == "all_devices",
        "devices": rule.device_ids,
        "tenant": rule.tenant_id,
    }
    row = session.execute(_MOST_WATCHED, parameters).first()
    return (row.device_id, row.rules) if row else (None, 0)


def record_triggered(session: Session, times: Mapping[UUID, datetime]) -> None:
    """Move `last_triggered_at` of rules forward to the given times."""
    session.execute(_TRIGGERED, {"rules": list(times), "times": list(times.values())})
