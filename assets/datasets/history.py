"""A device's datasets and their rows, as analyses and reports read them.

Datasets are selected in the catalogue, never by listing the object store.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from sqlmodel import Session

from assets.datasets.export import NoTelemetry
from assets.datasets.files import read, reread_if_replaced
from assets.datasets.means import grid_of, means_over
from storage import catalogue, dirty_days, retained
from storage.catalogue import Dataset
from storage.stores import Stores

MAX_NAMED_ERRORS = 3


class UnfitDatasets(Exception):
    """Quality checks found errors in all days of the datasets; the message names them."""


@dataclass(frozen=True)
class LeftOutDay:
    """A day that is not used, since quality checks found errors in it; `reason` names the checks."""

    day: date
    reason: str


@reread_if_replaced
def read_history(
    stores: Stores,
    device_id: str,
    *,
    key: str | None = None,
    start: date | None = None,
    end: date | None = None,
    with_errors: bool = False,
    as_means: bool = False,
    metrics: Sequence[str] | None = None,
) -> tuple[list[Dataset], pa.Table, list[LeftOutDay]]:
    """One dataset by its key, or the day files of a range, with their rows ascending in time.

    With `as_means`, rows that are too many for an analysis of these metrics, by default of all, are means over a grid
    (`assets.datasets.means`).

    Days in which quality checks found errors are left out, and named beside the rows, unless `with_errors` is True.

    Raises:
        NoTelemetry: there is no such dataset; the message says how to make one.
        UnfitDatasets: there are errors in all days.

    """
    datasets = select_datasets(stores.session, device_id, key=key, start=start, end=end)
    grid = grid_of(datasets, metrics) if as_means else None
    rows = read if grid is None else partial(read, prepare=partial(means_over, grid=grid))
    if with_errors:
        return datasets, rows(stores.objects, datasets), []
    days = [day for dataset in datasets for day in _days_of(stores.session, dataset)]
    left_out = [LeftOutDay(day.start_date, reason) for day in days if (reason := _errors(day))]
    if left_out and len(left_out) == len(days):
        raise UnfitDatasets(
            f"Quality checks found errors in all days: {days_in_words(left_out)}. Correct the readings, change"
            ' QUALITY_THRESHOLDS, or set "with_errors": true in the parameters to use the days anyway.'
        )
    unfit = {day.day for day in left_out}
    used = [dataset for dataset in datasets if dataset.kind != "day" or dataset.start_date not in unfit]
    return used, _without(rows(stores.objects, used), unfit), left_out


def days_in_words(days: list[LeftOutDay]) -> str:
    """The first days with their reasons, and how many more there are."""
    more = f" and {len(days) - MAX_NAMED_ERRORS} more" if len(days) > MAX_NAMED_ERRORS else ""
    return "; ".join(f"{day.day} {day.reason}" for day in days[:MAX_NAMED_ERRORS]) + more


@dataclass(frozen=True)
class DayRows:
    """The rows of a range of days, ascending in time, and the files that they were read from.

    `days` are the day files among these. `from_wider` are days whose own file retention deleted, and which a month's
    or another file over several days still holds; `removed` are those that no file holds any more.
    """

    rows: pa.Table
    datasets: list[Dataset]
    days: list[Dataset]
    from_wider: list[date]
    removed: list[date]


@reread_if_replaced
def read_days(stores: Stores, device_id: str, start: date, end: date) -> DayRows:
    """The rows of a range of days, both ends inclusive, of deleted day files from a file over several days."""
    days = catalogue.datasets_of(stores.session, device_id, start=start, end=end, kind="day")
    tables, datasets = [read(stores.objects, days)], list(days)
    lacking = retained.removed_days(stores.session, device_id, start, end)
    from_wider: set[date] = set()
    for wider in retained.covering(stores.session, device_id, start, end) if lacking else ():
        held = {day for day in lacking if wider.start_date <= day <= wider.end_date}
        if held:
            tables.append(_of_days(read(stores.objects, [wider]), held))
            datasets.append(wider)
            from_wider |= held
            lacking -= held
    tables = [table for table in tables if len(table)]
    rows = pa.concat_tables(tables, promote_options="default") if tables else pa.table({})
    rows = rows.sort_by("timestamp") if from_wider and len(rows) else rows
    return DayRows(rows, datasets, days, sorted(from_wider), sorted(lacking))


def select_datasets(
    session: Session, device_id: str, *, key: str | None = None, start: date | None = None, end: date | None = None
) -> list[Dataset]:
    """One dataset by its key, or the day files of a range.

    Raises:
        NoTelemetry: there is no such dataset; the message says how to make one.

    """
    if key is not None:
        dataset = catalogue.current(session, key)
        if dataset is None or dataset.device_id != device_id:
            raise NoTelemetry(
                f"{device_id} has no dataset {key}. GET /api/v1/analytics/datasets lists the datasets of a device."
            )
        return [dataset]
    days = catalogue.datasets_of(session, device_id, start=start, end=end, kind="day")
    if not days:
        if dirty_days.unknown_devices(session, [device_id]):
            raise NoTelemetry(f"There is no device {device_id}, and no telemetry from it.")
        period = f" from {start} to {end}" if start else ""
        raise NoTelemetry(f"{device_id} has no dataset{period}. POST /api/v1/exports/run makes one.")
    return days


def provenance(datasets: list[Dataset]) -> list[dict[str, object]]:
    """The files that a result was made from, so that it can be reproduced."""
    return [{"key": d.key, "sha256": d.sha256, "rows": d.rows} for d in datasets]


def _errors(day: Dataset) -> str:
    """The checks that found errors in a day's file, with what they found; empty if there are none."""
    checks = (day.checks or {}).items()
    return ", ".join(f"{kind} ({check['detail']})" for kind, check in checks if check["status"] == "error")


def _without(table: pa.Table, days: Collection[date]) -> pa.Table:
    """The rows of other days."""
    if not days or not len(table):
        return table
    return table.filter(pc.invert(_lie_on(table, days)))


def _of_days(table: pa.Table, days: Collection[date]) -> pa.Table:
    """The rows of these days."""
    return table.filter(_lie_on(table, days))


def _lie_on(table: pa.Table, days: Collection[date]) -> pa.ChunkedArray:
    of_rows = pc.cast(table["timestamp"], pa.date32())
    return pc.is_in(of_rows, pa.array(sorted(days), pa.date32()))


def _days_of(session: Session, dataset: Dataset) -> list[Dataset]:
    """The day files that a file was made from; a day's file itself."""
    if dataset.kind == "day":
        return [dataset]
    return catalogue.datasets_of(session, dataset.device_id, start=dataset.start_date, end=dataset.end_date, kind="day")
