"""One file over several days of a device, made of the days' files: a month, or a range that was asked for.

The rows pass through memory day by day, so that it does not matter how long the range is.
"""

import hashlib
from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from assets.datasets.columns import COLUMNS, with_units
from assets.datasets.export import (
    COMPRESSION,
    ROW_GROUP,
    Exported,
    NoTelemetry,
    chosen,
    dataset_key,
    device_of,
    keep,
    read,
)
from storage import catalogue, dirty_days
from storage.catalogue import Dataset
from storage.devices import DeviceMetadata
from storage.stores import Stores
from storage.times import utc_now


def export_range(
    stores: Stores, device_id: str, start: date, end: date, *, kind: Literal["range", "month"] = "range"
) -> Exported:
    """One file over a range of days, both inclusive; of one day it is that day's.

    Raises:
        NoTelemetry: no day of the range has a file.

    """
    session, key = stores.session, dataset_key(device_id, start, end)

    def days_of_range() -> list[Dataset]:
        return catalogue.datasets_of(session, device_id, start=start, end=end, kind="day")

    def write(found: list[Dataset]) -> None:
        if found and start < end:
            _write(stores, found, file)

    with dirty_days.writing(session, key), TemporaryDirectory(prefix="energy-") as folder:
        file = Path(folder) / "range.parquet"
        days, _ = chosen(stores, days_of_range, write)
        if not days:
            raise NoTelemetry(f"{device_id} has no readings from {start} to {end}")
        if start == end:
            return Exported(days[0], changed=False)
        exported = keep(stores, _row(stores, days, file, (start, end), kind), file, catalogue.current(session, key))
        session.commit()
        return exported


def export_month(stores: Stores, device_id: str, year: int, month: int) -> Exported | None:
    """A month's days in one file; None where no day of it has one."""
    first = date(year, month, 1)
    try:
        return export_range(stores, device_id, first, last_of_month(first), kind="month")
    except NoTelemetry:
        return None


def last_of_month(day: date) -> date:
    return date(day.year, day.month, monthrange(day.year, day.month)[1])


def _write(stores: Stores, days: list[Dataset], file: Path) -> None:
    metadata = DeviceMetadata.parse(device_of(stores.session, days[0].device_id).metadata_json)
    metrics = set().union(*(day.metrics for day in days)) - set(COLUMNS)
    of_days = (_complete(read(stores.objects, [day]), metrics) for day in days)
    groups = (with_units(rows, metadata) for rows in _row_groups(of_days))
    first = next(groups)  # the zone is the first day's
    with pq.ParquetWriter(file, first.schema, compression=COMPRESSION) as writer:
        for group in chain([first], groups):
            writer.write_table(group.cast(first.schema), row_group_size=ROW_GROUP)


def _complete(table: pa.Table, metrics: Iterable[str]) -> pa.Table:
    """The table with all the metrics; null where it lacks one."""
    for name in set(metrics).difference(table.column_names):
        table = table.append_column(name, pa.nulls(len(table), pa.float64()))
    return table


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, so many at a time as make a row group."""
    waiting: pa.Table | None = None
    for table in tables:
        waiting = table if waiting is None else pa.concat_tables([waiting, table.select(waiting.column_names)])
        while len(waiting) >= ROW_GROUP:
            yield waiting.slice(0, ROW_GROUP).combine_chunks()
            waiting = waiting.slice(ROW_GROUP)
    if waiting is not None and len(waiting):
        yield waiting.combine_chunks()


def _row(stores: Stores, days: list[Dataset], file: Path, range_: tuple[date, date], kind: str) -> Dataset:
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return Dataset(
        key=dataset_key(days[0].device_id, *range_),
        kind=kind,
        device_id=days[0].device_id,
        tenant_id=days[-1].tenant_id,
        start_date=range_[0],
        end_date=range_[1],
        rows=sum(day.rows for day in days),
        bytes=file.stat().st_size,
        sha256=sha256,
        metrics=_merged(day.metrics for day in days),
        run_id=stores.run_id,
        created_at=utc_now(),
    )


def _merged(parts: Iterable[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Count, minimum, maximum and sum of every metric over all days."""
    found: dict[str, dict[str, float]] = {}
    for name, new in (item for part in parts for item in part.items()):
        old = found.get(name, new | {"count": 0, "sum": 0.0})
        found[name] = {
            "count": old["count"] + new["count"],
            "min": min(old["min"], new["min"]),
            "max": max(old["max"], new["max"]),
            "sum": old["sum"] + new["sum"],
        }
    return found
