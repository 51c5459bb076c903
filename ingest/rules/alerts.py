"""Breaches become alerts: one per (rule, device) and cooldown, decided in the database, so also with several ingesters.

A rule fires on a breach unless it fired for that device less than its cooldown away, before or after, in the readings'
own time; the readings' order of arrival does not matter. Deciders wait for each other. What a rule says of a device in
maintenance is no alert, but is counted, by the same cooldown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from ingest.devices.last_seen import LastSeen, Newest
from ingest.devices.registry import Registry
from ingest.notify.outbox import Outbox
from ingest.rules import pending, suppressed
from ingest.rules.evaluate import Breach, Evaluated, Key, RuleSet
from storage.rules import NO_DATA, Alert
from storage.telemetry import Reading
from storage.times import microseconds, moment

PHRASES = {">": "exceeded", ">=": "reached", "<": "fell below", "<=": "fell to", "=": "equals", "!=": "differs from"}

# One lock for all: one per (rule, device) would overflow the server's lock table when a whole plant breaches at once.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('energy/alerts'))")
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


@dataclass(slots=True)
class Outcome:
    """What became of a batch's breaches."""

    alerts: list[Alert] = field(default_factory=list)
    in_maintenance: list[Breach] = field(default_factory=list)
    in_cooldown: list[Breach] = field(default_factory=list)
    suppressed: int = 0  # how many alerts there would have been but for maintenance
    # A breach of each (rule, device), and when it fired, or would have, last.
    fired: dict[Key, tuple[Breach, int]] = field(default_factory=dict)
    counted: dict[Key, tuple[Breach, int]] = field(default_factory=dict)


def lock(session: Session) -> None:
    """Wait until no other decider is at work; until the end of the transaction none will be."""
    session.execute(_LOCK)


def raise_alerts(session: Session, evaluated: Evaluated, outbox: Outbox, newest: Newest) -> Outcome:
    """Add to the session the alerts that are due, with their notifications; the caller commits."""
    if not evaluated.breaches and evaluated.streaks is None:
        return Outcome()
    lock(session)
    breaches = evaluated.breaches
    if evaluated.streaks is not None:
        breaches = [*breaches, *pending.evaluate_pending(session, evaluated.streaks, newest)]
    return decide(session, breaches, outbox)


def decide(session: Session, breaches: Iterable[Breach], outbox: Outbox) -> Outcome:
    """The same for breaches of any kind; call it under the lock."""
    outcome = Outcome()
    ordered = sorted(breaches, key=lambda breach: breach.order)
    outcome.in_maintenance = [b for b in ordered if b.in_maintenance]
    _fire(session, [b for b in ordered if not b.in_maintenance], outcome)
    outcome.suppressed, outcome.counted = suppressed.count(session, outcome.in_maintenance)
    if outcome.alerts:
        session.add_all(outcome.alerts)
        session.flush()
        times: dict[UUID, datetime] = {}
        for alert in outcome.alerts:
            times[alert.rule_id] = max(alert.reading_time, times.get(alert.rule_id, alert.reading_time))
        session.execute(_TRIGGERED, {"rules": list(times), "times": list(times.values())})
        outbox.enqueue(session, outcome.alerts)
    return outcome


def remember(rules: RuleSet, outcome: Outcome) -> None:
    """After the commit: what is decided need not be asked again."""
    for breach, time in outcome.fired.values():
        rules.remember(breach, time, held_back=False)
    for breach, time in outcome.counted.values():
        rules.remember(breach, time, held_back=True)


class AlertRaiser:
    """What intake sees of all this: a batch is evaluated, its alerts raised in the batch's transaction, then noted."""

    def __init__(self, registry: Registry, last_seen: LastSeen, outbox: Outbox) -> None:
        self._registry = registry
        self._last_seen = last_seen
        self._outbox = outbox

    def evaluate(self, readings: Sequence[Reading]) -> Evaluated:
        """By the rules of this moment, before the transaction."""
        return self._registry.rules.evaluate(readings, [self._registry.facts(r.device_id) for r in readings])

    def raise_alerts(self, session: Session, evaluated: Evaluated) -> Outcome:
        return raise_alerts(session, evaluated, self._outbox, self._last_seen.newest)

    def committed(self, readings: Sequence[Reading], outcome: Outcome) -> None:
        remember(self._registry.rules, outcome)
        self._last_seen.note(readings)


def describe(breach: Breach) -> str:
    """The alert's message, as the handover words it."""
    rule = breach.rule
    if rule.condition == NO_DATA:
        return f"No data for {breach.value:.1f} minutes, {_short(rule.threshold)} are allowed"
    name = rule.metric.replace("_", " ").capitalize()
    return (
        f"{name} {PHRASES[rule.condition]} threshold: {_short(breach.value)} {rule.condition} {_short(rule.threshold)}"
    )


def _fire(session: Session, breaches: Sequence[Breach], outcome: Outcome) -> None:
    if not breaches:
        return
    by_key = {key: list(group) for key, group in groupby(breaches, key=lambda breach: breach.key)}
    fired = _fired_around(session, by_key)
    for key, group in by_key.items():
        for breach in group:
            if any(breach.is_near(time) for time in fired[key]):
                outcome.in_cooldown.append(breach)
            else:
                fired[key].append(breach.time)
                outcome.alerts.append(_alert(breach))
        outcome.fired[key] = (group[-1], max(fired[key]))


def _alert(breach: Breach) -> Alert:
    return Alert(
        tenant_id=breach.tenant_id,
        rule_id=breach.rule.rule_id,
        device_id=breach.device_id,
        severity=breach.rule.severity,
        message=describe(breach),
        actual_value=breach.value,
        threshold_value=breach.rule.threshold,
        reading_time=moment(breach.time),
        rule=dict(breach.rule.copy),
    )


def _fired_around(session: Session, by_key: dict[Key, list[Breach]]) -> dict[Key, list[int]]:
    """When each (rule, device) fired within a cooldown of its breaches."""
    columns: dict[str, list[Any]] = {"devices": [], "rules": [], "since": [], "until": []}
    for (device_id, rule_id), breaches in by_key.items():
        cooldown = breaches[0].rule.cooldown
        columns["devices"].append(device_id)
        columns["rules"].append(rule_id)
        columns["since"].append(moment(breaches[0].time - cooldown))
        columns["until"].append(moment(breaches[-1].time + cooldown))
    fired: dict[Key, list[int]] = {key: [] for key in by_key}
    for device_id, rule_id, time in session.execute(_FIRED, columns):
        fired[device_id, rule_id].append(microseconds(time))
    return fired


def _short(value: float) -> float:
    return float(f"{value:.6g}")
