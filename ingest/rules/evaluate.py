"""Rule evaluation, a batch at a time and columnwise: which readings breach which rules.

A rule's words apply in this order: the condition, `for_seconds` (`ingest.rules.pending`), `active_hours`, maintenance,
cooldown (`ingest.rules.alerts`). Silence is judged on the clock instead (`ingest.rules.no_data`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from ingest.devices.profile import DeviceProfile
from ingest.rules.active_hours import Hours, local_time
from storage.arrays import Floats, Indices, Mask, Times
from storage.comparison import OPERATORS, is_met
from storage.rules import NO_DATA, ActiveHours, Rule
from storage.telemetry import Reading
from storage.times import MINUTE, SECOND

# Readings times metrics that are looked at in one piece: bounds memory at 32 MB whatever a batch holds.
MAX_CELLS = 4_000_000
# No time at all: further away from every reading than any cooldown.
NEVER = np.int64(-(2**62))

Key = tuple[str, UUID]
# Positions of readings and of rules, and whether the reading meets the rule's condition.
Pairs = tuple[Indices, Indices, Mask]


@dataclass(frozen=True)
class ActiveRule:
    """A rule as evaluation needs it, and as an alert remembers it (`copy`). `cooldown` and `hold` in microseconds."""

    rule_id: UUID
    tenant_id: str | None
    devices: frozenset[str] | None
    metric: str
    condition: str
    threshold: float
    severity: str
    cooldown: int
    hold: int
    hours: ActiveHours | None
    channels: tuple[str, ...]
    version: datetime
    row: Rule = field(repr=False)

    @classmethod
    def of(cls, rule: Rule) -> "ActiveRule":
        return cls(
            rule_id=rule.rule_id,
            tenant_id=rule.tenant_id,
            devices=None if rule.scope == "all_devices" else frozenset(rule.device_ids),
            metric=rule.property,
            condition=rule.condition,
            threshold=rule.threshold,
            severity=rule.severity or "high",
            cooldown=rule.cooldown_minutes * MINUTE,
            hold=rule.for_seconds * SECOND,
            hours=ActiveHours.model_validate(rule.active_hours) if rule.active_hours else None,
            channels=tuple(dict.fromkeys(rule.notification_channels or ())),
            version=rule.updated_at,
            row=rule,
        )

    @cached_property
    def copy(self) -> Mapping[str, Any]:
        return self.row.model_dump(mode="json", exclude={"last_triggered_at", "deleted_at"})

    def meets(self, value: float) -> bool:
        return bool(is_met(np.array([value]), self.condition, self.threshold)[0])

    def watches(self, device_id: str, tenant_id: str | None) -> bool:
        """A tenant's rule sees that tenant's devices; one without a tenant sees all."""
        return self.tenant_id in (None, tenant_id) and (self.devices is None or device_id in self.devices)

    def is_active(self, time: int, zone: ZoneInfo) -> bool:
        """Whether its active hours, if it has any, include the moment."""
        return self.hours is None or bool(
            Hours([self.hours]).include(np.zeros(1, np.intp), *local_time(np.array([time]), zone))[0]
        )


@dataclass(frozen=True, slots=True)
class Breach:
    """A moment at which a device met a rule's condition, for as long as the rule asks, within its active hours."""

    rule: ActiveRule
    device_id: str
    tenant_id: str | None
    time: int
    value: float
    in_maintenance: bool

    @property
    def key(self) -> Key:
        return self.device_id, self.rule.rule_id

    @property
    def order(self) -> tuple[str, str, int]:
        return self.device_id, str(self.rule.rule_id), self.time

    def is_near(self, time: int) -> bool:
        """Whether an alert at that time holds this one back."""
        away = abs(self.time - time)
        return away < self.rule.cooldown or away == 0


@dataclass(frozen=True, slots=True)
class PendingBatch:
    """What a batch says of rules whose condition must hold for a time: a row per reading and such rule, met or not.

    Sorted by (rule, device), numbered by `pair`, and time. `allowed` may become breaches once the condition has held.
    """

    rules: Sequence[ActiveRule]
    readings: Sequence[Reading]
    facts: Sequence[DeviceProfile]
    pair: Indices
    rule: Indices
    row: Indices
    times: Times
    met: Mask
    allowed: Mask

    def __len__(self) -> int:
        return len(self.row)

    def key(self, i: int) -> tuple[UUID, str]:
        return self.rules[self.rule[i]].rule_id, self.readings[self.row[i]].device_id

    def breach(self, i: int) -> Breach:
        return _breach(self.rules[self.rule[i]], self.readings[self.row[i]], self.facts[self.row[i]])


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Breaches of rules that fire at once, and what the rules that wait are to evaluate_pending by."""

    breaches: list[Breach] = field(default_factory=list)
    streaks: PendingBatch | None = None
    pairs: int = 0  # of a rule and a reading that it was asked about


class Memory:
    """When pairs of a device and a rule, by their codes, fired last: sorted columns, so that many are asked at once."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self._columns: tuple[Times, Times] | None = None

    def keep(self, code: int, time: int) -> None:
        self._times[code] = time
        self._columns = None

    def times(self, codes: Times) -> Times:
        """NEVER where nothing is remembered."""
        if not self._times:
            return np.full(len(codes), NEVER)
        if self._columns is None:
            known = np.fromiter(self._times, np.int64, len(self._times))
            order = np.argsort(known)
            self._columns = known[order], np.fromiter(self._times.values(), np.int64, len(known))[order]
        known, times = self._columns
        place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        return np.where(known[place] == codes, times[place], NEVER)


class RuleSet:
    """The active rules, arranged for evaluation.

    Rules of all devices are taken one by one over whole columns, rules of selected devices pair by pair. When each
    (rule, device) fired last is remembered, so that a lasting breach is not decided anew with every batch.
    """

    def __init__(self, active: Sequence[ActiveRule]) -> None:
        self.active = active
        self.silence = [rule for rule in active if rule.condition == NO_DATA]
        self.rules = [rule for rule in active if rule.condition != NO_DATA]
        self._position = {rule.rule_id: i for i, rule in enumerate(self.rules)}
        self._metrics = sorted({rule.metric for rule in self.rules})
        place = {name: i for i, name in enumerate(self._metrics)}
        self._metric_of = np.array([place[rule.metric] for rule in self.rules], np.intp)
        self._thresholds = np.array([rule.threshold for rule in self.rules], np.float64)
        self._operators = np.array([OPERATORS.index(rule.condition) for rule in self.rules], np.intp)
        self._cooldowns = np.array([max(rule.cooldown, 1) for rule in self.rules], np.int64)
        self._holds = np.array([rule.hold > 0 for rule in self.rules], np.bool_)
        self._hours = Hours([rule.hours for rule in self.rules])
        self._for_all = [i for i, rule in enumerate(self.rules) if rule.devices is None]
        self._by_device: dict[str, list[int]] = {}
        for i, rule in enumerate(self.rules):
            for device_id in rule.devices or ():
                self._by_device.setdefault(device_id, []).append(i)
        self._selecting: dict[tuple[str, str | None], Indices] = {}
        self._devices: dict[str, int] = {}
        self._fired = Memory()
        self._held_back = Memory()
        self._pairs = 0  # of a rule and a reading, in the batch at hand

    @classmethod
    def of(cls, rows: Iterable[Rule]) -> "RuleSet":
        return cls([ActiveRule.of(row) for row in rows])

    def watching(self, device_id: str, tenant_id: str | None) -> list[ActiveRule]:
        """The rules that watch a device's readings."""
        candidates = sorted([*self._for_all, *self._by_device.get(device_id, ())])
        return [self.rules[i] for i in candidates if self.rules[i].watches(device_id, tenant_id)]

    def evaluate(self, readings: Sequence[Reading], facts: Sequence[DeviceProfile]) -> Evaluated:
        """Every (rule, reading) whose condition is met, in the order of the readings; `facts` are the readings' own.

        A rule on a metric that a reading does not carry is not met. What is known to lie within a rule's cooldown is
        left out.
        """
        carried = set().union(*(reading.metrics for reading in readings))
        columns = {name: i for i, name in enumerate(name for name in self._metrics if name in carried)}
        if not columns:
            return Evaluated()
        column_of = np.array([columns.get(name, -1) for name in self._metrics], np.intp)[self._metric_of]
        rows_at_once = max(1, MAX_CELLS // len(columns))
        found: list[Pairs] = []
        self._pairs = 0
        for start in range(0, len(readings), rows_at_once):
            part, of_part = readings[start : start + rows_at_once], facts[start : start + rows_at_once]
            values = np.array([[r.metrics.get(name, np.nan) for name in columns] for r in part], np.float64)
            found += self._of_all(values, column_of, of_part, start)
            found += self._of_selected(values, column_of, part, of_part, start)
        rows, rules, met = (np.concatenate(column) for column in zip(*found, strict=True))
        if not len(rows):
            return Evaluated(pairs=self._pairs)
        numbers = self._devices
        device = np.array([numbers.setdefault(r.device_id, len(numbers)) for r in readings], np.int64)
        codes = device[rows] * len(self.rules) + rules
        times = np.array([r.time for r in readings], np.int64)[rows]
        allowed = met.copy()
        allowed[met] = self._may_fire(facts, rows[met], rules[met], times[met], codes[met])
        waits = self._holds[rules]
        at_once = np.flatnonzero(allowed & ~waits)
        at_once = at_once[np.argsort(rows[at_once], kind="stable")]
        breaches = [_breach(self.rules[rules[i]], readings[rows[i]], facts[rows[i]]) for i in at_once.tolist()]
        if not waits.any():
            return Evaluated(breaches, pairs=self._pairs)
        order = np.flatnonzero(waits)
        order = order[np.lexsort((times[order], codes[order]))]
        streaks = PendingBatch(
            rules=self.rules,
            readings=readings,
            facts=facts,
            pair=codes[order],
            rule=rules[order],
            row=rows[order],
            times=times[order],
            met=met[order],
            allowed=allowed[order],
        )
        return Evaluated(breaches, streaks, self._pairs)

    def remember(self, breach: Breach, time: int, *, held_back: bool) -> None:
        """A (rule, device) fired, or would have but for maintenance; what comes within its cooldown is left out."""
        position = self._position.get(breach.rule.rule_id)
        device = self._devices.get(breach.device_id)
        if position is not None and device is not None:
            (self._held_back if held_back else self._fired).keep(device * len(self.rules) + position, time)

    def _of_all(
        self, values: Floats, column_of: Indices, facts: Sequence[DeviceProfile], start: int
    ) -> Iterator[Pairs]:
        """What rules of all devices say, a rule at a time; where it waits for a time, also of readings not met."""
        tenants = np.array([of_reading.tenant_id or "" for of_reading in facts])
        for i in self._for_all:
            rule = self.rules[i]
            if column_of[i] < 0:
                continue
            column = values[:, column_of[i]]
            self._pairs += len(column)
            met = is_met(column, rule.condition, rule.threshold)
            wanted = ~np.isnan(column) if rule.hold else met
            rows = np.flatnonzero(wanted if rule.tenant_id is None else wanted & (tenants == rule.tenant_id))
            if len(rows):
                yield rows + start, np.full(len(rows), i, np.intp), met[rows]

    def _of_selected(
        self,
        values: Floats,
        column_of: Indices,
        readings: Sequence[Reading],
        facts: Sequence[DeviceProfile],
        start: int,
    ) -> Iterator[Pairs]:
        """What rules of selected devices say, all pairs of a reading and such a rule in one piece."""
        watched = [self._selected(r.device_id, f.tenant_id) for r, f in zip(readings, facts, strict=True)]
        rows = np.repeat(np.arange(len(readings)), [len(rules) for rules in watched])
        rules = np.concatenate(watched)
        known = column_of[rules] >= 0
        rows, rules = rows[known], rules[known]
        self._pairs += len(rows)
        value = values[rows, column_of[rules]]
        met = np.zeros(len(rows), np.bool_)
        operators = self._operators[rules]
        for i in np.unique(operators).tolist():
            here = operators == i
            met[here] = is_met(value[here], OPERATORS[i], self._thresholds[rules[here]])
        wanted = met | (self._holds[rules] & ~np.isnan(value))
        yield rows[wanted] + start, rules[wanted], met[wanted]

    def _selected(self, device_id: str, tenant_id: str | None) -> Indices:
        key = (device_id, tenant_id)
        found = self._selecting.get(key)
        if found is None:
            candidates = self._by_device.get(device_id, ())
            found = np.array([i for i in candidates if self.rules[i].watches(device_id, tenant_id)], np.intp)
            self._selecting[key] = found
        return found

    def _may_fire(
        self, facts: Sequence[DeviceProfile], rows: Indices, rules: Indices, times: Times, codes: Times
    ) -> Mask:
        """Of pairs whose condition is met: those within active hours and not known to be in a cooldown."""
        cooldowns = self._cooldowns[rules]
        quiet = np.abs(times - self._fired.times(codes)) < cooldowns
        counted = np.abs(times - self._held_back.times(codes)) < cooldowns
        for i in np.flatnonzero(counted & ~quiet).tolist():
            quiet[i] = facts[rows[i]].in_maintenance(int(times[i]))
        may: Mask = ~quiet
        limited = np.flatnonzero(may & self._hours.limited[rules])
        zones = [facts[row].zone for row in rows[limited].tolist()]
        for zone in set(zones):
            here = limited[[z is zone for z in zones]]
            may[here] = self._hours.include(rules[here], *local_time(times[here], zone))
        return may


def _breach(rule: ActiveRule, reading: Reading, facts: DeviceProfile) -> Breach:
    return Breach(
        rule=rule,
        device_id=reading.device_id,
        tenant_id=facts.tenant_id,
        time=reading.time,
        value=reading.metrics[rule.metric],
        in_maintenance=facts.in_maintenance(reading.time),
    )
