"""Breaches become alerts: one per rule, device and cooldown, decided in the database, also with several ingesters.

A rule fires on a breach unless it fired for that device less than its cooldown before or after, in the readings' own
time. So the order in which readings arrive does not matter. Transactions that decide wait for each other. In
maintenance a breach is no alert; it is counted as suppressed, by the same cooldown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from uuid import UUID

from sqlmodel import Session

from ingest.devices.last_seen import LastSeen, Newest
from ingest.devices.registry import Registry
from ingest.notify.outbox import Outbox
from ingest.rules.active_rule import Breach, Key
from ingest.rules.evaluate import Evaluated, evaluate_readings
from ingest.rules.pending import evaluate_pending
from ingest.rules.rule_set import RuleSet
from ingest.rules.suppressed import count_suppressed
from storage.alerts import Alert, Span, lock_alerts, raised_within
from storage.rules import NO_DATA, Rule, record_triggered
from storage.telemetry import Reading
from storage.times import microseconds, moment

# What a value did to the threshold, in the words that clients of alerts know.
PHRASES = {">": "exceeded", ">=": "reached", "<": "fell below", "<=": "fell to", "=": "equals", "!=": "differs from"}


@dataclass(slots=True)
class Outcome:
    """What became of a batch's breaches. `suppressed` alerts were not raised because of maintenance."""

    alerts: list[Alert] = field(default_factory=list)
    in_maintenance: list[Breach] = field(default_factory=list)
    in_cooldown: list[Breach] = field(default_factory=list)
    suppressed: int = 0
    # For each (device, rule): its latest breach, and when (µs) the rule last fired, or below was last suppressed.
    last_fired: dict[Key, tuple[Breach, int]] = field(default_factory=dict)
    last_suppressed: dict[Key, tuple[Breach, int]] = field(default_factory=dict)


class AlertRaiser:
    """What intake does with a batch: evaluate it, raise its alerts in the batch's transaction, remember them after."""

    def __init__(self, registry: Registry, last_seen: LastSeen, outbox: Outbox) -> None:
        self._registry = registry
        self._last_seen = last_seen
        self._outbox = outbox
        self._rows: tuple[Rule, ...] = ()
        self._rules = RuleSet([])

    @property
    def rules(self) -> RuleSet:
        """The active rules of this moment. Only rules that changed in the registry are built anew."""
        rows = self._registry.rules
        if rows is not self._rows:
            self._rules, self._rows = RuleSet.of(rows, self._rules), rows
        return self._rules

    def evaluate(self, readings: Sequence[Reading]) -> Evaluated:
        """Evaluate readings by the active rules, before the transaction."""
        return evaluate_readings(
            self.rules, readings, [self._registry.profile(reading.device_id) for reading in readings]
        )

    def raise_for_batch(self, session: Session, evaluated: Evaluated) -> Outcome:
        """Add the alerts of a batch to the session, with their notifications; the caller commits."""
        return raise_alerts(session, evaluated, self._outbox, self._last_seen.newest)

    def is_newer(self, reading: Reading) -> bool:
        """Whether no reading of the device is known that is as new as this one."""
        return reading.time > self._last_seen.newest.get(reading.device_id, -1)

    def remember(self, readings: Sequence[Reading], retained: Sequence[Reading], outcome: Outcome) -> None:
        """After the commit: remember what was decided, when the devices were seen, and what the broker had retained."""
        remember_cooldowns(self._rules, outcome)
        self._last_seen.record(readings)
        self._last_seen.record_retained(retained)


def raise_alerts(session: Session, evaluated: Evaluated, outbox: Outbox, newest: Newest) -> Outcome:
    """Add the alerts that are due to the session, with their notifications; the caller commits.

    `newest` has the time of the newest reading before these, by device.
    """
    if not evaluated.breaches and evaluated.pending is None:
        return Outcome()
    lock_alerts(session)
    breaches = evaluated.breaches
    if evaluated.pending is not None:
        breaches = [*breaches, *evaluate_pending(session, evaluated.pending, newest)]
    return decide(session, breaches, outbox)


def decide(session: Session, breaches: Iterable[Breach], outbox: Outbox) -> Outcome:
    """Raise an alert for each breach that is neither in maintenance nor in a cooldown; the caller commits.

    Call it under `storage.alerts.lock_alerts`.
    """
    outcome = Outcome()
    ordered = sorted(breaches, key=lambda breach: breach.order)
    outcome.in_maintenance = [breach for breach in ordered if breach.in_maintenance]
    _fire(session, [breach for breach in ordered if not breach.in_maintenance], outcome)
    outcome.suppressed, outcome.last_suppressed = count_suppressed(session, outcome.in_maintenance)
    if outcome.alerts:
        session.add_all(outcome.alerts)
        session.flush()
        times: dict[UUID, datetime] = {}
        for alert in outcome.alerts:
            times[alert.rule_id] = max(alert.reading_time, times.get(alert.rule_id, alert.reading_time))
        record_triggered(session, times)
        outbox.enqueue(session, outcome.alerts)
    return outcome


def remember_cooldowns(rules: RuleSet, outcome: Outcome) -> None:
    """After the commit: breaches in the cooldown of these alerts need not be decided again."""
    for breach, time in outcome.last_fired.values():
        rules.remember(breach, time, suppressed=False)
    for breach, time in outcome.last_suppressed.values():
        rules.remember(breach, time, suppressed=True)


def message_of(breach: Breach) -> str:
    """The alert's message, in the words that clients of alerts know."""
    rule = breach.rule
    if breach.message is not None:
        return breach.message
    if rule.condition == NO_DATA:
        return f"No data for {breach.value:.1f} minutes; the limit is {_short(rule.threshold)}"
    name = rule.metric.replace("_", " ").capitalize()
    return (
        f"{name} {PHRASES[rule.condition]} threshold: {_short(breach.value)} {rule.condition} {_short(rule.threshold)}"
    )


def _fire(session: Session, breaches: Sequence[Breach], outcome: Outcome) -> None:
    """Decide, by the cooldown, which breaches become alerts."""
    if not breaches:
        return
    by_key = {key: list(group) for key, group in groupby(breaches, key=lambda breach: breach.key)}
    fired = _fired_around(session, by_key)
    for key, group in by_key.items():
        for breach in group:
            if any(breach.is_in_cooldown_of(time) for time in fired[key]):
                outcome.in_cooldown.append(breach)
            else:
                fired[key].append(breach.time)
                outcome.alerts.append(_alert(breach))
        outcome.last_fired[key] = (group[-1], max(fired[key]))


def _fired_around(session: Session, by_key: dict[Key, list[Breach]]) -> dict[Key, list[int]]:
    """The times (µs) at which each (device, rule) fired within a cooldown of its breaches."""
    spans = []
    for key, breaches in by_key.items():
        cooldown = breaches[0].rule.cooldown
        spans.append(Span(*key, moment(breaches[0].time - cooldown), moment(breaches[-1].time + cooldown)))
    fired: dict[Key, list[int]] = {key: [] for key in by_key}
    for device_id, rule_id, time in raised_within(session, spans):
        fired[device_id, rule_id].append(microseconds(time))
    return fired


def _alert(breach: Breach) -> Alert:
    return Alert(
        tenant_id=breach.tenant_id,
        rule_id=breach.rule.rule_id,
        device_id=breach.device_id,
        severity=breach.rule.severity,
        message=message_of(breach),
        actual_value=breach.value,
        threshold_value=breach.rule.threshold,
        reading_time=moment(breach.time),
        rule=dict(breach.rule.copy),
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")
