"""Evaluation of rules, a batch at a time and column by column: which readings breach which rules.

The outcome is as if a rule's parts applied in this order: the condition, `for_seconds` (`ingest.rules.pending`),
`active_hours`, maintenance (`ingest.rules.suppressed`) and cooldown (`ingest.rules.alerts`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from ingest.devices.profile import DeviceProfile
from ingest.rules.active_hours import local_time
from ingest.rules.active_rule import ActiveRule, Breach
from ingest.rules.rule_set import RuleSet
from storage.arrays import Floats, Indices, Mask, Times
from storage.comparison import OPERATORS, is_met
from storage.telemetry import Reading

# Readings times metrics that are evaluated in one piece. Limits memory to 32 MB, whatever a batch holds.
MAX_CELLS = 4_000_000

# Positions of readings and of rules, whether the reading meets the rule's condition, and how many pairs were compared.
# Pairs that do not meet it are there only for rules with a pending period.
_Compared = tuple[Indices, Indices, Mask, int]
_NOTHING: _Compared = (np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.bool_), 0)


@dataclass(frozen=True, slots=True)
class PendingBatch:
    """What a batch says about rules with a pending period: a row per reading and such rule, met or not.

    Rows are sorted by (rule, device), which `pair` numbers, and by time. `allowed` rows become breaches once the
    condition has held for the whole period.
    """

    rules: Sequence[ActiveRule]
    readings: Sequence[Reading]
    profiles: Sequence[DeviceProfile]
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
        return _breach(self.rules[self.rule[i]], self.readings[self.row[i]], self.profiles[self.row[i]])


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The breaches of rules without a pending period, and what to evaluate the others by.

    `evaluations` counts the pairs of a rule and a reading that were compared.
    """

    breaches: list[Breach] = field(default_factory=list)
    pending: PendingBatch | None = None
    evaluations: int = 0


def evaluate_readings(rules: RuleSet, readings: Sequence[Reading], profiles: Sequence[DeviceProfile]) -> Evaluated:
    """The breaches of a batch, in the order of its readings; `profiles` has the device profile of each reading.

    A reading without a rule's metric does not meet the rule. Breaches within a cooldown that is remembered are left
    out. Rules of all devices are evaluated one by one over whole columns, rules of selected devices pair by pair.
    """
    rows, positions, met, evaluations = _compare(rules, readings, profiles)
    if not len(rows):
        return Evaluated(evaluations=evaluations)
    codes = rules.codes(readings, rows, positions)
    times = np.array([r.time for r in readings], np.int64)[rows]
    allowed = met.copy()
    allowed[met] = _may_fire(rules, profiles, rows[met], positions[met], times[met], codes[met])
    waits = rules.has_pending_period[positions]
    at_once = np.flatnonzero(allowed & ~waits)
    at_once = at_once[np.argsort(rows[at_once], kind="stable")]
    breaches = [_breach(rules.rules[positions[i]], readings[rows[i]], profiles[rows[i]]) for i in at_once.tolist()]
    if not waits.any():
        return Evaluated(breaches, evaluations=evaluations)
    order = np.flatnonzero(waits)
    order = order[np.lexsort((times[order], codes[order]))]
    pending = PendingBatch(
        rules=rules.rules,
        readings=readings,
        profiles=profiles,
        pair=codes[order],
        rule=positions[order],
        row=rows[order],
        times=times[order],
        met=met[order],
        allowed=allowed[order],
    )
    return Evaluated(breaches, pending, evaluations)


def _compare(rules: RuleSet, readings: Sequence[Reading], profiles: Sequence[DeviceProfile]) -> _Compared:
    """Compare every reading with the rules that watch its device, in pieces of `MAX_CELLS`."""
    carried = set().union(*(reading.metrics for reading in readings))
    columns = {name: i for i, name in enumerate(name for name in rules.metrics if name in carried)}
    if not columns:
        return _NOTHING
    column_of = np.array([columns.get(name, -1) for name in rules.metrics], np.intp)[rules.metric_of]
    rows_at_once = max(1, MAX_CELLS // len(columns))
    evaluations = 0
    pairs: list[tuple[Indices, Indices, Mask]] = []
    for start in range(0, len(readings), rows_at_once):
        part, part_profiles = readings[start : start + rows_at_once], profiles[start : start + rows_at_once]
        values = np.array([[r.metrics.get(name, np.nan) for name in columns] for r in part], np.float64)
        for rows, positions, met, compared in (
            *_of_all_devices(rules, values, column_of, part_profiles),
            _of_selected_devices(rules, values, column_of, part, part_profiles),
        ):
            pairs.append((rows + start, positions, met))
            evaluations += compared
    rows, positions, met = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return rows, positions, met, evaluations


def _of_all_devices(
    rules: RuleSet, values: Floats, column_of: Indices, profiles: Sequence[DeviceProfile]
) -> Iterator[_Compared]:
    """Compare all readings with each rule of all devices."""
    tenants = np.array([profile.tenant_id or "" for profile in profiles])
    for i in rules.for_all_devices:
        rule = rules.rules[i]
        if column_of[i] < 0:
            continue
        column = values[:, column_of[i]]
        met = is_met(column, rule.condition, rule.threshold)
        wanted = ~np.isnan(column) if rule.pending_period else met
        rows = np.flatnonzero(wanted if rule.tenant_id is None else wanted & (tenants == rule.tenant_id))
        yield rows, np.full(len(rows), i, np.intp), met[rows], len(column)


def _of_selected_devices(
    rules: RuleSet,
    values: Floats,
    column_of: Indices,
    readings: Sequence[Reading],
    profiles: Sequence[DeviceProfile],
) -> _Compared:
    """Compare each reading with the rules that name its device, all such pairs in one piece."""
    selecting = [rules.selecting(r.device_id, p.tenant_id) for r, p in zip(readings, profiles, strict=True)]
    rows = np.repeat(np.arange(len(readings)), [len(positions) for positions in selecting])
    positions = np.concatenate(selecting)
    carried = column_of[positions] >= 0
    rows, positions = rows[carried], positions[carried]
    value = values[rows, column_of[positions]]
    met = np.zeros(len(rows), np.bool_)
    operators = rules.operators[positions]
    for i in np.unique(operators).tolist():
        same = operators == i
        met[same] = is_met(value[same], OPERATORS[i], rules.thresholds[positions[same]])
    wanted = met | (rules.has_pending_period[positions] & ~np.isnan(value))
    return rows[wanted], positions[wanted], met[wanted], len(rows)


def _may_fire(  # noqa: PLR0917 - the columns of the same pairs
    rules: RuleSet,
    profiles: Sequence[DeviceProfile],
    rows: Indices,
    positions: Indices,
    times: Times,
    codes: Times,
) -> Mask:
    """Of pairs that meet the condition: those within active hours, and outside the cooldowns that are remembered."""
    in_cooldown, of_suppressed = rules.cooldowns(positions, times, codes)
    for i in np.flatnonzero(in_cooldown | of_suppressed).tolist():
        # In maintenance the cooldown of suppressed alerts counts, otherwise that of alerts.
        if profiles[rows[i]].in_maintenance(int(times[i])):
            in_cooldown[i] = of_suppressed[i]
    may_fire: Mask = ~in_cooldown
    limited = np.flatnonzero(may_fire & rules.hours.limited[positions])
    zones = [profiles[row].zone for row in rows[limited].tolist()]
    for zone in set(zones):
        here = limited[[z is zone for z in zones]]
        may_fire[here] = rules.hours.include(positions[here], *local_time(times[here], zone))
    return may_fire


def _breach(rule: ActiveRule, reading: Reading, profile: DeviceProfile) -> Breach:
    return Breach(
        rule=rule,
        device_id=reading.device_id,
        tenant_id=profile.tenant_id,
        time=reading.time,
        value=reading.metrics[rule.metric],
        in_maintenance=profile.in_maintenance(reading.time),
    )
