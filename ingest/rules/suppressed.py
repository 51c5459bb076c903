"""What maintenance holds back: per (rule, device) how many alerts would have been raised, and when."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from ingest.rules.evaluate import Breach, Key
from storage.times import microseconds, moment

_COUNTED = text("""
SELECT h.device_id, h.rule_id, h.first_reading_time, h.last_reading_time FROM held_back_alerts h
JOIN unnest(CAST(:devices AS text[]), CAST(:rules AS uuid[])) AS w (device_id, rule_id)
  ON h.rule_id = w.rule_id AND h.device_id = w.device_id
""")
_COUNT = text("""
INSERT INTO held_back_alerts AS h (device_id, rule_id, tenant_id, count, first_reading_time, last_reading_time)
SELECT * FROM unnest(CAST(:devices AS text[]), CAST(:rules AS uuid[]), CAST(:tenants AS text[]), CAST(:counts AS int[]),
                     CAST(:firsts AS timestamptz[]), CAST(:lasts AS timestamptz[]))
ON CONFLICT (rule_id, device_id) DO UPDATE SET
    count = h.count + excluded.count,
    first_reading_time = least(h.first_reading_time, excluded.first_reading_time),
    last_reading_time = greatest(h.last_reading_time, excluded.last_reading_time)
""")


def count(session: Session, breaches: Sequence[Breach]) -> tuple[int, dict[Key, tuple[Breach, int]]]:
    """Count the alerts that these breaches, sorted by `order`, would have been; the caller holds the alerts' lock.

    Readings between the first and the last one that counted are taken for counted already, so what is delivered again
    counts once.

    Returns:
        How many there were, and per (rule, device) a breach and when the last one counted was.

    """
    if not breaches:
        return 0, {}
    by_key = {key: list(group) for key, group in groupby(breaches, key=lambda breach: breach.key)}
    keys = {"devices": [device_id for device_id, _ in by_key], "rules": [rule_id for _, rule_id in by_key]}
    ranges = {
        (device_id, rule_id): (microseconds(first), microseconds(last))
        for device_id, rule_id, first, last in session.execute(_COUNTED, keys)
    }
    rows: dict[str, list[Any]] = {name: [] for name in ("devices", "rules", "tenants", "counts", "firsts", "lasts")}
    counted = {}
    total = 0
    for key, group in by_key.items():
        known = list(ranges.get(key, ()))
        times = known.copy()
        for breach in group:
            between = bool(known) and known[0] <= breach.time <= known[-1]
            if not between and not any(breach.is_near(time) for time in times):
                times.append(breach.time)
        counted[key] = (group[-1], max(times))
        new = times[len(known) :]
        if new:
            total += len(new)
            values = (*key, group[0].tenant_id, len(new), moment(new[0]), moment(new[-1]))
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
    if total:
        session.execute(_COUNT, rows)
    return total, counted
