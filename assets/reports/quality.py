"""How complete the readings are: their cadence, gaps, and the share of time that they cover."""

from datetime import datetime

import numpy as np

from assets.energy.curve import MIN_GAP
from assets.reports.content import DataQuality, Gap
from assets.reports.inputs import ReportInput
from storage.arrays import Times
from storage.times import SECOND, microseconds, moment

MAX_GAPS = 1000
# A reading is missing, and not only late, if its neighbours are further apart than so many cadences.
MAX_CADENCES = 1.5


def quality(data: ReportInput, times: Times) -> DataQuality:
    """The quality of readings at `times` (µs, ascending), up to the period's end or to `generated_at` if earlier."""
    until = max(min(data.end, data.generated_at), data.start)
    steps = np.diff(times)
    cadence = data.cadence_seconds or (float(np.median(steps)) / SECOND if len(steps) else None) or None
    rule = max(5 * int((cadence or 0) * SECOND), MIN_GAP)
    start, end = microseconds(data.start), microseconds(until)
    edges = np.concatenate([[start], times, [max([end, *times[-1:]])]])
    lengths = np.diff(edges)
    wide = np.flatnonzero(lengths > rule)
    longest = wide[np.argsort(-lengths[wide], kind="stable")][:MAX_GAPS]
    missing = _missing(times, start, end, cadence)
    return DataQuality(
        readings=len(times),
        first=moment(times[0].item()) if len(times) else None,
        last=moment(times[-1].item()) if len(times) else None,
        cadence_seconds=cadence,
        cadence_source=None if cadence is None else "declared" if data.cadence_seconds else "median",
        completeness=completeness(times, data.start, until, cadence),
        missing_seconds=missing / SECOND if missing is not None else None,
        measured_until=until,
        gap_rule_seconds=rule / SECOND,
        gaps=[
            Gap(start=moment(edges[i].item()), end=moment(edges[i + 1].item()), seconds=lengths[i] / SECOND)
            for i in longest
        ],
        gaps_total=len(wide),
        waiting_days=list(data.waiting_days),
    )


def completeness(times: Times, start: datetime, end: datetime, cadence_seconds: float | None) -> float | None:
    """Share of the time from start to end that readings cover, 0 to 1. None if the cadence is unknown."""
    missing = _missing(times, microseconds(start), microseconds(end), cadence_seconds)
    if missing is None or end <= start:
        return None
    return min(max(1 - missing / SECOND / (end - start).total_seconds(), 0.0), 1.0)


def _missing(times: Times, start: int, end: int, cadence_seconds: float | None) -> float | None:
    """Microseconds without readings: all beyond one cadence between neighbours and at the edges."""
    if cadence_seconds is None:
        return None
    if not len(times):
        return float(max(end - start, 0))
    step = cadence_seconds * SECOND
    between = np.diff(times)
    head, tail = int(times[0]) - start, end - int(times[-1])
    return float(
        (between[between > MAX_CADENCES * step] - step).sum()
        + (head if head > MAX_CADENCES * step else 0)
        + (tail - step if tail > MAX_CADENCES * step else 0)
    )
