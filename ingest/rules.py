"""Rule evaluation, a batch at a time and columnwise: which readings breach which rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from storage.rules import OPERATORS, Rule
from storage.telemetry import SECOND, Reading

# Readings times metrics that are looked at in one piece: bounds memory at 32 MB whatever a batch holds.
MAX_CELLS = 4_000_000
EQUAL_WITHIN = 1e-9

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ActiveRule:
    """A rule as evaluation needs it, and as an alert remembers it (`copy`)."""

    rule_id: UUID
    tenant_id: str | None
    devices: frozenset[str] | None
    metric: str
    condition: str
    threshold: float
    severity: str
    cooldown: int
    copy: Mapping[str, Any]

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
            copy=rule.model_dump(mode="json", exclude={"last_triggered_at", "deleted_at"}),
        )

    def watches(self, device_id: str, tenant_id: str | None) -> bool:
        """A tenant's rule sees that tenant's devices; one without a tenant sees all."""
        return self.tenant_id in (None, tenant_id) and (self.devices is None or device_id in self.devices)


@dataclass(frozen=True, slots=True)
class Breach:
    """A reading that met a rule's condition."""

    rule: ActiveRule
    reading: Reading
    tenant_id: str | None

    @property
    def value(self) -> float:
        return self.reading.metrics[self.rule.metric]


class RuleSet:
    """The active rules, arranged for evaluation."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = [ActiveRule.of(rule) for rule in rules]
        self._thresholds = np.array([rule.threshold for rule in self.rules], np.float64)
        self._operators = np.array([OPERATORS.index(rule.condition) for rule in self.rules], np.intp)
        self._for_all = [i for i, rule in enumerate(self.rules) if rule.devices is None]
        self._by_device: dict[str, list[int]] = {}
        for i, rule in enumerate(self.rules):
            for device_id in rule.devices or ():
                self._by_device.setdefault(device_id, []).append(i)
        self._watching: dict[tuple[str, str | None], Indices] = {}
        self.evaluated = 0  # pairs (rule, reading), since this set was made

    def watching(self, device_id: str, tenant_id: str | None) -> Indices:
        """Positions of the rules that watch a device."""
        key = (device_id, tenant_id)
        found = self._watching.get(key)
        if found is None:
            candidates = sorted([*self._for_all, *self._by_device.get(device_id, ())])
            found = np.array([i for i in candidates if self.rules[i].watches(device_id, tenant_id)], np.intp)
            self._watching[key] = found
        return found

    def evaluate(self, readings: Sequence[Reading], tenants: Sequence[str | None]) -> list[Breach]:
        """Every (rule, reading) whose condition is met, in the order of the readings; `tenants` are the readings' own.

        A rule on a metric that a reading does not carry is not met.
        """
        if not self.rules or not readings:
            return []
        carried = {name for reading in readings for name in reading.metrics}
        metrics = sorted(carried.intersection(rule.metric for rule in self.rules))
        if not metrics:
            return []
        columns = {name: i for i, name in enumerate(metrics)}
        column_of = np.array([columns.get(rule.metric, -1) for rule in self.rules], np.intp)
        rows_at_once = max(1, MAX_CELLS // len(metrics))
        breaches: list[Breach] = []
        for start in range(0, len(readings), rows_at_once):
            part = readings[start : start + rows_at_once]
            values = np.array([[r.metrics.get(name, np.nan) for name in metrics] for r in part], np.float64)
            watching = [self.watching(r.device_id, t) for r, t in zip(part, tenants[start:], strict=False)]
            rows = np.repeat(np.arange(len(part)), [len(w) for w in watching])
            rules = np.concatenate(watching)
            known = column_of[rules] >= 0
            rows, rules = rows[known], rules[known]
            self.evaluated += len(rules)
            met = self._met(values[rows, column_of[rules]], rules)
            for row, rule in zip(rows[met].tolist(), rules[met].tolist(), strict=True):
                breaches.append(Breach(self.rules[rule], part[row], tenants[start + row]))
        return breaches

    def _met(self, values: Numbers, rules: Indices) -> npt.NDArray[np.bool_]:
        thresholds = self._thresholds[rules]
        operators = self._operators[rules]
        equal = np.abs(values - thresholds) <= EQUAL_WITHIN * np.maximum(np.abs(values), np.abs(thresholds))
        there = ~np.isnan(values)
        return np.select(
            [operators == i for i in range(len(OPERATORS))],
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
