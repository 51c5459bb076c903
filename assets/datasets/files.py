"""The Parquet files of datasets: their keys, how they are written, and reads that match the catalogue."""

import hashlib
import io
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from assets.datasets.columns import COLUMNS
from storage.catalogue import Dataset
from storage.objects import ObjectStore
from storage.stores import Stores

COMPRESSION, ROW_GROUP = "snappy", 100_000
MAX_ATTEMPTS = 5
Options = ParamSpec("Options")
Result = TypeVar("Result")


class DatasetReplaced(Exception):
    """A file does not match its catalogue row, because an export is replacing it. Read the catalogue again."""


def dataset_key(device_id: str, start: date, end: date) -> str:
    """The object key of a device's file over days, both inclusive."""
    return f"datasets/{device_id}/{start:%Y%m%d}_{end:%Y%m%d}.parquet"


def parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file. Equal tables give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression=COMPRESSION, row_group_size=ROW_GROUP)
    return sink.getvalue()


def read_bytes(objects: ObjectStore, dataset: Dataset) -> bytes:
    """The file of a dataset.

    Raises:
        DatasetReplaced: the file does not match its row.

    """
    try:
        content = objects.get(dataset.object_key)
    except KeyError:
        raise DatasetReplaced(f"{dataset.object_key} does not exist any more. Select the dataset again.") from None
    if hashlib.sha256(content).hexdigest() != dataset.sha256:
        raise DatasetReplaced(f"{dataset.object_key} is being replaced. Try again in a minute.")
    return content


def read(
    objects: ObjectStore,
    datasets: Iterable[Dataset],
    columns: list[str] | None = None,
    *,
    prepare: Callable[[pa.Table], pa.Table] = lambda table: table,
) -> pa.Table:
    """The rows of the datasets in one table, in the given order; a metric that a dataset lacks is null there.

    `prepare` changes the rows of each file before the next one is read.

    Raises:
        DatasetReplaced: a file does not match its row.

    """
    tables = [prepare(_read_file(objects, dataset, columns)) for dataset in datasets]
    return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})


def raw_file(dataset: Dataset) -> Dataset:
    """The file without corrections: the dataset's own, or the one that its `raw` names, which no session knows."""
    if dataset.raw is None:
        return dataset
    return Dataset(
        kind=dataset.kind,
        device_id=dataset.device_id,
        start_date=dataset.start_date,
        end_date=dataset.end_date,
        first_at=dataset.first_at,
        last_at=dataset.last_at,
        rows=dataset.rows,
        **dataset.raw,
    )


def table_of(content: bytes, columns: list[str] | None = None) -> pa.Table:
    """The rows of a Parquet file, all columns or those given."""
    return pq.read_table(pa.BufferReader(content), columns=columns)


def reread_if_replaced(
    function: Callable[Concatenate[Stores, Options], Result],
) -> Callable[Concatenate[Stores, Options], Result]:
    """Decorate a function that selects datasets in the catalogue and reads them: it is repeated on `DatasetReplaced`.

    After MAX_ATTEMPTS the exception is raised: an export died while it replaced a file. It is repeated within a minute.
    """

    @wraps(function)
    def rereading(stores: Stores, /, *args: Options.args, **kwargs: Options.kwargs) -> Result:
        for _ in range(MAX_ATTEMPTS - 1):
            with suppress(DatasetReplaced):
                return function(stores, *args, **kwargs)
            stores.session.rollback()  # the next attempt sees the catalogue as it is then
        return function(stores, *args, **kwargs)

    return rereading


def _read_file(objects: ObjectStore, dataset: Dataset, columns: list[str] | None) -> pa.Table:
    content = read_bytes(objects, dataset)
    names = None if columns is None else [name for name in columns if name in COLUMNS or name in dataset.metrics]
    return table_of(content, names)
