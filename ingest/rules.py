"""Rule evaluation, a batch at a time and columnwise: which readings breach which rules.

A rule's words apply in this order: the condition, `for_seconds` (`ingest.holds`), `active_hours`, maintenance, cooldown
(`ingest.alerts`). Silence is judged on the clock instead (`ingest.silence`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ingest.facts import DeviceFacts
from storage.rules import NO_DATA, OPERATORS, ActiveHours, Rule
from storage.telemetry import SECOND, TIME, Reading

# Readings times metrics that are looked at in one piece: bounds memory at 32 MB whatever a batch holds.
MAX_CELLS = 4_000_000
EQUAL_WITHIN = 1e-9
WHOLE_DAY = 1440
# No time at all: further away from every reading than any cooldown.
NEVER = np.int64(-(2**62))

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Key = tuple[str, UUID]


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
            cooldown=rule.cooldown_minutes * 60 * SECOND,
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
        return bool(is_met(np.array([value]), OPERATORS.index(self.condition), self.threshold)[0])

    def watches(self, device_id: str, tenant_id: str | None) -> bool:
        """A tenant's rule sees that tenant's devices; one without a tenant sees all."""
        return self.tenant_id in (None, tenant_id) and (self.devices is None or device_id in self.devices)

    def is_active(self, time: int, zone: ZoneInfo) -> bool:
        """Whether its active hours, if it has any, include the moment."""
        return self.hours is None or bool(
            Hours([self]).include(np.zeros(1, np.intp), *local_time(np.array([time]), zone))[0]
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
class Streaks:
    """What a batch says of rules whose condition must hold for a time: a row per reading and such rule, met or not.

    Sorted by (rule, device), numbered by `pair`, and time. `allowed` may become breaches once the condition has held.
    """

    rules: Sequence[ActiveRule]
    readings: Sequence[Reading]
    facts: Sequence[DeviceFacts]
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
    """Breaches of rules that fire at once, and what the rules that wait are to judge by."""

    breaches: list[Breach] = field(default_factory=list)
    streaks: Streaks | None = None


class Hours:
    """Active hours of many rules as columns; minutes of the local day."""

    def __init__(self, rules: Sequence[ActiveRule]) -> None:
        hours = [rule.hours for rule in rules]
        self._days = np.array([[h is None or day in h.days for day in range(7)] for h in hours], np.bool_).reshape(
            -1, 7
        )
        self._since = np.array([_minutes(h.since) if h else 0 for h in hours], np.int64)
        self._until = np.array([_minutes(h.until) if h else WHOLE_DAY for h in hours], np.int64)
        self.limited = np.array([h is not None for h in hours], np.bool_)

    def include(self, rules: Indices, days: Indices, minutes: Times) -> Mask:
        """Whether each rule may fire at its local day of the week (0 = Monday) and minute of the day."""
        since, until = self._since[rules], self._until[rules]
        overnight = since >= until
        today = self._days[rules, days] & (minutes >= since) & (overnight | (minutes < until))
        yesterday = overnight & self._days[rules, (days + 6) % 7] & (minutes < until)
        return today | yesterday


class RuleSet:
    """The active rules, arranged for evaluation.

    It remembers when each (rule, device) fired last, so that a lasting breach is not decided anew with every batch.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        active = [ActiveRule.of(rule) for rule in rules]
        self.silence = [rule for rule in active if rule.condition == NO_DATA]
        self.rules = [rule for rule in active if rule.condition != NO_DATA]
        self._position = {rule.rule_id: i for i, rule in enumerate(self.rules)}
        self._metrics = sorted({rule.metric for rule in self.rules})
        column = {name: i for i, name in enumerate(self._metrics)}
        self._metric_of = np.array([column[rule.metric] for rule in self.rules], np.intp)
        self._thresholds = np.array([rule.threshold for rule in self.rules], np.float64)
        self._operators = np.array([OPERATORS.index(rule.condition) for rule in self.rules], np.intp)
        self._cooldowns = np.array([rule.cooldown for rule in self.rules], np.int64)
        self._holds = np.array([rule.hold > 0 for rule in self.rules], np.bool_)
        self._hours = Hours(self.rules)
        self._for_all = [i for i, rule in enumerate(self.rules) if rule.devices is None]
        self._by_device: dict[str, list[int]] = {}
        for i, rule in enumerate(self.rules):
            for device_id in rule.devices or ():
                self._by_device.setdefault(device_id, []).append(i)
        # Per device its rules' positions and, for each, a slot: where the memory of that (rule, device) is.
        self._watching: dict[tuple[str, str | None], tuple[Indices, Indices]] = {}
        self._slots = 0
        self._fired = np.full(1024, NEVER)
        self._held_back = np.full(1024, NEVER)

    def watching(self, device_id: str, tenant_id: str | None) -> list[ActiveRule]:
        """The rules that watch a device's readings."""
        return [self.rules[i] for i in self._watched(device_id, tenant_id)[0]]

    def evaluate(self, readings: Sequence[Reading], facts: Sequence[DeviceFacts]) -> Evaluated:
        """Every (rule, reading) whose condition is met, in the order of the readings; `facts` are the readings' own.

        A rule on a metric that a reading does not carry is not met. What is known to lie within a rule's cooldown is
        left out.
        """
        carried = set().union(*(reading.metrics for reading in readings))
        names = [name for name in self._metrics if name in carried]
        if not names:
            return Evaluated()
        column_of_metric = np.array([names.index(n) if n in carried else -1 for n in self._metrics], np.intp)
        column_of = column_of_metric[self._metric_of]
        rows_at_once = max(1, MAX_CELLS // len(names))
        breaches: list[Breach] = []
        waiting = []
        for start in range(0, len(readings), rows_at_once):
            part = readings[start : start + rows_at_once]
            values = np.array([[r.metrics.get(name, np.nan) for name in names] for r in part], np.float64)
            watched = [self._watched(r.device_id, f.tenant_id) for r, f in zip(part, facts[start:], strict=False)]
            rows = np.repeat(np.arange(len(part)), [len(rules) for rules, _ in watched])
            rules = np.concatenate([rules for rules, _ in watched])
            slots = np.concatenate([slots for _, slots in watched])
            value = np.where(column_of[rules] >= 0, values[rows, column_of[rules]], np.nan)
            met = self._met(value, rules)
            wanted = met | (self._holds[rules] & ~np.isnan(value))
            rows, rules, slots, met = rows[wanted] + start, rules[wanted], slots[wanted], met[wanted]
            allowed = met.copy()
            allowed[met] = self._may_fire(readings, facts, rows[met], rules[met], slots[met])
            at_once = allowed & ~self._holds[rules]
            for row, rule in zip(rows[at_once].tolist(), rules[at_once].tolist(), strict=True):
                breaches.append(_breach(self.rules[rule], readings[row], facts[row]))
            held = self._holds[rules]
            waiting.append((slots[held], rules[held], rows[held], met[held], allowed[held]))
        return Evaluated(breaches, self._streaks(readings, facts, waiting))

    def remember(self, breach: Breach, time: int, *, held_back: bool) -> None:
        """A (rule, device) fired, or would have but for maintenance; what comes within its cooldown is left out."""
        position = self._position.get(breach.rule.rule_id)
        if position is None:
            return
        rules, slots = self._watched(breach.device_id, breach.tenant_id)
        (self._held_back if held_back else self._fired)[slots[rules == position]] = time

    def _watched(self, device_id: str, tenant_id: str | None) -> tuple[Indices, Indices]:
        key = (device_id, tenant_id)
        found = self._watching.get(key)
        if found is None:
            candidates = sorted([*self._for_all, *self._by_device.get(device_id, ())])
            rules = np.array([i for i in candidates if self.rules[i].watches(device_id, tenant_id)], np.intp)
            found = self._watching[key] = (rules, np.arange(self._slots, self._slots + len(rules), dtype=np.intp))
            self._slots += len(rules)
            while self._slots > len(self._fired):
                self._fired = np.concatenate([self._fired, np.full(len(self._fired), NEVER)])
                self._held_back = np.concatenate([self._held_back, np.full(len(self._held_back), NEVER)])
        return found

    def _may_fire(
        self, readings: Sequence[Reading], facts: Sequence[DeviceFacts], rows: Indices, rules: Indices, slots: Indices
    ) -> Mask:
        """Of pairs whose condition is met: those within active hours and not known to be in a cooldown."""
        times = np.fromiter((readings[row].time for row in rows.tolist()), np.int64, len(rows))
        cooldowns = np.maximum(self._cooldowns[rules], 1)
        quiet = np.abs(times - self._fired[slots]) < cooldowns
        counted = np.abs(times - self._held_back[slots]) < cooldowns
        for i in np.flatnonzero(counted & ~quiet).tolist():
            quiet[i] = facts[rows[i]].in_maintenance(int(times[i]))
        may: Mask = ~quiet
        limited = np.flatnonzero(may & self._hours.limited[rules])
        zones = [facts[row].zone for row in rows[limited].tolist()]
        for zone in set(zones):
            here = limited[[z is zone for z in zones]]
            may[here] = self._hours.include(rules[here], *local_time(times[here], zone))
        return may

    def _streaks(
        self, readings: Sequence[Reading], facts: Sequence[DeviceFacts], waiting: Sequence[tuple[npt.NDArray[Any], ...]]
    ) -> Streaks | None:
        slots, rules, rows, met, allowed = (np.concatenate(columns) for columns in zip(*waiting, strict=True))
        if not len(slots):
            return None
        times = np.fromiter((readings[row].time for row in rows.tolist()), np.int64, len(rows))
        order = np.lexsort((times, slots))
        return Streaks(
            rules=self.rules,
            readings=readings,
            facts=facts,
            pair=slots[order],
            rule=rules[order],
            row=rows[order],
            times=times[order],
            met=met[order],
            allowed=allowed[order],
        )

    def _met(self, values: Numbers, rules: Indices) -> Mask:
        return is_met(values, self._operators[rules], self._thresholds[rules])


def is_met(values: Numbers, operators: Indices | int, thresholds: Numbers | float) -> Mask:
    """Whether each value meets its condition; `operators` are positions in OPERATORS, NaN meets none."""
    with np.errstate(over="ignore"):  # a difference beyond all numbers is infinite, and that is not equal
        equal = np.abs(values - thresholds) <= EQUAL_WITHIN * np.maximum(np.abs(values), np.abs(thresholds))
    there = ~np.isnan(values)
    met: Mask = np.select(
        [np.asarray(operators == i) for i in range(len(OPERATORS))],
        [
            values > thresholds,
            values < thresholds,
            equal,
            there & ~equal,
            (values > thresholds) | equal,
            (values < thresholds) | equal,
        ],
        default=False,
    )
    return met


def local_time(times: Times, zone: ZoneInfo) -> tuple[Indices, Times]:
    """Days of the week (0 = Monday) and minutes of the day that clocks in the zone show at these microseconds."""
    local = pa.array(times, pa.int64()).cast(TIME).cast(pa.timestamp("us", tz=zone.key))
    minutes = pc.add(pc.multiply(pc.hour(local), 60), pc.minute(local))
    return pc.day_of_week(local).to_numpy().astype(np.intp), minutes.to_numpy().astype(np.int64)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _breach(rule: ActiveRule, reading: Reading, facts: DeviceFacts) -> Breach:
    return Breach(
        rule=rule,
        device_id=reading.device_id,
        tenant_id=facts.tenant_id,
        time=reading.time,
        value=reading.metrics[rule.metric],
        in_maintenance=facts.in_maintenance(reading.time),
    )
