"""Export: a device's telemetry of one UTC day becomes a Parquet file, with equal bytes for equal readings.

An export may die at any step, and two exports of the same day may meet. This order of steps loses nothing:

1. The device-day is locked, and its dirty mark becomes a claim, which is committed (`claimed_day`).
2. The readings and their corrections are read. If these change values, the file without them is kept below `raw/`, so
   that they can be undone when retention has deleted the readings.
3. The current file is copied to `versions/` if a result was made from it.
4. The new file replaces the current one, atomically.
5. One transaction writes the catalogue row and the checkpoint, and releases the claim. Then the lock ends.

An export that dies before step 5 leaves its claim, so the day is exported again. A reader that finds the new file with
the old row notices the different hash. The order needs commits in between, so `export_day` commits by itself.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlmodel import Session

from assets.datasets.columns import (
    HOURS,
    dataset_table,
    hourly_statistics,
    metric_statistics,
    with_corrections,
    with_units,
)
from assets.datasets.energy import ONE_DAY, energy_json
from assets.datasets.files import dataset_key, parquet, raw_file, read_bytes, table_of
from assets.energy.corrections import Corrections
from assets.energy.kept import steps_in
from assets.quality.checks import check_day
from assets.quality.settings import QualitySettings
from storage import catalogue, checkpoints, corrections, dirty_days
from storage.catalogue import Dataset
from storage.devices import Device, DeviceMetadata
from storage.objects import AlreadyThere, ObjectStore
from storage.stores import Stores
from storage.times import HOUR, microseconds, midnight, utc_now


@dataclass(frozen=True)
class Exported:
    """An exported file; `changed` is False if it existed already with the same content."""

    dataset: Dataset
    changed: bool


class NoTelemetry(Exception):
    """There are no readings for a dataset; the message says what to do."""


def export_day(stores: Stores, device_id: str, day: date) -> Exported | None:
    """Export a device's UTC day and commit; returns None if the day has no readings."""
    session, key = stores.session, dataset_key(device_id, day, day)
    try:
        with claimed_day(session, device_id, day) as claim:
            readings = _fetch(stores, device_id, day)
            device = device_of(session, device_id)
            current = catalogue.current(session, key)
            raw = _DayTable.of(dataset_table(readings, device, stores.zone))
            if current and claim.expired:
                raw = _with_late(stores, current, raw.table, device)
            if not len(raw.table):
                dirty_days.forget_day(session, device_id, day)
                return None
            known = Corrections(corrections.active(session, device_id))
            name = known.name_of(microseconds(midnight(day)))
            corrected = raw if name is None else _DayTable.of(_corrected(raw.table, known, device))
            new = _day_row(
                stores, device, day, raw=raw, corrected=corrected, readings=readings, known=known, claim=claim
            )
            former = current.raw["key"] if current and current.raw else None
            exported = replace_file(stores, new, corrected.content, current)
    except Exception as error:
        session.rollback()
        checkpoints.note_failure(session, device_id, key, f"{type(error).__name__}: {error}")
        session.commit()
        raise
    if former is not None and former != (new.raw or {}).get("key"):
        stores.objects.delete(former)
    return exported


@dataclass(frozen=True)
class _DayTable:
    """The rows of a day, and their file."""

    table: pa.Table
    content: bytes

    @classmethod
    def of(cls, table: pa.Table) -> "_DayTable":
        return cls(table, parquet(table))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@contextmanager
def claimed_day(session: Session, device_id: str, day: date) -> Iterator[dirty_days.Claim]:
    """Hold the lock and the claim of a device-day while the block exports it; read telemetry only inside the block.

    What the block leaves uncommitted is committed together with the end of the claim, or rolled back if it raises.
    """
    with dirty_days.export_lock(session, f"{device_id}/{day}"):
        try:
            claim = dirty_days.claim_day(session, device_id, day)
            session.commit()
            yield claim
            dirty_days.release_claim(session, device_id, day)
            session.commit()
        finally:
            session.rollback()


def days_between(start: date, end: date) -> Iterator[date]:
    """Every day from start to end, both inclusive."""
    return (start + timedelta(days=i) for i in range((end - start).days + 1))


def rows_of_day(stores: Stores, device_id: str, day: date) -> pa.Table:
    """The rows that a file of a device's UTC day would have now, with corrections; the store must have its readings."""
    device = device_of(stores.session, device_id)
    raw = dataset_table(_fetch(stores, device_id, day), device, stores.zone)
    known = Corrections(corrections.active(stores.session, device_id))
    return raw if known.name_of(microseconds(midnight(day))) is None else _corrected(raw, known, device)


def device_of(session: Session, device_id: str) -> Device:
    """The registered device, or a blank one if it is not registered."""
    return session.get(Device, device_id) or Device(device_id=device_id, device_name="", device_type="")


def _fetch(stores: Stores, device_id: str, day: date) -> pa.Table:
    """The day's readings, read in steps of whole hours.

    A step has about `fetch_rows` readings if the coming hours have as many as the hours before.
    """
    start = microseconds(midnight(day))
    parts: list[pa.Table] = []
    hour = rows = 0
    step = 1
    while hour < HOURS:
        end = min(hour + step, HOURS)
        part = stores.telemetry.read(device_id, start + hour * HOUR, start + end * HOUR, context=True)
        parts.append(part)
        rows += len(part)
        hour = end
        step = max(1, stores.fetch_rows * hour // rows) if rows else 2 * step
    return pa.concat_tables(parts, promote_options="default")


def _with_late(stores: Stores, dataset: Dataset, late: pa.Table, device: Device) -> _DayTable:
    """The rows of a file whose readings the store has deleted, and late readings; these replace rows of equal times."""
    content = read_bytes(stores.objects, raw_file(dataset))
    current = table_of(content)
    if not len(late):
        return _DayTable(current, content)
    kept = current.filter(pc.invert(pc.is_in(current["timestamp"], late["timestamp"])))
    rows = pa.concat_tables([kept, late], promote_options="default").sort_by("timestamp")
    zone = late.schema.metadata
    return _DayTable.of(with_units(rows.replace_schema_metadata(zone), DeviceMetadata.parse(device.metadata_json)))


def _corrected(raw: pa.Table, known: Corrections, device: Device) -> pa.Table:
    metadata = DeviceMetadata.parse(device.metadata_json)
    return with_units(with_corrections(raw, "timestamp", known), metadata)


def _day_row(
    stores: Stores,
    device: Device,
    day: date,
    *,
    raw: _DayTable,
    corrected: _DayTable,
    readings: pa.Table,
    known: Corrections,
    claim: dirty_days.Claim,
) -> Dataset:
    """The catalogue row of a day's file; quality is checked once the day is over."""
    metadata, start = DeviceMetadata.parse(device.metadata_json), microseconds(midnight(day))
    table = corrected.table
    metrics = metric_statistics(table)
    yesterday = catalogue.current(stores.session, dataset_key(device.device_id, day - ONE_DAY, day - ONE_DAY))
    before = yesterday.energy if yesterday else None
    checks = None
    if day < utc_now().date():
        thresholds = QualitySettings.load().thresholds
        steps = steps_in(before)
        checks = check_day(table, start, metadata, thresholds, readings, first_day=claim.first_day, before=steps)
    return Dataset(
        key=dataset_key(device.device_id, day, day),
        kind="day",
        device_id=device.device_id,
        tenant_id=device.tenant_id,
        start_date=day,
        end_date=day,
        first_at=table["timestamp"][0].as_py(),
        last_at=table["timestamp"][-1].as_py(),
        rows=len(table),
        bytes=len(corrected.content),
        sha256=corrected.sha256,
        metrics=metrics,
        hourly=hourly_statistics(table, start, metrics),
        energy=energy_json(raw.table, metadata, before, known),
        corrections=known.name_of(start),
        raw=None if corrected.content == raw.content else _kept_raw(stores, raw),
        checks=checks,
        run_id=stores.run_id,
        created_at=utc_now(),
    )


def _kept_raw(stores: Stores, raw: _DayTable) -> dict[str, Any]:
    """Keep the file without corrections, and return what the catalogue knows of it."""
    sha256 = raw.sha256
    key = f"raw/{sha256}.parquet"
    if _size(stores.objects, key) is None:
        stores.objects.put(key, raw.content)
    return {"key": key, "sha256": sha256, "bytes": len(raw.content), "metrics": metric_statistics(raw.table)}


def replace_file(stores: Stores, new: Dataset, content: bytes | Path, current: Dataset | None) -> Exported:
    """Store a new file in the place of the current one and record it in the catalogue. The caller commits."""
    is_same = current is not None and current.sha256 == new.sha256
    version_key = _keep_version(stores, current) if current is not None and not is_same else None
    if not is_same or _size(stores.objects, new.key) != new.bytes:
        stores.objects.put(new.key, content)
    dataset = catalogue.record(stores.session, new, current, version_key=version_key)
    stores.session.flush()
    checkpoints.note_export(stores.session, dataset)
    return Exported(dataset, changed=not is_same)


def _keep_version(stores: Stores, current: Dataset) -> str | None:
    """Copy a file that is about to be replaced to `versions/` if a result was made from it; returns the copy's key."""
    if not catalogue.is_used(stores.session, current):
        return None
    key = f"versions/{current.sha256}.parquet"
    if _size(stores.objects, key) is None:
        content = stores.objects.get(current.key)
        if hashlib.sha256(content).hexdigest() != current.sha256:
            return None  # an export died after it had replaced the file, before any result was made from it
        with suppress(AlreadyThere):
            stores.objects.create(key, content)
    return key


def _size(objects: ObjectStore, key: str) -> int | None:
    """The size of an object in bytes; None if it does not exist."""
    try:
        return objects.head(key).size
    except KeyError:
        return None
