"""A rule as evaluation needs it, and a breach of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from ingest.rules.active_hours import Hours, local_time
from storage.comparison import is_met
from storage.rules import ActiveHours, Rule
from storage.times import MINUTE, SECOND

# A device and a rule.
Key = tuple[str, UUID]


@dataclass(frozen=True)
class ActiveRule:
    """A rule as evaluation needs it. `cooldown` and `pending_period` (its `for_seconds`) are in microseconds."""

    rule_id: UUID
    tenant_id: str | None
    devices: frozenset[str] | None  # None for all devices
    metric: str
    condition: str
    threshold: float
    severity: str
    cooldown: int
    pending_period: int
    hours: ActiveHours | None
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
            pending_period=rule.for_seconds * SECOND,
            hours=ActiveHours.model_validate(rule.active_hours) if rule.active_hours else None,
            version=rule.updated_at,
            row=rule,
        )

    @cached_property
    def copy(self) -> Mapping[str, Any]:
        """What an alert keeps of the rule."""
        return self.row.model_dump(mode="json", exclude={"last_triggered_at", "deleted_at"})

    def meets(self, value: float) -> bool:
        """Whether the value meets the condition."""
        return bool(is_met(np.array([value]), self.condition, self.threshold)[0])

    def watches(self, device_id: str, tenant_id: str | None) -> bool:
        """Whether the rule watches a device of a tenant; a rule without a tenant watches those of all tenants."""
        return self.tenant_id in (None, tenant_id) and (self.devices is None or device_id in self.devices)

    def is_active(self, time: int, zone: ZoneInfo) -> bool:
        """Whether the moment (µs) lies within the active hours, in the device's time zone."""
        return self.hours is None or bool(
            Hours([self.hours]).include(np.zeros(1, np.intp), *local_time(np.array([time]), zone))[0]
        )


@dataclass(frozen=True, slots=True)
class Breach:
    """A moment (µs) at which a device breaches a rule.

    The condition is met, has been met for the whole pending period, and the moment lies within the active hours.
    `message` is the alert's, where the condition, the value and the threshold do not say all.
    """

    rule: ActiveRule
    device_id: str
    tenant_id: str | None
    time: int
    value: float
    in_maintenance: bool
    message: str | None = None

    @property
    def key(self) -> Key:
        return self.device_id, self.rule.rule_id

    @property
    def order(self) -> tuple[str, str, int]:
        return self.device_id, str(self.rule.rule_id), self.time

    def is_in_cooldown_of(self, time: int) -> bool:
        """Whether an alert at that time, before or after, leaves no room for one about this breach."""
        distance = abs(self.time - time)
        return distance < self.rule.cooldown or distance == 0
