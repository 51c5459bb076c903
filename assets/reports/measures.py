"""Measures the readings of a report: its days, metrics and series."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.energy import EnergyFigures
from assets.energy.cells import MILLIONTHS
from assets.energy.figures import energy_figures
from assets.energy.table import TableDays
from assets.quality.coverage import Cadences
from assets.reports.content import Day, MetricSummary, Series, StateTotal
from assets.reports.doubtful import doubtful_readings, without_doubtful
from assets.reports.errors import ReportError
from assets.reports.inputs import ReportInput
from assets.reports.noticed import DataQuality
from assets.reports.period import midnights
from assets.reports.quality import covered_within
from storage.arrays import Floats, Indices, Times
from storage.devices import NAMED_METRICS, UNITS, DeviceMetadata
from storage.times import DAY, HOUR, SECOND, microseconds, midnight, moment

MAX_WINDOWS = 1000
# Microseconds. None between three hours and a day: they would show neither the day's shape nor whole days.
WINDOWS = [s * SECOND for s in (1, 10, 60, 300, 900, 1800, 3600, 10_800, 86_400, 604_800)]
_NOT_METRICS = ("timestamp", "device_id", "device_type", "location", "hour", "day_of_week", "is_weekend")


@dataclass(frozen=True)
class Measured:
    """A device's readings within the period, by time. Times are µs since 1970 in UTC."""

    data: ReportInput
    table: pa.Table

    @classmethod
    def of(cls, data: ReportInput) -> "Measured":
        """The readings of the input within its period. Raises ReportError if any is of another device."""
        table = data.readings
        if len(table) and pc.any(pc.not_equal(table["device_id"], data.device_id)).as_py():
            raise ReportError(f"The data of {data.device_id} contain readings of another device. This is a bug.")
        start, end = (pa.scalar(moment, pa.timestamp("us", tz="UTC")) for moment in (data.start, data.end))
        inside = pc.and_(pc.greater_equal(table["timestamp"], start), pc.less(table["timestamp"], end))
        if not pc.all(inside, min_count=0).as_py():
            table = table.filter(inside)
        times = _times(table["timestamp"])
        return cls(data, table if (times[1:] >= times[:-1]).all() else table.sort_by("timestamp"))

    @cached_property
    def times(self) -> Times:
        return _times(self.table["timestamp"])

    @property
    def is_waiting(self) -> bool:
        """Whether there are readings, but none of them is in a file yet."""
        return bool(self.data.unexported_days) and not len(self.times)

    @cached_property
    def absent(self) -> int:
        """The time (µs) of the period whose readings the report lacks, since they are in no file or were deleted."""
        start, end = microseconds(self.data.start), microseconds(min(self.data.end, self.data.generated_at))
        days = (microseconds(midnight(day)) for day in {*self.data.unexported_days, *self.data.removed_days})
        return sum(max(min(day + DAY, end) - max(day, start), 0) for day in days)

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics with at least one reading: the named ones, the power factor, then the others by name."""
        measured = [n for n in self.table.column_names if n not in _NOT_METRICS and _is_number(self.table[n])]
        first = [*NAMED_METRICS, "power_factor"]
        return [n for n in first if n in measured] + sorted(set(measured) - set(first))

    def unit(self, metric: str) -> str:
        """The metric's unit. Empty if it is unknown."""
        if metric in self.table.column_names:
            metadata = self.table.schema.field(metric).metadata or {}
            if b"unit" in metadata:
                return str(metadata[b"unit"].decode())
        return self.data.counters[metric].unit if metric in self.data.counters else UNITS.get(metric, "")

    def track(self, metric: str) -> tuple[Times, Floats]:
        """Times (µs) and values of the readings that have the metric."""
        if metric not in self.metrics:
            return np.zeros(0, np.int64), np.zeros(0)
        values = self.table[metric].cast(pa.float64()).to_numpy()
        finite = np.isfinite(values)
        return (self.times, values) if finite.all() else (self.times[finite], values[finite])

    @cached_property
    def energy(self) -> EnergyFigures:
        """Energy of the period: as the input has it, else from its readings."""
        data = self.data
        if data.energy is not None:
            return data.energy
        metadata = DeviceMetadata(counters=dict(data.counters), cadence_seconds=data.cadence_seconds)
        start, end, now = (microseconds(moment) for moment in (data.start, data.end, data.generated_at))
        return energy_figures(TableDays(self.table), metadata, start, end, now)

    @cached_property
    def trusted(self) -> "Measured":
        """The same without readings of power that may be wrong; the readings themselves stay, without their power."""
        found = doubtful_readings(self.energy)
        energy = without_doubtful(self.energy)
        if energy is self.energy:
            return self
        table, states = self.table, self.data.states
        if states is not None:
            doubtful = sum(round(max(finding.effect or 0.0, 0.0) * MILLIONTHS) for finding in found)
            running = max(states.energy.get("running", 0) - doubtful, 0)
            states = replace(states, energy={**states.energy, "running": running})
        data = replace(self.data, energy=energy, states=states)
        if "power" not in table.column_names:
            return Measured(data, table)
        moments = pa.array([finding.at for finding in found], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        is_doubtful = pc.is_in(table["timestamp"].cast(moments.type), moments)
        values = pc.if_else(is_doubtful, pa.scalar(None, table["power"].type), table["power"])
        power = table.schema.get_field_index("power")
        return Measured(data, table.set_column(power, table.schema.field(power), values))

    @cached_property
    def cadences(self) -> Cadences:
        """The cadence of each UTC day of the period."""
        return Cadences(self.data.cadence_seconds, self.times, self.data.steps)


def days(measured: Measured, quality: DataQuality) -> list[Day]:
    """Every calendar day that the period overlaps in the report's time zone."""
    data = measured.data
    bounds = list(midnights(data.start, data.end, data.zone))
    edges = np.array([microseconds(m) for m in bounds])
    times, power = measured.trusted.track("power")
    rows = np.searchsorted(measured.times, edges)
    power_rows = np.searchsorted(times, edges)
    result = []
    for i, (start, end) in enumerate(pairwise(bounds)):
        within = slice(power_rows[i].item(), power_rows[i + 1].item())
        peak = within.start + int(power[within].argmax()) if within.start < within.stop else None
        until = microseconds(max(min(end, quality.measured_until), start))
        energy, trusted = (
            figures.part(int(edges[i]), int(edges[i + 1])) for figures in (measured.energy, measured.trusted.energy)
        )
        readings = measured.times[rows[i] : rows[i + 1]]
        result.append(
            Day(
                day=start.astimezone(data.zone).date(),
                start=start,
                end=end,
                hours=(end - start) / timedelta(hours=1),
                readings=int(rows[i + 1] - rows[i]),
                energy_kwh=energy.kwh,
                energy_export_kwh=energy.export_kwh,
                covered_hours=energy.covered / HOUR,
                peak_power_w=float(power[peak]) if peak is not None else None,
                peak_at=moment(times[peak].item()) if peak is not None else None,
                completeness=covered_within(readings, int(edges[i]), until, data, measured.cadences).share,
                trusted_kwh=trusted.kwh,
                trusted_export_kwh=trusted.export_kwh,
                doubtful_kwh=(energy.kwh or 0.0) - (trusted.kwh or 0.0),
                doubtful_export_kwh=(energy.export_kwh or 0.0) - (trusted.export_kwh or 0.0),
            )
        )
    return result


def states(measured: Measured) -> Iterator[StateTotal]:
    """The states that the machine was in, where the report has readings."""
    found = measured.data.states
    if found is None or found.end <= found.start:
        return
    # Of days that the report lacks nothing is known; the machine was not silent.
    lacking = min(found.time.get("silent", 0), measured.absent)
    for state, length in found.time.items():
        time = length - (lacking if state == "silent" else 0)
        if time:
            share = time / (found.end - found.start - lacking)
            yield StateTotal(state=state, hours=time / HOUR, share=share, energy_kwh=found.kwh(state))


def summaries(measured: Measured) -> Iterator[MetricSummary]:
    """The summary of each metric."""
    for metric in measured.metrics:
        values = measured.track(metric)[1]
        band = measured.data.bands.get(metric)
        yield MetricSummary(
            metric=metric,
            unit=measured.unit(metric),
            count=len(values),
            min=float(values.min()),
            mean=float(values.mean()),
            max=float(values.max()),
            band=band,
            outside_band=outside_band(values, band),
            band_source=None if band is None else "usual" if metric in measured.data.usual_bands else "device",
        )


def series(measured: Measured) -> Iterator[Series]:
    """Each metric in windows: at most `MAX_WINDOWS`, aligned to 1970, none shorter than the median step of readings."""
    start, end = microseconds(measured.data.start), microseconds(measured.data.end)
    shortest = max(
        (end - start) / MAX_WINDOWS, float(np.median(np.diff(measured.times))) if len(measured.times) > 1 else 0
    )
    width = next((w for w in WINDOWS if w >= shortest), WINDOWS[-1])
    for metric in measured.metrics:
        times, values = measured.track(metric)
        windows = np.arange(start // width, -(-end // width))
        cuts = np.searchsorted(times, windows * width)
        filled = np.flatnonzero(np.diff(np.append(cuts, len(times))))
        at = cuts[filled]
        counts = np.diff(np.append(at, len(times)))
        yield Series(
            metric=metric,
            unit=measured.unit(metric),
            window_seconds=width / SECOND,
            start=[moment(w) for w in (windows * width).tolist()],
            mean=_spread(np.add.reduceat(values, at) / counts, filled, len(windows)),
            min=_spread(np.minimum.reduceat(values, at), filled, len(windows)),
            max=_spread(np.maximum.reduceat(values, at), filled, len(windows)),
        )


def outside_band(values: Floats, band: tuple[float, float] | None) -> float | None:
    """Share of the values outside the band, 0 to 1. None without values or a band."""
    if band is None or not len(values):
        return None
    return float(np.mean((values < band[0]) | (values > band[1])))


def _spread(values: Floats, where: Indices, size: int) -> list[float | None]:
    """A list of that size with the values at their indices, and None elsewhere."""
    spread: list[float | None] = [None] * size
    for i, value in zip(where.tolist(), values.tolist(), strict=True):
        spread[i] = value
    return spread


def _times(column: pa.ChunkedArray) -> Times:
    return np.asarray(column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy())


def _is_number(column: pa.ChunkedArray) -> bool:
    kind = column.type
    numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    return numeric and bool(pc.any(pc.is_finite(column), min_count=0).as_py())
