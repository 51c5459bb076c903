"""Datasets: a device's telemetry of whole UTC days as one Parquet file, the same bytes for the same readings."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlmodel import Session

from storage import catalogue
from storage.catalogue import Dataset
from storage.database import utc_now
from storage.devices import NAMED_METRICS, UNITS, Device, DeviceMetadata
from storage.objects import ObjectStore
from storage.telemetry import CONTEXT, TIME, TelemetryStore, microseconds

ROW_GROUP = 100_000
HIGHEST_POWER_FACTOR = 1.05  # what rounding of V, I and P may make of a true 1.0


@dataclass(frozen=True)
class Workshop:
    """What the makers of assets work with. `zone` is the site's, for devices that name none."""

    session: Session
    telemetry: TelemetryStore
    objects: ObjectStore
    zone: ZoneInfo
    run_id: str | None = None


@dataclass(frozen=True)
class Exported:
    """What became of one file; `changed` is False when it stood there already with the same content."""

    dataset: Dataset
    changed: bool


class NoTelemetry(Exception):
    """There are no readings to make a dataset of."""


def dataset_key(device_id: str, start: date, end: date) -> str:
    """The object key of a file over days, both inclusive."""
    return f"datasets/{device_id}/{start:%Y%m%d}_{end:%Y%m%d}.parquet"


def export_day(workshop: Workshop, device_id: str, day: date) -> Exported | None:
    """Bring a device's file of one UTC day up to date; None where the day holds no readings."""
    with catalogue.exporting(workshop.session, device_id, day):
        start = microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))
        end = start + 86_400_000_000
        readings = workshop.telemetry.read(device_id, start, end, context=True)
        if not len(readings):
            return None
        table = _dataset(readings, _device(workshop, device_id), workshop.zone)
        return _keep(workshop, table, device_id, (day, day), kind="day")


def export_range(workshop: Workshop, device_id: str, start: date, end: date) -> Exported:
    """One file over a range of days, both inclusive, made of the days' files.

    Raises:
        NoTelemetry: no day of the range has a file.

    """
    days = catalogue.datasets_of(workshop.session, device_id, start=start, end=end, kind="day")
    if not days:
        raise NoTelemetry(f"{device_id} has no readings from {start} to {end}")
    if start == end:
        return Exported(days[0], changed=False)
    return _keep(workshop, read(workshop.objects, days), device_id, (start, end), kind="range")


def read(objects: ObjectStore, datasets: Iterable[Dataset], columns: list[str] | None = None) -> pa.Table:
    """The datasets' rows in one table, in the order given; a metric that one of them lacks is null there."""
    parts = [pq.read_table(pa.BufferReader(objects.get(d.key)), columns=_present(d, columns)) for d in datasets]
    return pa.concat_tables(parts, promote_options="default")


def days_between(start: date, end: date) -> Iterator[date]:
    """Every day of a range, both ends inclusive."""
    return (start + timedelta(days=i) for i in range((end - start).days + 1))


def _present(dataset: Dataset, columns: list[str] | None) -> list[str] | None:
    if columns is None:
        return None
    absent = set(columns) - set(_FIXED) - set(dataset.metrics)
    return [name for name in columns if name not in absent]


_FIXED = ("timestamp", "device_id", "device_type", "location", *NAMED_METRICS, "hour", "day_of_week", "is_weekend",
          "power_factor")  # fmt: skip


def _device(workshop: Workshop, device_id: str) -> Device:
    return workshop.session.get(Device, device_id) or Device(device_id=device_id, device_name="", device_type="")


def _dataset(readings: pa.Table, device: Device, site: ZoneInfo) -> pa.Table:
    """The handover's twelve columns, then further metrics by name; units stand in the columns' metadata."""
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
    units = {**{name: counter.unit for name, counter in metadata.counters.items()}, **UNITS}
    fields = [
        pa.field(name, column.type, metadata={"unit": units[name]} if name in units else None)
        for name, column in columns.items()
    ]
    return pa.table(list(columns.values()), schema=pa.schema(fields, metadata={"timezone": zone.key}))


def power_factor(readings: pa.Table) -> pa.ChunkedArray:
    """Real over apparent power, P / (V · I); a device's own figure comes first. Null where it is not defined."""
    apparent = pc.multiply(readings["voltage"], readings["current"])
    quotient = pc.divide(readings["power"], pc.if_else(pc.equal(apparent, 0), None, apparent))
    defined = pc.and_(pc.greater_equal(quotient, 0), pc.less_equal(quotient, HIGHEST_POWER_FACTOR))
    derived = pc.if_else(defined, quotient, pa.scalar(None, pa.float64()))
    return pc.coalesce(readings["power_factor"], derived) if "power_factor" in readings.column_names else derived


def _keep(workshop: Workshop, table: pa.Table, device_id: str, days: tuple[date, date], *, kind: str) -> Exported:
    """Write the file, then enter it; dying between the two leaves the new file, which the next export enters."""
    content = parquet(table)
    key = dataset_key(device_id, *days)
    made = Dataset(
        key=key,
        kind=kind,
        device_id=device_id,
        tenant_id=_device(workshop, device_id).tenant_id,
        start_date=days[0],
        end_date=days[1],
        rows=len(table),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        metrics=metric_statistics(table),
        run_id=workshop.run_id,
        created_at=utc_now(),
    )
    workshop.objects.put(key, content)
    dataset = catalogue.record(workshop.session, made)
    workshop.session.flush()
    catalogue.checkpoint(workshop.session, dataset)
    workshop.session.commit()
    return Exported(dataset, changed=dataset.created_at == made.created_at)


def parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file: Snappy, sorted as it is, equal bytes for equal tables."""
    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression="snappy", row_group_size=ROW_GROUP)
    return sink.getvalue()


def metric_statistics(table: pa.Table) -> dict[str, dict[str, float]]:
    """Count, minimum, maximum and sum of every metric that has a value, for the catalogue."""
    found = {}
    for name in (n for n in table.column_names if n in (*NAMED_METRICS, "power_factor") or n not in _FIXED):
        column = table[name]
        count = len(column) - column.null_count
        if count:
            bounds = pc.min_max(column).as_py()
            found[name] = {"count": count, "min": bounds["min"], "max": bounds["max"], "sum": pc.sum(column).as_py()}
    return found
