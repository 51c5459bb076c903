"""What a correction would change, before anything is stored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from assets.datasets.consumption import energy_of
from assets.datasets.reader import TelemetryReader
from assets.energy.corrections import Corrections
from assets.energy.figures import EnergyFigures
from assets.energy.findings import Finding
from storage.corrections import Correction
from storage.telemetry import MetricStatistics
from storage.times import microseconds, moment

# A correction can change what lies between its range and the nearest readings: so many days around it are compared.
AROUND = timedelta(days=7)


@dataclass(frozen=True)
class ChangedDay:
    """A day of the device's zone: how many of its readings are touched, and its energy before and after."""

    day: date
    readings: int
    before: EnergyFigures
    after: EnergyFigures


@dataclass(frozen=True)
class Change:
    """What changes over the days from `start` to `end` (µs): energy, and the statistics of the corrected metric."""

    start: int
    end: int
    readings: int
    before: EnergyFigures
    after: EnergyFigures
    statistics_before: MetricStatistics | None
    statistics_after: MetricStatistics | None
    days: tuple[ChangedDay, ...]
    removed: tuple[Finding, ...]
    added: tuple[Finding, ...]


def change_of(
    session: Session,
    reader: TelemetryReader,
    correction: Correction,
    others: Sequence[Correction],
    zone: ZoneInfo,
    *,
    undo: bool = False,
) -> Change:
    """What a correction changes beside the device's other active ones; with `undo`, what undoing it changes."""
    device_id, metric = correction.device_id, correction.metric
    # Later ones win, and a new one has no id yet.
    rows = sorted([*others, correction], key=lambda row: row.correction_id or float("inf"))
    without, including = Corrections(others), Corrections(rows)
    old, new = (
        reader.supposing(device_id, known) for known in ((including, without) if undo else (without, including))
    )
    edges = list(_midnights(correction.starts_at - AROUND, correction.ends_at + AROUND, zone))
    before, after = (energy_of(session, one, device_id, edges[0], edges[-1]) for one in (old, new))
    touched = _readings(reader, correction)
    days = []
    for start, end in pairwise(edges):
        readings = int(np.diff(touched.searchsorted([start, end]))[0])
        day = ChangedDay(_day(start, zone), readings, before.part(start, end), after.part(start, end))
        if readings or _figures(day.before) != _figures(day.after):
            days.append((start, end, day))
    start, end = (days[0][0], days[-1][1]) if days else _whole_days(edges, correction)
    before, after = (energy_of(session, one, device_id, start, end) for one in (old, new))
    return Change(
        start,
        end,
        readings=len(touched),
        before=before,
        after=after,
        statistics_before=old.statistics(device_id, start, end).metrics.get(metric),
        statistics_after=new.statistics(device_id, start, end).metrics.get(metric),
        days=tuple(day for _, _, day in days),
        removed=_missing(before.findings, after.findings),
        added=_missing(after.findings, before.findings),
    )


def _readings(reader: TelemetryReader, correction: Correction) -> np.ndarray:
    """The times (µs) of the metric's readings in the range."""
    start, end = microseconds(correction.starts_at), microseconds(correction.ends_at)
    table = reader.read(correction.device_id, start, end, metrics=[correction.metric])
    return np.asarray(table["time"].cast("int64").to_numpy())


def _figures(energy: EnergyFigures) -> tuple[object, ...]:
    return energy.kwh, energy.export_kwh, energy.covered, energy.peak_demand, energy.peak_feed_in


def _missing(findings: Sequence[Finding], others: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings that are not among the others; one that says something else now is another one."""
    known = set(others)
    return tuple(f for f in findings if f not in known)


def _whole_days(edges: Sequence[int], correction: Correction) -> tuple[int, int]:
    start, end = microseconds(correction.starts_at), microseconds(correction.ends_at)
    return max(e for e in edges if e <= start), min(e for e in edges if e >= end)


def _midnights(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[int]:
    """The midnights of the zone (µs) from the one before `start` to the one after `end`."""
    local = start.astimezone(zone)
    day = datetime(local.year, local.month, local.day, tzinfo=zone)
    while True:
        yield microseconds(day)
        if day >= end:
            return
        day = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(days=1)


def _day(start: int, zone: ZoneInfo) -> date:
    return moment(start).astimezone(zone).date()
