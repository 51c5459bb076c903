"""What is noticed about the readings of days and about gaps between them, as findings."""

from collections.abc import Sequence
from typing import Any

from assets.energy.basis import POWER_METRIC
from assets.energy.cells import MILLIONTHS, Lump
from assets.energy.day import MAX_AMOUNT, PowerDay
from assets.energy.findings import Finding
from assets.energy.spikes import Spike
from storage.times import DAY, HOUR, MINUTE, SECOND

COUNTED_AT_THE_END = ", which is counted at the end of the gap"


def gap(metric: str, unit: str, lump: Lump) -> Finding:
    since, until, counted = lump
    amount, hours = counted / MILLIONTHS, (until - since) / HOUR
    detail = (
        f"no reading for {hours:.1f} hours; the register counted {amount:g} {unit} in that time{COUNTED_AT_THE_END}"
    )
    return Finding(metric, "gap", since, until, None, amount, counted=True, detail=detail)


def ended_steps(
    within: Sequence[tuple[int, PowerDay]], between: Sequence[tuple[Any, Any, int]], start: int, end: int
) -> list[Finding]:
    """What is said where readings held as long as they may, and the next one came later."""
    inside = [(seconds * SECOND, count, day.limit) for _, day in within for seconds, count in day.steps]
    over = [(b[0] - a[0], 1, limit) for a, b, limit in between if start <= a[0] < end]
    ended = [(count, limit) for length, count, limit in [*inside, *over] if length > limit]
    if not ended:
        return []
    times, limit = sum(count for count, _ in ended), max(limit for _, limit in ended)
    detail = (
        f"{times} times no reading followed within {limit / MINUTE:.0f} minutes, for which a value holds at most; what"
        " lies beyond is not covered. Declare cadence_seconds, the longest time between two reports: a value holds for"
        " three of them"
    )
    return [Finding(POWER_METRIC, "step_ended", start, end, None, None, counted=False, detail=detail)]


def beyond(metric: str, unit: str, reading: Spike) -> Finding:
    detail = f"{reading.value:g} {unit} is beyond any register ({MAX_AMOUNT:g} {unit}); the reading is left out"
    return Finding(metric, "beyond_range", reading.at, reading.at, reading.value, None, counted=False, detail=detail)


def not_a_counter(metric: str, day: int) -> Finding:
    detail = 'falls again and again; nothing of the day is counted. If the register may fall, declare it "net": true'
    return Finding(metric, "not_a_counter", day, day + DAY, None, None, counted=False, detail=detail)


def power_findings(day: PowerDay) -> list[Finding]:
    if not day.spikes and not day.left_out:
        return []
    total = int(day.cells.amounts.sum() + day.cells.out.sum())
    found = [
        Finding(
            POWER_METRIC, "single_reading", s.at, s.at, s.value, s.effect / MILLIONTHS, counted=True,
            detail=f"one reading of {s.value:,.0f} W is far above all others of the day and may be an outlier; it"
            f" accounts for {s.effect / total:.0%} of the day's energy and is counted" if total > 0
            else f"one reading of {s.value:,.0f} W is far above all others of the day and may be an outlier",
        )
        for s in day.spikes
    ]  # fmt: skip
    found += [
        Finding(
            POWER_METRIC, "beyond_max_power", s.at, s.at, s.value, None, counted=False,
            detail=f"{s.value:,.0f} W is more than the device can use; the reading is left out",
        )
        for s in day.left_out
    ]  # fmt: skip
    return found
