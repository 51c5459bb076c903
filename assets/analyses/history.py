"""The history that a forecast is made from: which metric, its hourly means, what was left out of it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses import readings
from assets.analyses.context import DeviceContext
from assets.analyses.forecasting.calendar import LocalHours, bin_offset
from assets.analyses.forecasting.hours import Hours
from assets.analyses.forecasting.outliers import outliers
from assets.analyses.hourly import hourly_means, local_hours
from assets.analyses.parameters import ENERGY_METRICS
from assets.analyses.result import CannotAnalyse
from assets.energy import EnergyFigures
from assets.energy.cells import MILLIONTHS
from storage.arrays import Floats
from storage.devices import NAMED_METRICS, UNITS
from storage.times import HOUR as HOUR_US

ENERGY, ENERGY_EXPORT = ENERGY_METRICS
WELL_COVERED = 0.5  # of an hour
MIN_RISES = 48  # hours in which a metric that never falls has risen: it is a register
COMPANION_NAMES = ("temperature", "production")
MAX_COMPANIONS = 3
MIN_COMPANION_SHARE = 0.8


@dataclass(frozen=True)
class History:
    """The history of a metric.

    `means` are by UTC hour, NaN where nothing was measured; `hours` are the same by local hour without holes.
    `outliers` are the readings that were left out. `limit`: the most that the device can reach, if that is known.
    """

    metric: str
    unit: str | None
    means: pd.Series
    hours: Hours
    outliers: pd.Series
    limit: float | None = None
    energy: EnergyFigures | None = None


def history(table: pa.Table, metric: str | None, context: DeviceContext, needed: int) -> History:
    """The history of a metric; by default power, else energy, else the first metric that is not a register.

    Raises:
        CannotAnalyse: the metric has no readings or is a register, or its history is too short or constant.

    """
    chosen = metric or _default_metric(table, context)
    if chosen in context.metadata.counters:
        chosen = _of_counter(chosen, context)
    # A device may send a gauge of that name, too; energy comes first.
    if chosen in ENERGY_METRICS and (_has_energy(context) or chosen not in readings.measured_metrics(table)):
        return _energy_history(chosen, context, needed)
    limit = context.metadata.max_power_w if chosen == "power" else None
    column = readings.frame(table, [chosen])[chosen].dropna()
    is_outlier = outliers(column, limit)
    column, left_out = column[~is_outlier], column[is_outlier]
    if is_register(column):
        raise CannotAnalyse(
            f"{chosen} only rises, so it is a counter and has no level to forecast. Declare it under counters in the"
            ' device\'s metadata_json, and forecast the metric "energy".'
        )
    means = hourly_means(column, context.zone)
    hours = local_hours(means, _clock(means, context), fades="power" in chosen, needed=needed)
    hours = _with_companions(hours, table, chosen, means, context)
    return History(chosen, UNITS.get(chosen), means, hours, left_out, limit)


def is_register(column: pd.Series) -> bool:
    """Whether a metric never falls and has risen in at least 48 hours."""
    means = column.resample("1h").mean().dropna()
    changes = np.diff(means.to_numpy())
    return bool(len(changes) and changes.min() >= 0 and (changes > 0).sum() >= MIN_RISES)


def _default_metric(table: pa.Table, context: DeviceContext) -> str:
    measured = readings.measured_metrics(table)
    if "power" in measured:
        return "power"
    if _has_energy(context):
        return ENERGY
    gauges = [
        name for name in (*NAMED_METRICS, *measured) if name in measured and name not in context.metadata.counters
    ]
    for name in gauges:
        if not is_register(readings.frame(table, [name])[name].dropna()):
            return name
    return gauges[0] if gauges else readings.first_metric(table)


def _has_energy(context: DeviceContext) -> bool:
    energy = context.energy()
    return energy is not None and len(energy.cells.starts) > 0


def _of_counter(name: str, context: DeviceContext) -> str:
    """The energy that a counter is forecast as."""
    energy = context.energy()
    source = f"counter:{name}"
    if energy is not None and source in energy.sources:
        return ENERGY
    if energy is not None and source in energy.export_sources:
        return ENERGY_EXPORT
    raise CannotAnalyse(
        f"{name} is a counter, so it has no level to forecast, and it is not what the device's energy is counted by."
        ' Forecast the metric "energy", or a metric that is not a counter.'
    )


def _energy_history(metric: str, context: DeviceContext, needed: int) -> History:
    """Energy by the hour in kWh, from the quarter hours of `assets.energy`; hours that are half covered count."""
    energy = context.energy()
    if energy is None or not len(energy.cells.starts) or (metric == ENERGY_EXPORT and not energy.is_export_known):
        raise CannotAnalyse(f"Nothing measures the {metric} of the device: it needs power, or a counter of energy.")
    means = hourly_energy(energy, metric, context)
    hours = local_hours(means, _clock(means, context), fades=True, needed=needed)
    return History(metric, "kWh", means, hours, means.iloc[:0], energy=energy)


def hourly_energy(energy: EnergyFigures, metric: str, context: DeviceContext) -> pd.Series:
    """Energy in kWh of each hour, scaled to the whole hour; NaN where less than half of it is covered."""
    cells = energy.cells
    newest = pd.Timestamp(int(cells.starts[-1]), unit="us", tz="UTC")
    offset = int(bin_offset(context.zone, newest).total_seconds() * 1e6)
    which = (cells.starts - offset) // HOUR_US
    amounts = cells.out if metric == ENERGY_EXPORT else cells.amounts
    first, count = int(which[0]), int(which[-1] - which[0]) + 1
    kwh = np.bincount(which - first, amounts / MILLIONTHS, count)
    covered = np.bincount(which - first, cells.covered / HOUR_US, count)
    start = pd.Timestamp(first * HOUR_US + offset, unit="us", tz="UTC")
    times = pd.date_range(start, periods=count, freq="h")
    is_known = (covered >= WELL_COVERED) & ~np.array([day in context.left_out for day in times.date])
    hours = pd.Series(np.where(is_known, kwh / np.clip(covered, WELL_COVERED, 1.0), np.nan), times, name=metric)
    return hours.loc[: hours.last_valid_index()]


def _clock(means: pd.Series, context: DeviceContext) -> LocalHours:
    first = pd.DatetimeIndex(means.index)[0].tz_convert(context.zone).tz_localize(None).floor("h")
    return LocalHours(context.zone, first.to_pydatetime(), context.is_holiday)


def _with_companions(hours: Hours, table: pa.Table, metric: str, means: pd.Series, context: DeviceContext) -> Hours:
    """With temperature or production where the device measures them nearly always."""
    names = [
        name
        for name in readings.measured_metrics(table)
        if name != metric
        and name not in context.metadata.counters
        and name not in readings.LABELS
        and any(part in name for part in COMPANION_NAMES)
    ][:MAX_COMPANIONS]
    companions: dict[str, Floats] = {}
    offset = bin_offset(context.zone, pd.DatetimeIndex(means.index)[-1])
    for name in names:
        column = readings.frame(table, [name])[name].dropna().resample("1h", offset=offset).mean().dropna()
        at = hours.clock.positions(pd.DatetimeIndex(column.index))
        by_hour = pd.Series(column.to_numpy(), at).groupby(level=0).mean()
        values = by_hour.reindex(range(len(hours))).to_numpy()
        if np.isfinite(values).mean() >= MIN_COMPANION_SHARE:
            companions[name] = values
    return Hours(**{**vars(hours), "companions": companions})
