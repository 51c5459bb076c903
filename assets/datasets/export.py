"""Datasets: a device's telemetry of whole UTC days as one Parquet file, the same bytes for the same readings.

An export may die anywhere, and two may meet. In this order nothing is missing, double or half:

1. the device-day is locked, its mark in the ledger cleared but claimed (`ledger.exporting`);
2. the readings are read;
3. the file that stands there is kept as a version, if a result was made from it;
4. the new file replaces it, atomically;
5. the catalogue's row and the checkpoint are written and the claim is given up, in one transaction.

Dying before 5 leaves the claim, so that the next tick makes the day again. A reader of the new file with the old row
notices by its hash.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlmodel import Session

from assets.datasets.columns import COLUMNS, HOURS, dataset_table, hourly_statistics, metric_statistics, with_units
from assets.energy.quarters import day_energy
from assets.quality.checks import check_day
from assets.quality.settings import QualitySettings
from storage import catalogue, checkpoints, dirty_days
from storage.catalogue import Dataset
from storage.devices import Device, DeviceMetadata
from storage.objects import AlreadyThere, ObjectStore
from storage.stores import Stores
from storage.times import HOUR, microseconds, midnight, utc_now

COMPRESSION, ROW_GROUP = "snappy", 100_000
REREADS = 5
Used = TypeVar("Used")


@dataclass(frozen=True)
class Exported:
    """What became of one file; `changed` is False when it stood there already with the same content."""

    dataset: Dataset
    changed: bool


class NoTelemetry(Exception):
    """There are no readings to make a dataset of."""


class DatasetReplaced(Exception):
    """A file is not the one that the catalogue's row told of: it is just being made again. Choose anew."""


def dataset_key(device_id: str, start: date, end: date) -> str:
    """The object key of a file over days, both inclusive."""
    return f"datasets/{device_id}/{start:%Y%m%d}_{end:%Y%m%d}.parquet"


def export_day(stores: Stores, device_id: str, day: date) -> Exported | None:
    """Bring a device's file of one UTC day up to date; None where the day holds no readings."""
    session, key = stores.session, dataset_key(device_id, day, day)
    try:
        with dirty_days.exporting(session, device_id, day) as claim:
            readings = _fetch(stores, device_id, day)
            device = device_of(stores.session, device_id)
            table = dataset_table(readings, device, stores.zone)
            standing = catalogue.current(session, key)
            if standing and claim.expired:
                table = _joined(read(stores.objects, [standing]), table, device)
            if not len(table):
                dirty_days.forget_day(session, device_id, day)
                return None
            content = parquet(table)
            made = _row(stores, table, content, day, tenant_id=device.tenant_id)
            _describe_day(made, table, device, readings, first_day=claim.first_day)
            return keep(stores, made, content, standing)
    except Exception as error:
        session.rollback()
        checkpoints.note_failure(session, device_id, key, f"{type(error).__name__}: {error}")
        session.commit()
        raise


def load(
    stores: Stores, choose: Callable[[], list[Dataset]], columns: list[str] | None = None
) -> tuple[list[Dataset], pa.Table]:
    """The datasets that `choose` finds in the catalogue, with their rows; see `chosen`."""
    return chosen(stores, choose, lambda found: read(stores.objects, found, columns))


def chosen(
    stores: Stores, choose: Callable[[], list[Dataset]], use: Callable[[list[Dataset]], Used]
) -> tuple[list[Dataset], Used]:
    """What `choose` finds in the catalogue, and what `use` makes of it; once more when one is replaced meanwhile.

    Raises:
        DatasetReplaced: again and again; an export that died before its last step is mended within a minute.

    """
    for _ in range(REREADS):
        found = choose()
        try:
            return found, use(found)
        except DatasetReplaced as error:
            replaced = error
            stores.session.rollback()  # what the catalogue says now, not what it said
    raise replaced


def read(objects: ObjectStore, datasets: Iterable[Dataset], columns: list[str] | None = None) -> pa.Table:
    """The datasets' rows in one table, in the order given; a metric that one of them lacks is null there.

    Raises:
        DatasetReplaced: a file is not the one of its row.

    """
    parts = [_table(objects, dataset, columns) for dataset in datasets]
    return pa.concat_tables(parts, promote_options="default") if parts else pa.table({})


def days_between(start: date, end: date) -> Iterator[date]:
    """Every day of a range, both ends inclusive."""
    return (start + timedelta(days=i) for i in range((end - start).days + 1))


def _table(objects: ObjectStore, dataset: Dataset, columns: list[str] | None) -> pa.Table:
    try:
        content = objects.get(dataset.object_key)
    except KeyError:
        raise DatasetReplaced(f"{dataset.object_key} is not there any more") from None
    if hashlib.sha256(content).hexdigest() != dataset.sha256:
        raise DatasetReplaced(f"{dataset.object_key} is just being made again; try again in a minute")
    absent = set(columns or ()) - set(COLUMNS) - set(dataset.metrics)
    wanted = None if columns is None else [name for name in columns if name not in absent]
    return pq.read_table(pa.BufferReader(content), columns=wanted)


def device_of(session: Session, device_id: str) -> Device:
    """What the registry has, or one that says nothing."""
    return session.get(Device, device_id) or Device(device_id=device_id, device_name="", device_type="")


def _fetch(stores: Stores, device_id: str, day: date) -> pa.Table:
    """The day's readings, about `fetch_rows` at a time in whole hours: how many those are, the hours before tell."""
    parts: list[pa.Table] = []
    hour = fetched = 0
    width = 1
    while hour < HOURS:
        until = min(hour + width, HOURS)
        start = microseconds(midnight(day))
        part = stores.telemetry.read(device_id, start + hour * HOUR, start + until * HOUR, context=True)
        parts.append(part)
        fetched += len(part)
        hour = until
        width = max(1, stores.fetch_rows * hour // fetched if fetched else 2 * width)
    return pa.concat_tables(parts, promote_options="default")


def _joined(standing: pa.Table, newer: pa.Table, device: Device) -> pa.Table:
    """A file whose readings the telemetry store gave up, with what came since; the newer one of equal times."""
    kept = standing.filter(pc.invert(pc.is_in(standing["timestamp"], newer["timestamp"])))
    both = pa.concat_tables([kept, newer], promote_options="default").sort_by("timestamp")
    zone = newer.schema.metadata
    return with_units(both.replace_schema_metadata(zone), DeviceMetadata.parse(device.metadata_json))


def _row(stores: Stores, table: pa.Table, content: bytes, day: date, *, tenant_id: str | None) -> Dataset:
    device_id = table["device_id"][0].as_py()
    return Dataset(
        key=dataset_key(device_id, day, day),
        kind="day",
        device_id=device_id,
        tenant_id=tenant_id,
        start_date=day,
        end_date=day,
        first_at=table["timestamp"][0].as_py(),
        last_at=table["timestamp"][-1].as_py(),
        rows=len(table),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        metrics=metric_statistics(table),
        run_id=stores.run_id,
        created_at=utc_now(),
    )


def _describe_day(made: Dataset, table: pa.Table, device: Device, readings: pa.Table, *, first_day: bool) -> None:
    """Statistics by the hour, energy by the quarter, and checks once the day is over."""
    metadata, day, start = (
        DeviceMetadata.parse(device.metadata_json),
        made.start_date,
        microseconds(midnight(made.start_date)),
    )
    made.hourly = hourly_statistics(table, start, made.metrics)
    made.energy = day_energy(table, day, metadata.counters)
    if day < utc_now().date():
        thresholds = QualitySettings.load().thresholds
        made.checks = check_day(table, start, metadata, thresholds, readings, first_day=first_day)


def keep(stores: Stores, made: Dataset, content: bytes | Path, standing: Dataset | None) -> Exported:
    """Write the file in the place of the one that stands there, then enter it. The caller commits."""
    same = standing is not None and standing.sha256 == made.sha256
    version = None if standing is None or same else _version(stores, standing)
    if not (same and _stands(stores.objects, made)):
        stores.objects.put(made.key, content)
    dataset = catalogue.record(stores.session, made, standing, version_key=version)
    stores.session.flush()
    checkpoints.note_export(stores.session, dataset)
    return Exported(dataset, changed=not same)


def _version(stores: Stores, standing: Dataset) -> str | None:
    """Keep the file that is about to be replaced, if a result was made from it; where it is kept."""
    if not catalogue.is_used(stores.session, standing):
        return None
    key, objects = f"versions/{standing.sha256}.parquet", stores.objects
    try:
        objects.head(key)
    except KeyError:
        content = objects.get(standing.key)
        if hashlib.sha256(content).hexdigest() != standing.sha256:
            return None  # an export died after it had replaced the file, when nothing was made from it yet
        with suppress(AlreadyThere):
            objects.create(key, content)
    return key


def _stands(objects: ObjectStore, dataset: Dataset) -> bool:
    try:
        return objects.head(dataset.key).size == dataset.bytes
    except KeyError:
        return False


def parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file: Snappy, sorted as it is, equal bytes for equal tables."""
    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression=COMPRESSION, row_group_size=ROW_GROUP)
    return sink.getvalue()
