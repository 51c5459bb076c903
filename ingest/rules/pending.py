"""Conditions that must hold for a time (`for_seconds`), on the readings' own clock.

A *streak* begins with the first reading that meets the condition after one that did not. A reading of it is a breach
once the streak is as old as the rule asks. Readings that come late, older than the newest of their device, end a streak
where they do not meet the condition, but never begin one: what lay between them and the newest is not known any more.

The state of each (rule, device) is in the database, so it outlives a restart and is shared by several ingesters. A row
changes only when a streak begins or ends.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from ingest.rules.evaluate import NEVER, Breach, PendingBatch
from storage.arrays import Mask, Times

ALWAYS = np.int64(2**62)

_HOLDS = text("""
SELECT rule_id, device_id, rule_version, since, clear_at FROM rule_holds
WHERE rule_id = ANY(CAST(:rules AS uuid[])) AND device_id = ANY(CAST(:devices AS text[]))
  AND (since IS NOT NULL OR clear_at >= :oldest)
""")
_KEEP = text("""
INSERT INTO rule_holds AS h (rule_id, device_id, rule_version, since, clear_at)
SELECT * FROM unnest(CAST(:rules AS uuid[]), CAST(:devices AS text[]), CAST(:versions AS timestamptz[]),
                     CAST(:since AS int8[]), CAST(:clear AS int8[]))
ON CONFLICT (rule_id, device_id) DO UPDATE SET
    rule_version = excluded.rule_version, since = excluded.since,
    clear_at = CASE WHEN h.rule_version = excluded.rule_version THEN greatest(h.clear_at, excluded.clear_at)
                    ELSE excluded.clear_at END
""")


@dataclass(frozen=True, slots=True)
class PendingState:
    """Where a (rule, device) stands: its streak's first reading, and the last that did not meet the condition."""

    since: int | None = None
    clear_at: int | None = None


def held(
    times: Times, met: Mask, hold: int, before: PendingState, *, newest: int | None = None
) -> tuple[Mask, PendingState]:
    """Which readings are breaches, and where the (rule, device) stands after them.

    Args:
        times: ascending.
        met: whether each reading meets the condition.
        hold: how long the condition must hold, in microseconds.
        before: where it stood.
        newest: the newest reading known before these; older ones begin no streak.

    """
    since = ALWAYS if before.since is None else np.int64(before.since)
    clear = NEVER if before.clear_at is None else np.int64(before.clear_at)
    # The last reading before each one that did not meet the condition; the numbers of the streaks between them.
    cleared = np.maximum(np.maximum.accumulate(np.where(met, NEVER, times)), clear)
    streak = np.cumsum(~met)
    begins = met & (times > clear) & (times >= (NEVER if newest is None else newest))
    first = np.full(streak[-1] + 1, ALWAYS)
    np.minimum.at(first, streak, np.where(begins, times, ALWAYS))
    start = np.minimum(first[streak], np.where(since > cleared, since, ALWAYS))
    breaches = met & (times > clear) & (times - start >= hold)
    return breaches, PendingState(
        since=None if start[-1] == ALWAYS else int(start[-1]),
        clear_at=None if cleared[-1] == NEVER else int(cleared[-1]),
    )


def evaluate_pending(session: Session, streaks: PendingBatch, newest: Mapping[str, int]) -> list[Breach]:
    """Breaches of a batch, by the state in the database, which is brought up to date; the caller commits.

    Call it under the lock of `ingest.rules.alerts`: judges of one (rule, device) must see each other's state.
    """
    found = _load(session, streaks)
    breaches: list[Breach] = []
    changed: dict[str, list[Any]] = {"rules": [], "devices": [], "versions": [], "since": [], "clear": []}
    for low, high in _groups(streaks, {key for key, hold in found.items() if hold.since is not None}):
        rule, (_, device_id) = streaks.rules[streaks.rule[low]], streaks.key(low)
        before = found.get((rule.rule_id, device_id), PendingState())
        part = slice(low, high)
        fires, after = held(streaks.times[part], streaks.met[part], rule.hold, before, newest=newest.get(device_id))
        breaches += [streaks.breach(low + i) for i in np.flatnonzero(fires & streaks.allowed[part]).tolist()]
        if after.since != before.since:
            for name, value in zip(
                changed, (rule.rule_id, device_id, rule.version, after.since, after.clear_at), strict=True
            ):
                changed[name].append(value)
    if changed["rules"]:
        session.execute(_KEEP, changed)
    return breaches


def _load(session: Session, streaks: PendingBatch) -> dict[tuple[UUID, str], PendingState]:
    """States that matter here. One that was kept for another version of the rule does not."""
    rules = {streaks.rules[i].rule_id: streaks.rules[i] for i in np.unique(streaks.rule).tolist()}
    devices = {streaks.readings[i].device_id for i in np.unique(streaks.row).tolist()}
    rows = session.execute(_HOLDS, {"rules": list(rules), "devices": list(devices), "oldest": int(streaks.times.min())})
    return {
        (rule_id, device_id): PendingState(since, clear_at)
        for rule_id, device_id, version, since, clear_at in rows
        if version == rules[rule_id].version
    }


def _groups(streaks: PendingBatch, open_streaks: set[tuple[UUID, str]]) -> Iterator[tuple[int, int]]:
    """Ranges of the rows of each (rule, device) in which something can happen: a streak is open, or a condition met."""
    edges = np.flatnonzero(np.diff(streaks.pair)) + 1
    lows, highs = np.append(0, edges), np.append(edges, len(streaks))
    wanted = np.logical_or.reduceat(streaks.met, lows)
    if open_streaks:
        wanted |= np.array([streaks.key(low) in open_streaks for low in lows.tolist()])
    yield from zip(lows[wanted].tolist(), highs[wanted].tolist(), strict=True)
