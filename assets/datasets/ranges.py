"""One file over several days of a device, made from the files of its days: a month, or any requested range.

The rows pass through memory day by day, so memory does not grow with the range.
"""

import hashlib
from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import date
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from assets.datasets.columns import COLUMNS, with_flag, with_units
from assets.datasets.export import Exported, NoTelemetry, device_of, replace_file
from assets.datasets.files import COMPRESSION, ROW_GROUP, dataset_key, raw_file, read, reread_if_replaced
from storage import catalogue, dirty_days
from storage.catalogue import Dataset
from storage.devices import DeviceMetadata
from storage.stores import Stores
from storage.telemetry import add_metrics
from storage.times import utc_now


def export_range(
    stores: Stores, device_id: str, start: date, end: date, *, kind: Literal["range", "month"] = "range"
) -> Exported:
    """Write one file over a range of days, both inclusive, and commit; a range of one day is that day's file.

    Raises:
        NoTelemetry: no day of the range has a file.

    """
    session, key = stores.session, dataset_key(device_id, start, end)
    no_readings = NoTelemetry(f"{device_id} has no readings from {start} to {end}.")
    if start == end:
        day = catalogue.current(session, key)
        if day is None:
            raise no_readings
        return Exported(day, changed=False)
    with dirty_days.export_lock(session, key), TemporaryDirectory(prefix="energy-") as folder:
        file = Path(folder) / "range.parquet"
        days = _write_days(stores, device_id, start, end, file)
        if not days:
            raise no_readings
        new = _row(stores, days, file, start=start, end=end, kind=kind)
        exported = replace_file(stores, new, file, catalogue.current(session, key))
        session.commit()
        return exported


def export_month(stores: Stores, device_id: str, year: int, month: int) -> Exported | None:
    """Write one file over a month and commit; returns None if no day of the month has a file."""
    first = date(year, month, 1)
    try:
        return export_range(stores, device_id, first, last_of_month(first), kind="month")
    except NoTelemetry:
        return None


def last_of_month(day: date) -> date:
    return date(day.year, day.month, monthrange(day.year, day.month)[1])


@reread_if_replaced
def _write_days(stores: Stores, device_id: str, start: date, end: date, file: Path) -> list[Dataset]:
    """Write the rows of the range's day files into one file; returns the days."""
    days = catalogue.datasets_of(stores.session, device_id, start=start, end=end, kind="day")
    if not days:
        return []
    metadata = DeviceMetadata.parse(device_of(stores.session, device_id).metadata_json)
    # A metric of which corrections exclude every reading is a column of the day all the same.
    metrics = set().union(*(raw_file(day).metrics for day in days)) - set(COLUMNS)
    tables = (_with_metrics(read(stores.objects, [day]), metrics) for day in days)
    groups = (with_units(rows, metadata) for rows in _row_groups(tables))
    first = next(groups)  # the time zone is that of the first day
    with pq.ParquetWriter(file, first.schema, compression=COMPRESSION) as writer:
        for group in chain([first], groups):
            writer.write_table(group.cast(first.schema), row_group_size=ROW_GROUP)
    return days


def _with_metrics(table: pa.Table, metrics: Iterable[str]) -> pa.Table:
    """The table with all columns that the range has; metrics that it lacks are null."""
    for name in set(metrics).difference(table.column_names):
        table = table.append_column(name, pa.nulls(len(table), pa.float64()))
    return with_flag(table)


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of the tables in tables of ROW_GROUP rows; the last one may be shorter."""
    pending: pa.Table | None = None
    for table in tables:
        pending = table if pending is None else pa.concat_tables([pending, table.select(pending.column_names)])
        while len(pending) >= ROW_GROUP:
            yield pending.slice(0, ROW_GROUP).combine_chunks()
            pending = pending.slice(ROW_GROUP)
    if pending is not None and len(pending):
        yield pending.combine_chunks()


def _row(stores: Stores, days: list[Dataset], file: Path, *, start: date, end: date, kind: str) -> Dataset:
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return Dataset(
        key=dataset_key(days[0].device_id, start, end),
        kind=kind,
        device_id=days[0].device_id,
        tenant_id=days[-1].tenant_id,
        start_date=start,
        end_date=end,
        rows=sum(day.rows for day in days),
        bytes=file.stat().st_size,
        sha256=sha256,
        metrics={name: asdict(total) for name, total in add_metrics(day.statistics for day in days).items()},
        run_id=stores.run_id,
        created_at=utc_now(),
    )
