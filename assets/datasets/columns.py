"""What a dataset's columns are: how they are made from readings, their units, what is known of them by the hour."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.devices import NAMED_METRICS, UNITS, Device, DeviceMetadata
from storage.telemetry import CONTEXT, TIME
from storage.times import DAY, HOUR

MAX_POWER_FACTOR = 1.05  # what rounding of V, I and P may make of a true 1.0
HOURS = DAY // HOUR

# The handover's twelve columns, in their order; further metrics follow by name.
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
}


def dataset_table(readings: pa.Table, device: Device, site: ZoneInfo) -> pa.Table:
    """The readings (`TelemetryStore.read` with context) as a dataset; units stand in the columns' metadata.

    `site` is the zone of devices that name none.
    """
    metadata = DeviceMetadata.parse(device.metadata_json)
    zone = metadata.zone(site)
    local = readings["time"].cast(pa.timestamp("us", tz=zone.key))
    weekday = pc.day_of_week(local).cast(pa.int8())
    extras = [n for n in readings.column_names if n not in ("time", "power_factor", *NAMED_METRICS, *CONTEXT.names)]
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
        **{name: readings[name] for name in extras},
    }
    return with_units(pa.table(columns).replace_schema_metadata({"timezone": zone.key}), metadata)


def with_units(table: pa.Table, metadata: DeviceMetadata) -> pa.Table:
    """The same with the columns in their order and what is known of their units beside them."""
    units = {**{name: counter.unit for name, counter in metadata.counters.items()}, **UNITS}
    names = [*COLUMNS, *sorted(set(table.column_names) - set(COLUMNS))]
    fields = [
        pa.field(name, table.schema.field(name).type, metadata={"unit": units[name]} if name in units else None)
        for name in names
    ]
    return pa.table([table[name] for name in names], schema=pa.schema(fields, metadata=table.schema.metadata))


def power_factor(readings: pa.Table) -> pa.ChunkedArray:
    """Real over apparent power, P / (V · I); a device's own figure comes first. Null where it is not defined."""
    apparent = pc.multiply(readings["voltage"], readings["current"])
    quotient = pc.divide(readings["power"], pc.if_else(pc.equal(apparent, 0), None, apparent))
    defined = pc.and_(pc.greater_equal(quotient, 0), pc.less_equal(quotient, MAX_POWER_FACTOR))
    derived = pc.if_else(defined, quotient, pa.scalar(None, pa.float64()))
    return pc.coalesce(readings["power_factor"], derived) if "power_factor" in readings.column_names else derived


def metric_names(table: pa.Table) -> list[str]:
    """The dataset's columns that measure something."""
    return [n for n in table.column_names if n in (*NAMED_METRICS, "power_factor") or n not in COLUMNS]


def metric_statistics(table: pa.Table) -> dict[str, dict[str, float]]:
    """Count, minimum, maximum and sum of every metric that has a value."""
    found = {}
    for name in metric_names(table):
        column = table[name]
        count = len(column) - column.null_count
        if count:
            bounds = pc.min_max(column).as_py()
            found[name] = {"count": count, "min": bounds["min"], "max": bounds["max"], "sum": pc.sum(column).as_py()}
    return found


def hourly_statistics(table: pa.Table, start: int, metrics: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """The same of each of the day's 24 hours UTC, `start` being its beginning in microseconds; null without a value."""
    hours = (table["timestamp"].cast(pa.int64()).to_numpy() - start) // HOUR
    found = {}
    for name in metrics:
        values = table[name].to_numpy()
        there = np.isfinite(values)
        values, at = values[there], hours[there]
        count = np.bincount(at, minlength=HOURS)
        low, high = np.full(HOURS, np.inf), np.full(HOURS, -np.inf)
        np.minimum.at(low, at, values)
        np.maximum.at(high, at, values)
        known = count > 0
        found[name] = {
            "count": count.tolist(),
            "min": [v if k else None for v, k in zip(low.tolist(), known, strict=True)],
            "max": [v if k else None for v, k in zip(high.tolist(), known, strict=True)],
            "sum": np.bincount(at, weights=values, minlength=HOURS).tolist(),
        }
    return found
