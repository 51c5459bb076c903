"""Rules with a pending period (`for_seconds`): their condition must hold for a time, on the readings' own clock.

A rule is *pending* for a device from the first reading that meets the condition after one that did not. Readings are
breaches once it has been pending for the whole period. A late reading, older than the newest of its device, can end
this but never start it: what lies between it and the newest reading is not known any more.

The state of each (rule, device) is in the database. So it survives a restart, and several ingesters share it. A row
changes only when a rule becomes pending or stops being so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlmodel import Session

from ingest.rules.active_rule import Breach
from ingest.rules.evaluate import PendingBatch
from ingest.rules.rule_set import NEVER
from storage.arrays import Mask, Times
from storage.pending import PendingRow, load_pending, save_pending

# Later than every reading: since when a rule is pending that is not.
NOT_PENDING = np.int64(2**62)


@dataclass(frozen=True, slots=True)
class PendingState:
    """Since when a (rule, device) is pending, and its last reading that did not meet the condition; microseconds."""

    since: int | None = None
    clear_at: int | None = None


def evaluate_pending(session: Session, batch: PendingBatch, newest: Mapping[str, int]) -> list[Breach]:
    """The breaches of a batch, by the state in the database, which is updated; the caller commits.

    Call it under `storage.alerts.lock_alerts`, so that ingesters see each other's state. `newest` has the time of the
    newest reading before the batch, by device.
    """
    states = _load(session, batch)
    breaches: list[Breach] = []
    changed: list[PendingRow] = []
    for low, high in _groups(batch, {key for key, state in states.items() if state.since is not None}):
        rule, (_, device_id) = batch.rules[batch.rule[low]], batch.key(low)
        before = states.get((rule.rule_id, device_id), PendingState())
        rows = slice(low, high)
        fires, after = apply_period(
            batch.times[rows], batch.met[rows], rule.pending_period, before, newest=newest.get(device_id)
        )
        breaches += [batch.breach(low + i) for i in np.flatnonzero(fires & batch.allowed[rows]).tolist()]
        if after.since != before.since:
            changed.append(PendingRow(rule.rule_id, device_id, rule.version, after.since, after.clear_at))
    if changed:
        save_pending(session, changed)
    return breaches


def apply_period(
    times: Times, met: Mask, period: int, before: PendingState, *, newest: int | None = None
) -> tuple[Mask, PendingState]:
    """Which readings of one (rule, device) are breaches, and its state after them.

    Args:
        times: ascending, in microseconds.
        met: whether each reading meets the condition.
        period: the pending period, in microseconds.
        before: the state before these readings.
        newest: the time of the newest reading before these; the rule does not become pending with an older one.

    """
    since = NOT_PENDING if before.since is None else np.int64(before.since)
    clear = NEVER if before.clear_at is None else np.int64(before.clear_at)
    # For each reading the last one up to it that did not meet the condition; and a number for what lies between those.
    cleared = np.maximum(np.maximum.accumulate(np.where(met, NEVER, times)), clear)
    group = np.cumsum(~met)
    starts = met & (times > clear) & (times >= (NEVER if newest is None else newest))
    first = np.full(group[-1] + 1, NOT_PENDING)
    np.minimum.at(first, group, np.where(starts, times, NOT_PENDING))
    pending_since = np.minimum(first[group], np.where(since > cleared, since, NOT_PENDING))
    breaches = met & (times > clear) & (times - pending_since >= period)
    return breaches, PendingState(
        since=None if pending_since[-1] == NOT_PENDING else int(pending_since[-1]),
        clear_at=None if cleared[-1] == NEVER else int(cleared[-1]),
    )


def _load(session: Session, batch: PendingBatch) -> dict[tuple[UUID, str], PendingState]:
    """The states that matter for the batch; those of another version of a rule do not."""
    rules = {batch.rules[i].rule_id: batch.rules[i] for i in np.unique(batch.rule).tolist()}
    devices = {batch.readings[i].device_id for i in np.unique(batch.row).tolist()}
    return {
        (row.rule_id, row.device_id): PendingState(row.since, row.clear_at)
        for row in load_pending(session, rules, devices, int(batch.times.min()))
        if row.rule_version == rules[row.rule_id].version
    }


def _groups(batch: PendingBatch, pending: set[tuple[UUID, str]]) -> Iterator[tuple[int, int]]:
    """The ranges of rows of each (rule, device) that can change: it is pending already, or a reading meets the rule."""
    edges = np.flatnonzero(np.diff(batch.pair)) + 1
    lows, highs = np.append(0, edges), np.append(edges, len(batch))
    wanted = np.logical_or.reduceat(batch.met, lows)
    if pending:
        wanted |= np.array([batch.key(low) in pending for low in lows.tolist()])
    yield from zip(lows[wanted].tolist(), highs[wanted].tolist(), strict=True)
