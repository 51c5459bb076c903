"""Breaches become alerts: one per (rule, device) and cooldown, decided in the database, so also with several ingesters.

A rule fires on a breach unless it fired for that device less than its cooldown away, before or after, in the readings'
own time. Deciders of one (rule, device) wait for each other; the readings' order of arrival does not matter.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from ingest.rules import Breach
from storage.rules import Alert
from storage.telemetry import microseconds, moment

Key = tuple[str, UUID]

PHRASES = {">": "exceeded", ">=": "reached", "<": "fell below", "<=": "fell to", "=": "equals", "!=": "differs from"}

# Sorted keys: two deciders take their locks in one order.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM unnest(CAST(:keys AS text[])) AS key")
_FIRED = text("""
SELECT w.device_id, w.rule_id, a.reading_time
FROM unnest(CAST(:devices AS text[]), CAST(:rules AS uuid[]),
            CAST(:since AS timestamptz[]), CAST(:until AS timestamptz[]))
  AS w (device_id, rule_id, since, until)
JOIN alerts a ON a.rule_id = w.rule_id AND a.device_id = w.device_id AND a.reading_time BETWEEN w.since AND w.until
""")
_TRIGGERED = text("""
UPDATE rules r SET last_triggered_at = greatest(r.last_triggered_at, t.at)
FROM unnest(CAST(:rules AS uuid[]), CAST(:times AS timestamptz[])) AS t (rule_id, at) WHERE r.rule_id = t.rule_id
""")


class AlertRaiser:
    """Raises alerts, and remembers when each (rule, device) fired last so that a lasting breach does not ask again."""

    def __init__(self) -> None:
        self._last_fired: dict[Key, int] = {}

    def raise_alerts(self, session: Session, breaches: Iterable[Breach]) -> list[Alert]:
        """Add alerts to the session for the breaches that fire; the caller commits."""
        candidates = sorted((b for b in breaches if not self._is_held_back(b)), key=_order)
        if not candidates:
            return []
        by_key = {key: list(group) for key, group in groupby(candidates, key=_key)}
        fired = _fired_around(session, by_key)
        alerts = [alert for key, group in by_key.items() for alert in _decide(group, fired[key])]
        if alerts:
            session.add_all(alerts)
            session.flush()
            times: dict[UUID, datetime] = {}
            for alert in alerts:
                times[alert.rule_id] = max(alert.reading_time, times.get(alert.rule_id, alert.reading_time))
            session.execute(_TRIGGERED, {"rules": list(times), "times": list(times.values())})
        return alerts

    def remember(self, alerts: Iterable[Alert]) -> None:
        """After the commit: what is raised stays raised."""
        for alert in alerts:
            self._last_fired[alert.device_id, alert.rule_id] = microseconds(alert.reading_time)

    def _is_held_back(self, breach: Breach) -> bool:
        last = self._last_fired.get(_key(breach))
        return last is not None and _holds_back(last, breach)


def describe(breach: Breach) -> str:
    """The alert's message, as the handover words it."""
    rule = breach.rule
    name = rule.metric.replace("_", " ").capitalize()
    return (
        f"{name} {PHRASES[rule.condition]} threshold: {_short(breach.value)} {rule.condition} {_short(rule.threshold)}"
    )


def _decide(breaches: Sequence[Breach], fired: list[int]) -> list[Alert]:
    alerts = []
    for breach in breaches:
        if any(_holds_back(time, breach) for time in fired):
            continue
        fired.append(breach.reading.time)
        alerts.append(_alert(breach))
    return alerts


def _holds_back(fired: int, breach: Breach) -> bool:
    away = abs(breach.reading.time - fired)
    return away < breach.rule.cooldown or away == 0


def _alert(breach: Breach) -> Alert:
    return Alert(
        tenant_id=breach.tenant_id,
        rule_id=breach.rule.rule_id,
        device_id=breach.reading.device_id,
        severity=breach.rule.severity,
        message=describe(breach),
        actual_value=breach.value,
        threshold_value=breach.rule.threshold,
        reading_time=moment(breach.reading.time),
        rule=dict(breach.rule.copy),
    )


def _fired_around(session: Session, by_key: dict[Key, list[Breach]]) -> dict[Key, list[int]]:
    """Lock the keys, and find when each fired within a cooldown of its breaches."""
    session.execute(_LOCK, {"keys": [f"{device_id}/{rule_id}" for device_id, rule_id in by_key]})
    columns: dict[str, list[Any]] = {"devices": [], "rules": [], "since": [], "until": []}
    for (device_id, rule_id), breaches in by_key.items():
        cooldown = breaches[0].rule.cooldown
        columns["devices"].append(device_id)
        columns["rules"].append(rule_id)
        columns["since"].append(moment(breaches[0].reading.time - cooldown))
        columns["until"].append(moment(breaches[-1].reading.time + cooldown))
    fired: dict[Key, list[int]] = {key: [] for key in by_key}
    for device_id, rule_id, time in session.execute(_FIRED, columns):
        fired[device_id, rule_id].append(microseconds(time))
    return fired


def _key(breach: Breach) -> Key:
    return breach.reading.device_id, breach.rule.rule_id


def _order(breach: Breach) -> tuple[str, str, int]:
    return breach.reading.device_id, str(breach.rule.rule_id), breach.reading.time


def _short(value: float) -> float:
    return float(f"{value:.6g}")
