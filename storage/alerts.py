"""Alerts that rules have raised."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, Session, SQLModel, Text, col, func, select

from storage.database import Timestamp
from storage.times import utc_now


class Alert(SQLModel, table=True):
    """A rule's alert about one reading. It outlives the rule, of which it keeps a copy in `rule`."""

    __tablename__ = "alerts"
    __table_args__ = (
        # A breach is one alert, however many ingesters see it and however often it is delivered. The index also answers
        # whether a rule fired for a device within a cooldown.
        UniqueConstraint("rule_id", "device_id", "reading_time", name="alerts_one_per_reading"),
        Index("ix_alerts_created_at", "created_at"),
    )

    alert_id: UUID = Field(default_factory=uuid4, primary_key=True)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    # RESTRICT: history is never deleted with a rule.
    rule_id: UUID = Field(foreign_key="rules.rule_id", ondelete="RESTRICT", index=True)
    device_id: str = Field(index=True, max_length=50)
    severity: str = Field(max_length=50)
    message: str = Field(sa_type=Text)
    actual_value: float
    threshold_value: float
    status: str = Field(default="open", index=True, max_length=50, sa_column_kwargs={"server_default": "open"})
    acknowledged_by: str | None = Field(default=None, max_length=255)
    acknowledged_at: datetime | None = Timestamp(default=None)
    acknowledgement_note: str | None = Field(default=None, sa_type=Text)
    resolved_by: str | None = Field(default=None, max_length=255)
    resolved_at: datetime | None = Timestamp(default=None)
    resolution_note: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Timestamp(default_factory=utc_now)
    reading_time: datetime = Timestamp()
    rule: dict[str, object] = Field(sa_type=JSONB)


# What a tenant sees of a rule that is not its own.
SHOWN_OF_FOREIGN_RULES = ("rule_id", "rule_name", "property", "condition", "threshold", "severity")


def rule_shown(alert: Alert, tenant_id: str | None) -> dict[str, object]:
    """The alert's copy of its rule as a tenant sees it; None sees all of it.

    Of a rule of all tenants, which may name devices of others, a tenant sees what was met, and the alert's own device.
    """
    if tenant_id is None or alert.rule.get("tenant_id") == tenant_id:
        return alert.rule
    shown = {name: alert.rule[name] for name in SHOWN_OF_FOREIGN_RULES if name in alert.rule}
    named = alert.rule.get("device_ids")
    return {**shown, "device_ids": [alert.device_id] if isinstance(named, list) and alert.device_id in named else []}


class Span(NamedTuple):
    """A range of time, both ends included, of a device and a rule."""

    device_id: str
    rule_id: UUID
    since: datetime
    until: datetime


# One lock for all: one per (rule, device) would overflow the server's lock table when a whole plant breaches at once.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('energy/alerts'))")
_RAISED_WITHIN = text("""
SELECT w.device_id, w.rule_id, a.reading_time
FROM unnest(CAST(:devices AS text[]), CAST(:rules AS uuid[]),
            CAST(:since AS timestamptz[]), CAST(:until AS timestamptz[]))
  AS w (device_id, rule_id, since, until)
JOIN alerts a ON a.rule_id = w.rule_id AND a.device_id = w.device_id AND a.reading_time BETWEEN w.since AND w.until
""")
_LAST_RAISED = text("""
SELECT w.device_id, w.rule_id, max(a.reading_time)
FROM unnest(CAST(:devices AS text[]), CAST(:rules AS uuid[])) AS w (device_id, rule_id)
JOIN alerts a ON a.rule_id = w.rule_id AND a.device_id = w.device_id
GROUP BY w.device_id, w.rule_id
""")


def lock_alerts(session: Session) -> None:
    """Wait until no other transaction decides about alerts; none will until this transaction ends."""
    session.execute(_LOCK)


def raised_within(session: Session, spans: Sequence[Span]) -> list[tuple[str, UUID, datetime]]:
    """Device, rule and reading time of every alert that lies in one of the spans."""
    devices, rules, since, until = (list(column) for column in zip(*spans, strict=True))
    rows = session.execute(_RAISED_WITHIN, {"devices": devices, "rules": rules, "since": since, "until": until})
    return [(device_id, rule_id, time) for device_id, rule_id, time in rows]


def last_raised(session: Session, keys: Collection[tuple[str, UUID]]) -> dict[tuple[str, UUID], datetime]:
    """The latest reading time of the alerts of each (device, rule); those without alerts are left out."""
    columns = {"devices": [device_id for device_id, _ in keys], "rules": [rule_id for _, rule_id in keys]}
    return {(device_id, rule_id): time for device_id, rule_id, time in session.execute(_LAST_RAISED, columns)}


def alerts_for_update(session: Session, alert_ids: Collection[UUID]) -> dict[UUID, Alert]:
    """The alerts by id, locked until the transaction ends; in one order, so none deadlocks."""
    query = select(Alert).where(col(Alert.alert_id).in_(alert_ids)).order_by(col(Alert.alert_id))
    return {alert.alert_id: alert for alert in session.exec(query.with_for_update())}


def newest_alerts(
    session: Session, device_id: str, start: datetime, end: datetime, *, tenant_id: str | None, limit: int
) -> tuple[list[Alert], int]:
    """The newest alerts of a device's readings in [start, end), up to the limit, and the number of all of them.

    Alerts from a time in which the device had another tenant, or none, are left out.
    """
    query = select(Alert).where(
        Alert.device_id == device_id,
        col(Alert.tenant_id).is_not_distinct_from(tenant_id),
        Alert.reading_time >= start,
        Alert.reading_time < end,
    )
    alerts = session.exec(query.order_by(col(Alert.reading_time).desc()).limit(limit)).all()
    return list(alerts), session.exec(select(func.count()).select_from(query.subquery())).one()


def count_alerts(
    session: Session, device_id: str, start: datetime, end: datetime, *, tenant_id: str | None
) -> tuple[int, int]:
    """How many alerts a device's readings in [start, end) raised for a tenant, and how many of them are still open."""
    open_ones = func.count().filter(col(Alert.status) == "open")
    counts = select(func.count(), open_ones).where(
        Alert.device_id == device_id,
        col(Alert.tenant_id).is_not_distinct_from(tenant_id),
        Alert.reading_time >= start,
        Alert.reading_time < end,
    )
    total, still_open = session.exec(counts).one()
    return total, still_open
