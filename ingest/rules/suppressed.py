"""Alerts that maintenance suppresses: how many there would have been per rule and device, and when."""

from collections.abc import Sequence
from itertools import groupby

from sqlmodel import Session

from ingest.rules.active_rule import Breach, Key
from storage.maintenance import Suppressed, add_suppressed, suppressed_spans
from storage.times import microseconds, moment


def count_suppressed(session: Session, breaches: Sequence[Breach]) -> tuple[int, dict[Key, tuple[Breach, int]]]:
    """Count the alerts that these breaches in maintenance, sorted by `order`, would have been.

    Call it under `storage.alerts.lock_alerts`. Readings between the first and the last one that was counted are taken
    as counted, so that readings that are redelivered count once.

    Returns:
        How many were counted now, and for each (device, rule) a breach and the time (µs) of the last one counted.

    """
    if not breaches:
        return 0, {}
    by_key = {key: list(group) for key, group in groupby(breaches, key=lambda breach: breach.key)}
    spans = {
        key: (microseconds(first), microseconds(last))
        for key, (first, last) in suppressed_spans(session, by_key).items()
    }
    rows: list[Suppressed] = []
    last_counted = {}
    for key, group in by_key.items():
        device_id, rule_id = key
        known = list(spans.get(key, ()))
        times = known.copy()
        for breach in group:
            between = bool(known) and known[0] <= breach.time <= known[-1]
            if not between and not any(breach.is_in_cooldown_of(time) for time in times):
                times.append(breach.time)
        last_counted[key] = (group[-1], max(times))
        if new := times[len(known) :]:
            rows.append(Suppressed(device_id, rule_id, group[0].tenant_id, len(new), moment(new[0]), moment(new[-1])))
    if rows:
        add_suppressed(session, rows)
    return sum(row.alerts for row in rows), last_counted
