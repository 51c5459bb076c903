"""The columns of a dataset: how they are made from readings, their units, and statistics of them."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.energy.corrections import CORRECTED, Corrections
from storage.devices import NAMED_METRICS, UNITS, Device, DeviceMetadata
from storage.telemetry import CONTEXT, TIME, MetricStatistics
from storage.times import DAY, HOUR

MAX_POWER_FACTOR = 1.05  # rounding of V, I and P may raise a true 1.0 so far
HOURS = DAY // HOUR

# The columns that every dataset has, in the order that their readers expect. Further metrics follow by name, before the
# last one.
COLUMNS: dict[str, str] = {
    "timestamp": "When the device measured, UTC, to the microsecond",
    "device_id": "The device",
    "device_type": "The device's type when the reading came",
    "location": "Where the device stood when the reading came",
    "voltage": "Voltage",
    "current": "Current",
    "power": "Real power",
    "temperature": "Temperature",
    "hour": "Hour of the day in the device's time zone, 0 to 23",
    "day_of_week": "Day of the week in the device's time zone, 0 is Monday",
    "is_weekend": "Saturday or Sunday in the device's time zone",
    "power_factor": "Real over apparent power, P / (V · I), or what the device says; null where it is not defined",
    CORRECTED: "Whether a correction changed a value of the row",
}
# The types of the columns that are not metrics. Every other column is a metric, of float64.
CONTEXT_TYPES: dict[str, pa.DataType] = {
    "timestamp": TIME,
    "device_id": pa.string(),
    "device_type": pa.string(),
    "location": pa.string(),
    "hour": pa.int8(),
    "day_of_week": pa.int8(),
    "is_weekend": pa.bool_(),
    CORRECTED: pa.bool_(),
}
APPARENT = ("voltage", "current", "power")
# Metrics that files may derive.
DERIVED = frozenset(["power_factor"])


def dataset_schema(metrics: Iterable[str]) -> pa.Schema:
    """The schema of a dataset with these metrics, without units."""
    return pa.schema([(name, CONTEXT_TYPES.get(name, pa.float64())) for name in _ordered(metrics)])


def _ordered(names: Iterable[str]) -> list[str]:
    """The columns of a dataset that has these metrics."""
    return [*(name for name in COLUMNS if name != CORRECTED), *sorted(set(names) - set(COLUMNS)), CORRECTED]


def dataset_table(readings: pa.Table, device: Device, site: ZoneInfo) -> pa.Table:
    """Readings as a dataset, with the units in the columns' metadata.

    Args:
        readings: the table of `TelemetryStore.read` with context.
        device: the device that sent them.
        site: the time zone of a device that names none.

    """
    metadata = DeviceMetadata.parse(device.metadata_json)
    zone = metadata.zone(site)
    local = readings["time"].cast(pa.timestamp("us", tz=zone.key))
    weekday = pc.day_of_week(local).cast(pa.int8())
    extras = set(readings.column_names).difference(["time", "power_factor", CORRECTED, *NAMED_METRICS, *CONTEXT.names])
    columns = {
        "timestamp": readings["time"].cast(TIME),
        "device_id": pa.repeat(pa.scalar(device.device_id), len(readings)),
        "device_type": readings["device_type"],
        "location": readings["location"],
        **{name: readings[name] for name in NAMED_METRICS},
        "hour": pc.hour(local).cast(pa.int8()),
        "day_of_week": weekday,
        "is_weekend": pc.greater_equal(weekday, 5),
        "power_factor": power_factor(readings),
        CORRECTED: pa.repeat(pa.scalar(value=False), len(readings)),
        **{name: readings[name] for name in extras},
    }
    return with_units(pa.table(columns).replace_schema_metadata({"timezone": zone.key}), metadata)


def with_units(table: pa.Table, metadata: DeviceMetadata) -> pa.Table:
    """The table with its columns in the dataset's order and their known units as field metadata."""
    table = with_flag(table)
    units = {**{name: counter.unit for name, counter in metadata.counters.items()}, **UNITS}
    names = _ordered(table.column_names)
    fields = [
        pa.field(name, table.schema.field(name).type, metadata={"unit": units[name]} if name in units else None)
        for name in names
    ]
    return pa.table([table[name] for name in names], schema=pa.schema(fields, metadata=table.schema.metadata))


def with_flag(table: pa.Table) -> pa.Table:
    """The table with the column `CORRECTED`, which files of earlier releases lack."""
    if CORRECTED in table.column_names:
        return table
    return table.append_column(CORRECTED, pa.repeat(pa.scalar(value=False), len(table)))


def power_factor(readings: pa.Table) -> pa.ChunkedArray:
    """Real over apparent power, P / (V · I), or the device's own value if it sends one.

    Null if the apparent power is 0 or the quotient lies outside 0 to MAX_POWER_FACTOR.
    """
    derived = _derived_power_factor(readings)
    return pc.coalesce(readings["power_factor"], derived) if "power_factor" in readings.column_names else derived


def with_corrections(table: pa.Table, time: str, corrections: Corrections) -> pa.Table:
    """Raw readings or rows of a dataset, corrected, with the column `CORRECTED`; `time` names the ascending column.

    A power factor that was derived from corrected values is derived again, or null where the table lacks one of these.
    """
    corrected = corrections.of_table(table, time)
    if "power_factor" not in table.column_names or not any(corrections.pieces(name) for name in APPARENT):
        return corrected
    own, changed = table["power_factor"], corrected[CORRECTED]
    if not set(APPARENT) <= set(table.column_names):
        factor = pc.if_else(changed, pa.scalar(None, pa.float64()), own)
    else:
        was = _derived_power_factor(table)
        is_derived = pc.or_(pc.fill_null(pc.equal(own, was), fill_value=False), pc.is_null(own))
        factor = pc.if_else(pc.and_(changed, is_derived), _derived_power_factor(corrected), own)
    at = table.column_names.index("power_factor")
    return corrected.set_column(at, table.schema.field(at), factor)


def _derived_power_factor(readings: pa.Table) -> pa.ChunkedArray:
    apparent = pc.multiply(readings["voltage"], readings["current"])
    quotient = pc.divide(readings["power"], pc.if_else(pc.equal(apparent, 0), None, apparent))
    is_defined = pc.and_(pc.greater_equal(quotient, 0), pc.less_equal(quotient, MAX_POWER_FACTOR))
    return pc.if_else(is_defined, quotient, pa.scalar(None, pa.float64()))


def metric_names(table: pa.Table) -> list[str]:
    """The dataset's columns that are metrics."""
    return [name for name in table.column_names if name not in CONTEXT_TYPES]


def metric_statistics(table: pa.Table) -> dict[str, dict[str, float]]:
    """Count, minimum, maximum and sum of every metric that has a value."""
    every = {name: MetricStatistics.of(table[name]) for name in metric_names(table)}
    return {name: asdict(statistics) for name, statistics in every.items() if statistics}


def hourly_statistics(table: pa.Table, start: int, metrics: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
    """Count, minimum, maximum and sum of the metrics for each of the 24 UTC hours of a day.

    `timestamp` has the count of readings alone. Minimum and maximum are None in hours without values. `start` is the
    day's beginning in microseconds.
    """
    hours = (table["timestamp"].cast(pa.int64()).to_numpy() - start) // HOUR
    statistics: dict[str, dict[str, list[Any]]] = {"timestamp": {"count": np.bincount(hours, minlength=HOURS).tolist()}}
    for name in metrics:
        column = table[name].to_numpy()
        is_finite = np.isfinite(column)
        values, at = column[is_finite], hours[is_finite]
        count = np.bincount(at, minlength=HOURS)
        low, high = np.full(HOURS, np.inf), np.full(HOURS, -np.inf)
        np.minimum.at(low, at, values)
        np.maximum.at(high, at, values)
        known = count > 0
        statistics[name] = {
            "count": count.tolist(),
            "min": [v if k else None for v, k in zip(low.tolist(), known, strict=True)],
            "max": [v if k else None for v, k in zip(high.tolist(), known, strict=True)],
            "sum": np.bincount(at, weights=values, minlength=HOURS).tolist(),
        }
    return statistics
