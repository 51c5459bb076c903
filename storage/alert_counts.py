"""Counts of alerts: how many are open, how often each rule fired on each day, and how long people took."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy
from sqlalchemy import Float, cast as cast_as
from sqlalchemy.sql import ColumnElement
from sqlmodel import Date, Session, col, func, select

from storage.alerts import Alert

UNRESOLVED = ("open", "acknowledged")


@dataclass(frozen=True)
class OpenAlerts:
    """How many alerts of one rule and severity are open or acknowledged."""

    rule_id: UUID
    severity: str
    status: str
    count: int


@dataclass(frozen=True)
class RuleDay:
    """How many alerts a rule raised on one local day, and when the last of them."""

    rule_id: UUID
    day: date
    count: int
    last_raised_at: datetime


@dataclass(frozen=True)
class RuleNamed:
    """A rule's name and severity, as its alert at a moment has them."""

    rule_id: UUID
    rule_name: str
    severity: str


@dataclass(frozen=True)
class Durations:
    """Median seconds from an alert until people acknowledged and resolved it; None if nobody has."""

    to_acknowledge: float | None
    to_resolve: float | None


def open_alerts(session: Session, device_id: str | None = None) -> list[OpenAlerts]:
    """The alerts that are not resolved, by rule, severity and status."""
    keys: Any = (Alert.rule_id, Alert.severity, Alert.status)
    query = sqlalchemy.select(*keys, func.count()).where(col(Alert.status).in_(UNRESOLVED), *_of_device(device_id))
    return [OpenAlerts(*row) for row in session.execute(query.group_by(*keys))]


def alerts_by_day(session: Session, since: datetime, zone: ZoneInfo, device_id: str | None = None) -> list[RuleDay]:
    """The alerts raised since a moment, by rule and day of the zone, in order of the day."""
    day = cast_as(func.timezone(zone.key, col(Alert.created_at)), Date)
    columns: Any = (Alert.rule_id, day, func.count(), func.max(Alert.created_at))
    query = sqlalchemy.select(*columns).where(col(Alert.created_at) >= since, *_of_device(device_id))
    return [RuleDay(*row) for row in session.execute(query.group_by(col(Alert.rule_id), day).order_by(day))]


def rules_named(session: Session, moments: Collection[datetime]) -> list[RuleNamed]:
    """The rules of the alerts that were raised at exactly these moments."""
    name = func.coalesce(col(Alert.rule)["rule_name"].astext, "")
    columns: Any = (Alert.rule_id, name, Alert.severity)
    query = sqlalchemy.select(*columns).where(col(Alert.created_at).in_(moments))
    return [RuleNamed(*row) for row in session.execute(query)]


def devices_by_rule(session: Session, since: datetime, device_id: str | None = None) -> dict[UUID, int]:
    """On how many devices each rule has raised alerts since a moment."""
    pairs = select(Alert.rule_id, Alert.device_id).where(col(Alert.created_at) >= since, *_of_device(device_id))
    return dict(Counter(rule_id for rule_id, _ in session.exec(pairs.distinct())))


def durations(session: Session, since: datetime, device_id: str | None = None) -> Durations:
    """The usual times to acknowledge and to resolve the alerts that were raised since a moment."""
    query = select(_median_since_raised(Alert.acknowledged_at), _median_since_raised(Alert.resolved_at))
    row = session.exec(query.where(col(Alert.created_at) >= since, *_of_device(device_id))).one()
    return Durations(*row)


def _median_since_raised(moment: Any) -> ColumnElement[float]:
    seconds = cast_as(func.extract("epoch", moment - col(Alert.created_at)), Float)
    return func.percentile_cont(0.5).within_group(seconds)


def _of_device(device_id: str | None) -> Sequence[ColumnElement[bool]]:
    return () if device_id is None else (col(Alert.device_id) == device_id,)
