"""Readings measured: key figures, days, metrics and series."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.reports.content import DataQuality, Day, Kpi, MetricSummary, ReportError, ReportInput, Series
from assets.reports.energy import SECOND, EnergyCurve, Floats, Times, from_counter, from_power
from assets.reports.quality import completeness
from storage.devices import NAMED_METRICS, UNITS
from storage.telemetry import microseconds, moment

HOUR = 3600 * SECOND
QUARTER = 15 * 60 * SECOND
MOST_WINDOWS = 1000
# From three hours straight to a day: what lies between shows neither days nor what they have in common.
WINDOWS = [s * SECOND for s in (1, 10, 60, 300, 900, 1800, 3600, 10_800, 86_400, 604_800)]
RUNNING_SHARE = 0.1
_NOT_METRICS = ("timestamp", "device_id", "device_type", "location", "hour", "day_of_week", "is_weekend")


@dataclass(frozen=True)
class Measured:
    """A device's readings within the period, ascending; times in µs since 1970 UTC."""

    data: ReportInput
    table: pa.Table

    @classmethod
    def of(cls, data: ReportInput) -> "Measured":
        """Raises ReportError when readings of another device are among them: no report tells of a stranger's."""
        table = data.readings
        if len(table) and pc.any(pc.not_equal(table["device_id"], data.device_id)).as_py():
            raise ReportError(
                f"readings of another device are among those of {data.device_id}; this is a fault of ours"
            )
        start, end = (pa.scalar(moment, pa.timestamp("us", tz="UTC")) for moment in (data.start, data.end))
        inside = pc.and_(pc.greater_equal(table["timestamp"], start), pc.less(table["timestamp"], end))
        if not pc.all(inside, min_count=0).as_py():
            table = table.filter(inside)
        times = _times(table["timestamp"])
        return cls(data, table if (times[1:] >= times[:-1]).all() else table.sort_by("timestamp"))

    @cached_property
    def times(self) -> Times:
        return _times(self.table["timestamp"])

    @cached_property
    def metrics(self) -> list[str]:
        """Those that have a reading: the named ones, the power factor, then others by name."""
        there = [n for n in self.table.column_names if n not in _NOT_METRICS and _is_number(self.table[n])]
        first = [*NAMED_METRICS, "power_factor"]
        return [n for n in first if n in there] + sorted(set(there) - set(first))

    def unit(self, metric: str) -> str:
        if metric in self.table.column_names:
            metadata = self.table.schema.field(metric).metadata or {}
            if b"unit" in metadata:
                return str(metadata[b"unit"].decode())
        return self.data.counters[metric].unit if metric in self.data.counters else UNITS.get(metric, "")

    def track(self, metric: str) -> tuple[Times, Floats]:
        """Times and values of the readings that have the metric."""
        if metric not in self.metrics:
            return np.zeros(0, np.int64), np.zeros(0)
        values = self.table[metric].cast(pa.float64()).to_numpy()
        there = np.isfinite(values)
        return (self.times, values) if there.all() else (self.times[there], values[there])

    @cached_property
    def power_curve(self) -> EnergyCurve:
        return from_power(*self.track("power"))

    @cached_property
    def energy_curve(self) -> tuple[str, EnergyCurve] | None:
        """The energy counter if the device has one, else the integral of power, with its source's name."""
        for name, counter in sorted(self.data.counters.items()):
            times, values = self.track(name)
            curve = from_counter(times, values, counter) if len(times) > 1 else None
            if curve is not None:
                return f"counter:{name}", curve
        return ("power", self.power_curve) if len(self.power_curve.times) > 1 else None


def kpis(measured: Measured, quality: DataQuality) -> list[Kpi]:
    """The key figures; one that cannot be measured is null and says why."""
    times, power = measured.track("power")
    no_power = None if len(power) else "power was not measured"
    peak = int(power.argmax()) if len(power) else None
    demand, demand_at, no_demand = _highest_demand(measured)
    mean = _mean_power(measured.power_curve)
    whole = _covered(measured)
    factor = mean / demand if mean is not None and demand is not None and demand > 0 else None
    threshold = RUNNING_SHARE * demand if demand is not None and demand > 0 else None
    running = measured.power_curve.time_above(threshold) / HOUR if threshold is not None else None
    return [
        Kpi(
            key="energy",
            label="Energy",
            value=whole[0] / 1000 if whole else None,
            unit="kWh",
            note=None if whole else no_power or "one reading of power is not enough for an integral",
        ),
        Kpi(key="mean_power", label="Mean power", value=mean, unit="W", note=no_power),
        Kpi(
            key="peak_power",
            label="Highest power",
            value=float(power[peak]) if peak is not None else None,
            unit="W",
            at=moment(times[peak].item()) if peak is not None else None,
            note=no_power,
        ),
        Kpi(
            key="peak_demand_15min",
            label="Highest 15-minute demand",
            value=demand,
            unit="W",
            at=demand_at,
            note=no_power or no_demand,
        ),
        Kpi(
            key="load_factor",
            label="Load factor",
            value=factor,
            unit="1",
            note=None if factor is not None else no_power or no_demand or "there was no demand",
        ),
        Kpi(
            key="running_hours",
            label="Running time",
            value=running,
            unit="h",
            note="above a tenth of the highest demand"
            if running is not None
            else no_power or no_demand or "there was no demand",
        ),
        *_voltage(measured),
        Kpi(
            key="completeness",
            label="Data completeness",
            value=quality.completeness,
            unit="1",
            note=None if quality.completeness is not None else "fewer than two readings tell no cadence",
        ),
        Kpi(key="readings", label="Readings", value=quality.readings, unit="1"),
    ]


def _covered(measured: Measured) -> tuple[float, int] | None:
    """Energy (Wh) and covered time (µs) of all readings; None where nothing is covered."""
    if measured.energy_curve is None:
        return None
    curve = measured.energy_curve[1]
    return (float(curve.energy[-1]), int(curve.covered[-1])) if curve.covered[-1] else None


def _mean_power(curve: EnergyCurve) -> float | None:
    """Time-weighted over the covered time; of readings that cover none, their plain mean."""
    if not len(curve.times):
        return None
    if curve.covered[-1]:
        return float(curve.energy[-1] / (curve.covered[-1] / HOUR))
    return float(np.mean(curve.power)) if curve.power is not None else None


def _highest_demand(measured: Measured) -> tuple[float | None, datetime | None, str | None]:
    """The greatest energy of a clock quarter hour over 15 min, in W, and its start; else why not.

    What a gap swallowed counts as nothing, so that the figure never overstates.
    """
    curve = measured.power_curve
    if len(curve.times) < 2:
        return None, None, "one reading of power is not enough for a demand"
    if np.median(np.diff(curve.times)) > QUARTER:
        return None, None, "readings are more than 15 minutes apart"
    edges = np.arange(-(-curve.times[0] // QUARTER), curve.times[-1] // QUARTER + 1) * QUARTER
    if len(edges) < 2:
        return None, None, "readings span no whole quarter hour"
    energy, covered = curve.between(edges)
    if not covered.any():
        return None, None, "gaps leave no quarter hour"
    highest = int(np.where(covered > 0, energy, -np.inf).argmax())
    return float(energy[highest] * 4), moment(edges[highest].item()), None


def _voltage(measured: Measured) -> Iterator[Kpi]:
    times, volts = measured.track("voltage")
    note = None if len(volts) else "voltage was not measured"
    for key, label, pick in (("min", "Lowest voltage", np.argmin), ("max", "Highest voltage", np.argmax)):
        i = int(pick(volts)) if len(volts) else None
        yield Kpi(
            key=f"voltage_{key}",
            label=label,
            value=float(volts[i]) if i is not None else None,
            unit="V",
            at=moment(times[i].item()) if i is not None else None,
            note=note,
        )
    yield Kpi(
        key="voltage_mean",
        label="Mean voltage",
        value=float(volts.mean()) if len(volts) else None,
        unit="V",
        note=note,
    )
    band = measured.data.bands.get("voltage")
    yield Kpi(
        key="voltage_outside_band",
        label="Voltage outside its band",
        value=_outside(volts, band),
        unit="1",
        note=note or (None if band else "no nominal band is known"),
    )


def _outside(values: Floats, band: tuple[float, float] | None) -> float | None:
    if band is None or not len(values):
        return None
    return float(np.mean((values < band[0]) | (values > band[1])))


def days(measured: Measured, quality: DataQuality) -> list[Day]:
    """Every calendar day of the zone that the period touches, with its energy and peak."""
    data = measured.data
    bounds = list(_midnights(data))
    edges = np.array([microseconds(m) for m in bounds])
    energy, covered = (
        measured.energy_curve[1].between(edges)
        if measured.energy_curve
        else (np.zeros(len(edges) - 1), np.zeros(len(edges) - 1, np.int64))
    )
    times, power = measured.track("power")
    rows = np.searchsorted(measured.times, edges)
    of_power = np.searchsorted(times, edges)
    found = []
    for i, (start, end) in enumerate(pairwise(bounds)):
        here = slice(of_power[i].item(), of_power[i + 1].item())
        peak = here.start + int(power[here].argmax()) if here.start < here.stop else None
        until = min(end, quality.measured_until)
        found.append(
            Day(
                day=start.astimezone(data.zone).date(),
                start=start,
                end=end,
                hours=(end - start) / timedelta(hours=1),
                readings=int(rows[i + 1] - rows[i]),
                energy_kwh=float(energy[i]) / 1000 if covered[i] else None,
                covered_hours=covered[i] / HOUR,
                peak_power_w=float(power[peak]) if peak is not None else None,
                peak_at=moment(times[peak].item()) if peak is not None else None,
                completeness=completeness(measured.times[rows[i] : rows[i + 1]], start, until, quality.cadence_seconds),
            )
        )
    return found


def _midnights(data: ReportInput) -> Iterator[datetime]:
    """The period's start, each midnight of the zone within, its end; in UTC."""
    yield data.start.astimezone(UTC)
    day = data.start.astimezone(data.zone).date()
    while True:
        day += timedelta(days=1)
        midnight = _midnight(day, data)
        if midnight >= data.end:
            break
        yield midnight
    yield data.end.astimezone(UTC)


def _midnight(day: date, data: ReportInput) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=data.zone).astimezone(UTC)


def summaries(measured: Measured) -> Iterator[MetricSummary]:
    """The range of each metric."""
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
            outside_band=_outside(values, band),
        )


def series(measured: Measured) -> Iterator[Series]:
    """Each metric in at most a thousand windows, aligned to 1970, none shorter than readings are apart."""
    start, end = microseconds(measured.data.start), microseconds(measured.data.end)
    shortest = max(
        (end - start) / MOST_WINDOWS, float(np.median(np.diff(measured.times))) if len(measured.times) > 1 else 0
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


def _spread(values: Floats, where: npt.NDArray[np.intp], size: int) -> list[float | None]:
    found: list[float | None] = [None] * size
    for i, value in zip(where.tolist(), values.tolist(), strict=True):
        found[i] = value
    return found


def _times(column: pa.ChunkedArray) -> Times:
    return np.asarray(column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy())


def _is_number(column: pa.ChunkedArray) -> bool:
    kind = column.type
    numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    return numeric and bool(pc.any(pc.is_finite(column), min_count=0).as_py())
