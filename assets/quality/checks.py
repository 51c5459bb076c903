"""Whether a day of a device can be trusted: checks on its readings, with thresholds that can be configured.

Each check measures one number, and is `ok`, `warn` or `error` by two thresholds. A check that cannot be made (no
cadence known, no voltage measured) is absent rather than passed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa

from assets.quality.cadence import Steps
from assets.quality.coverage import Cadences, coverage
from assets.quality.settings import QUALITY_CHECKS, QualityCheck, Thresholds
from storage.arrays import Floats, Times
from storage.devices import NAMED_METRICS, DeviceMetadata
from storage.times import DAY, HOUR, MINUTE, SECOND

# Rounding of V, I and P may make this much more of a true P = V · I.
ROUNDING = 1.05
# Two equal readings closer than this share of the cadence are one that was sent twice.
TWICE = 0.1
# A clock is slow if most readings are late by the same time, give or take this, and come over at least an hour. What a
# device or a network holds back comes late by different times, since it is sent together.
STEADY = 5 * SECOND
STEADY_SHARE = 0.6
MIN_STEADY = 3


@dataclass(frozen=True)
class Finding:
    """What one check measured, and in words what that is."""

    kind: QualityCheck
    value: float
    detail: str


def check_day(
    dataset: pa.Table,
    start: int,
    metadata: DeviceMetadata,
    thresholds: Mapping[QualityCheck, Thresholds],
    readings: pa.Table,
    *,
    first_day: bool = False,
    before: Steps = (),
) -> dict[str, dict[str, Any]]:
    """Every check that can be made on a UTC day's dataset: `{kind: {"status", "value", "detail"}}`.

    Args:
        dataset: the day's rows.
        start: the day's beginning, in microseconds.
        metadata: the device's.
        thresholds: by kind, as the settings have them.
        readings: the same rows with their context, as far as the telemetry store still has them.
        first_day: of the device; what lies before its first reading is not missing.
        before: the steps between the readings of the day before.

    """
    times = dataset["timestamp"].cast(pa.int64()).to_numpy()
    steps = np.diff(times)
    begin = int(times[0]) if first_day else start
    found = [
        *_timing(times, (begin, start + DAY), Cadences(metadata.cadence_seconds, times, {start - DAY: before})),
        *_values(dataset, times, steps),
        *_context(readings, times),
    ]
    return {
        f.kind: {"status": thresholds[f.kind].status(f.value), "value": round(f.value, 6), "detail": f.detail}
        for f in sorted(found, key=lambda finding: QUALITY_CHECKS.index(finding.kind))
    }


def _timing(times: Times, day: tuple[int, int], cadences: Cadences) -> Iterator[Finding]:
    covered = coverage(times, *day, cadences)
    if covered.share is None:
        return
    cadence = cadences.cadence(day[1] - DAY) or 0.0
    detail = f"{covered.share:.1%} of the day at one reading each {cadence:g} s"
    yield Finding("completeness", covered.share, detail)
    longest = max(((until - since) / MINUTE for since, until in covered.gaps), default=0.0)
    yield Finding("gaps", longest, f"{len(covered.gaps)} gaps, the longest {longest:.0f} min")


def _values(dataset: pa.Table, times: Times, steps: Times) -> Iterator[Finding]:
    columns = {name: dataset[name].to_numpy() for name in NAMED_METRICS}
    if len(steps):
        equal = np.ones(len(steps), bool)
        for values in columns.values():
            equal &= (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
        twice = int((equal & (steps < TWICE * np.median(steps))).sum())
        yield Finding("duplicates", twice / len(times), f"{twice} of {len(times)} readings repeat the one before")
    flat = max(((_longest_flat(values, times), name) for name, values in columns.items()), default=(0, ""))
    minutes = flat[0] / SECOND / 60
    yield Finding("flatline", minutes, f"{flat[1]} did not move for {minutes:.0f} min" if flat[0] else "all moved")
    apparent = columns["voltage"] * columns["current"]
    known = np.isfinite(apparent) & np.isfinite(columns["power"]) & (apparent > 0)
    if known.any():
        over = int((np.abs(columns["power"][known]) > apparent[known] * ROUNDING).sum())
        share = over / int(known.sum())
        yield Finding("power_consistency", share, f"power exceeds voltage times current in {over} readings")


def _longest_flat(values: Floats, times: Times) -> int:
    """Microseconds for which a value other than zero stood still; a machine that is off is none that is stuck."""
    there = np.flatnonzero(np.isfinite(values))
    if len(there) < 2:
        return 0
    kept, at = values[there], times[there]
    changes = np.flatnonzero(np.diff(kept))
    first = np.concatenate([[0], changes + 1])
    last = np.concatenate([changes, [len(kept) - 1]])
    lengths = np.where(kept[first] != 0, at[last] - at[first], 0)
    return int(lengths.max())


def _context(readings: pa.Table, times: Times) -> Iterator[Finding]:
    if len(readings) != len(times):
        return
    flagged = len(readings) - readings["out_of_band"].null_count
    share = flagged / len(times)
    yield Finding("out_of_band", share, f"{flagged} of {len(times)} readings outside the device's nominal bands")
    yield _clock(readings["received_at"].cast(pa.int64()).to_numpy() - times, times)


def _clock(delay: Times, times: Times) -> Finding:
    """How wrong the device's clock is, from the delays (µs) between measuring and receiving."""
    earliest = float(np.percentile(delay, 1))
    if earliest < 0:
        return Finding("clock_skew", -earliest / SECOND, f"the device's clock is {-earliest / SECOND:.0f} s ahead")
    count = max(MIN_STEADY, ceil(STEADY_SHARE * len(delay)))
    if count <= len(delay):
        order = np.argsort(delay, kind="stable")
        widths = delay[order[count - 1 :]] - delay[order[: len(order) - count + 1]]
        first = int(np.argmin(widths))
        steady = order[first : first + count]
        if widths[first] < STEADY and np.ptp(times[steady]) >= HOUR:
            late = float(delay[steady[0]]) / SECOND
            return Finding("clock_skew", late, f"readings come {late:.0f} s late, as from a slow clock")
    return Finding("clock_skew", 0.0, "no sign of a wrong clock")
