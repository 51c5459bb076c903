"""The active rules, arranged for evaluation: as columns, with a memory of what lies within a cooldown."""

from collections.abc import Iterable, Sequence

import numpy as np

from ingest.rules.active_hours import Hours
from ingest.rules.active_rule import ActiveRule, Breach
from storage.arrays import Indices, Mask, Times
from storage.comparison import OPERATORS
from storage.rules import Rule
from storage.telemetry import Reading

# A time that is further from every reading than any cooldown.
NEVER = np.int64(-(2**62))


class LastFired:
    """When rules last fired for devices, by the codes of such pairs; in sorted columns, for many lookups at once."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self._columns: tuple[Times, Times] | None = None

    def remember(self, code: int, time: int) -> None:
        self._times[code] = time
        self._columns = None

    def times(self, codes: Times) -> Times:
        """The time of each code; NEVER if none is remembered."""
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
    """The rules that watch readings.

    Those about missing data (`ingest.rules.no_data`) and forecasts (`ingest.rules.outside_forecast`) are left out.
    When each rule last fired for a device is remembered, so that a lasting breach is not decided anew with every batch.
    Columns have a row per rule, in the order of `rules`.
    """

    def __init__(self, rules: Sequence[ActiveRule]) -> None:
        self.rules = rules
        self.metrics = sorted({rule.metric for rule in rules})
        place = {name: i for i, name in enumerate(self.metrics)}
        self.metric_of = np.array([place[rule.metric] for rule in rules], np.intp)
        self.thresholds = np.array([rule.threshold for rule in rules], np.float64)
        self.operators = np.array([OPERATORS.index(rule.condition) for rule in rules], np.intp)
        self.has_pending_period = np.array([rule.pending_period > 0 for rule in rules], np.bool_)
        self.hours = Hours([rule.hours for rule in rules])
        self.for_all_devices = [i for i, rule in enumerate(rules) if rule.devices is None]
        self._for_device: dict[str, list[int]] = {}
        for i, rule in enumerate(rules):
            for device_id in rule.devices or ():
                self._for_device.setdefault(device_id, []).append(i)
        self._selected: dict[tuple[str, str | None], Indices] = {}
        self._position = {rule.rule_id: i for i, rule in enumerate(rules)}
        self._cooldowns = np.array([max(rule.cooldown, 1) for rule in rules], np.int64)
        self._device_numbers: dict[str, int] = {}
        self._fired = LastFired()
        self._suppressed = LastFired()

    @classmethod
    def of(cls, rows: Iterable[Rule], previous: "RuleSet | None" = None) -> "RuleSet":
        """The set of these rules; those that `previous` was built from, the same objects, are taken from it."""
        built = {id(rule.row): rule for rule in previous.rules} if previous else {}
        rules = []
        for row in rows:
            rule = built.get(id(row))
            if rule or row.condition in OPERATORS:
                rules.append(rule or ActiveRule.of(row))
        return cls(rules)

    def watching(self, device_id: str, tenant_id: str | None) -> list[ActiveRule]:
        """The rules that watch a device's readings."""
        candidates = sorted([*self.for_all_devices, *self._for_device.get(device_id, ())])
        return [self.rules[i] for i in candidates if self.rules[i].watches(device_id, tenant_id)]

    def selecting(self, device_id: str, tenant_id: str | None) -> Indices:
        """The positions of rules that name the device and watch it."""
        key = (device_id, tenant_id)
        positions = self._selected.get(key)
        if positions is None:
            candidates = self._for_device.get(device_id, ())
            positions = np.array([i for i in candidates if self.rules[i].watches(device_id, tenant_id)], np.intp)
            self._selected[key] = positions
        return positions

    def codes(self, readings: Sequence[Reading], rows: Indices, rules: Indices) -> Times:
        """A number for each pair of a reading's device and a rule, given by their positions."""
        numbers = self._device_numbers
        devices = np.array([numbers.setdefault(r.device_id, len(numbers)) for r in readings], np.int64)
        return devices[rows] * len(self.rules) + rules

    def cooldowns(self, rules: Indices, times: Times, codes: Times) -> tuple[Mask, Mask]:
        """Which of the times lie within the cooldown of an alert, and of a suppressed alert, as far as remembered."""
        cooldowns = self._cooldowns[rules]
        fired = np.abs(times - self._fired.times(codes)) < cooldowns
        suppressed = np.abs(times - self._suppressed.times(codes)) < cooldowns
        return fired, suppressed

    def remember(self, breach: Breach, time: int, *, suppressed: bool) -> None:
        """Remember that a rule fired for a device at a time, or that maintenance suppressed its alert."""
        position = self._position.get(breach.rule.rule_id)
        device = self._device_numbers.get(breach.device_id)
        if position is not None and device is not None:
            memory = self._suppressed if suppressed else self._fired
            memory.remember(device * len(self.rules) + position, time)
