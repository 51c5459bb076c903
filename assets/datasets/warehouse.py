"""Datasets as tables for SQL: DuckDB over the files that the catalogue names, beside the tables of the platform.

Queries cannot change the platform: only SELECT is run, DuckDB runs in memory, and it can open no file and no folder.
Files and tables are registered as Arrow, since DuckDB's own readers of S3 and PostgreSQL are extensions that it
downloads.
"""

import os
import re
from collections.abc import Sequence
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs

from assets.datasets.columns import dataset_schema
from assets.datasets.energy_quarters import energy_quarters
from assets.datasets.export import rows_of_day
from storage import catalogue, dirty_days
from storage.objects import LocalObjects, ObjectStore, S3Objects
from storage.stores import Stores
from storage.times import utc_now
from storage.views import JSON, VIEWS, view_table

DATASETS, OPEN_DAY, ENERGY = "datasets", "open_day", "energy_quarters"
NAMES = (DATASETS, OPEN_DAY, ENERGY, *VIEWS)

EXPLAIN = re.compile(r"\s*EXPLAIN\b(\s*\([^()]*\)|\s+ANALYZE\b)?", re.IGNORECASE)
# Even without access to files DuckDB allows the folder that it spills to, `.tmp/` in the working folder: it has none.
SEALED = (
    "SET TimeZone = 'UTC'; SET temp_directory = ''; SET allowed_directories = []; SET allowed_paths = [];"
    " SET enable_external_access = false; SET lock_configuration = true"
)


class QueryRefused(Exception):
    """The query does more than read, or DuckDB cannot run it; the message says why."""


def query(
    stores: Stores,
    sql: str,
    *,
    devices: Sequence[str] | None = None,
    start: date | None = None,
    end: date | None = None,
) -> pa.Table:
    """The result of one SELECT over the views of `NAMES`; columns of JSON have the type `JSON`.

    `datasets` are the rows of the day files, `open_day` those of today's readings in the telemetry store. `devices`,
    `start` and `end` (both days inclusive) limit these two and `energy_quarters`.

    Raises:
        QueryRefused: the query does more than read, or DuckDB cannot run it.

    """
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        _check_reads_only(connection, sql)
        named = [view for view in NAMES if re.search(rf"\b{view}\b", sql, re.IGNORECASE)]
        # SHOW TABLES, for example, names none: then all views are there, without their rows.
        for view in named or NAMES:
            connection.register(view, _view(stores, view, devices, start, end, empty=not named))
        connection.execute(SEALED)
        try:
            result = connection.sql(sql)
            return _with_json(result.to_arrow_table(), result.types)
        except duckdb.CatalogException as error:
            first_line = str(error).splitlines()[0]
            raise QueryRefused(f"{first_line} The views are {', '.join(NAMES)}.") from None
        except duckdb.Error as error:
            raise QueryRefused(str(error)) from None


def _check_reads_only(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    types = _statement_types(connection, sql)
    if types == [duckdb.StatementType.EXPLAIN]:
        # EXPLAIN ANALYZE runs what it explains, so that must be a SELECT too.
        types = _statement_types(connection, EXPLAIN.sub("", sql, count=1))
    if types != [duckdb.StatementType.SELECT]:
        raise QueryRefused("Give one SELECT statement. The data can be read, not changed.")


def _statement_types(connection: duckdb.DuckDBPyConnection, sql: str) -> list[duckdb.StatementType]:
    try:
        return [statement.type for statement in connection.extract_statements(sql)]
    except duckdb.Error as error:
        raise QueryRefused(str(error)) from None


def _view(
    stores: Stores, view: str, devices: Sequence[str] | None, start: date | None, end: date | None, *, empty: bool
) -> pads.Dataset | pa.Table:
    if view == DATASETS:
        return _day_files(stores, devices, start, end, empty=empty)
    if view == OPEN_DAY:
        return _open_day(stores, devices, start, end, empty=empty)
    if view == ENERGY:
        return energy_quarters(stores, [] if empty else devices, start, end)
    return view_table(stores.session, view, empty=empty)


def _day_files(
    stores: Stores, devices: Sequence[str] | None, start: date | None, end: date | None, *, empty: bool
) -> pads.Dataset:
    """The day files as one Arrow dataset; a metric that a file lacks is null there."""
    files = [] if empty else catalogue.current_day_files(stores.session, devices, start, end)
    schema = dataset_schema(name for _, metrics in files for name in metrics)
    filesystem, prefix = _filesystem(stores.objects)
    format_ = pads.ParquetFileFormat()
    # The catalogue knows that the files exist: `pads.dataset` would look each of them up.
    fragments = [format_.make_fragment(f"{prefix}/{key}", filesystem) for key, _ in files]
    return pads.FileSystemDataset(fragments, schema, format_, filesystem)


def _open_day(
    stores: Stores, devices: Sequence[str] | None, start: date | None, end: date | None, *, empty: bool
) -> pa.Table:
    """Today's readings with the columns of `datasets`, with corrections, as new as the telemetry store has them."""
    today = utc_now().date()
    is_left_out = empty or (start and start > today) or (end and end < today)
    known = [] if is_left_out else sorted(dirty_days.devices_of_day(stores.session, today))
    tables = [rows_of_day(stores, name, today) for name in known if not devices or name in devices]
    rows = pa.concat_tables([dataset_schema([]).empty_table(), *tables], promote_options="default")
    return rows.select(dataset_schema(rows.column_names).names)


def _filesystem(objects: ObjectStore) -> tuple[pafs.FileSystem, str]:
    if isinstance(objects, LocalObjects):
        return pafs.LocalFileSystem(), objects.address
    if not isinstance(objects, S3Objects):
        raise TypeError(f"there is no Arrow file system for {type(objects).__name__}")
    endpoint = objects.endpoint
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint is None:
        return pafs.S3FileSystem(region=region), objects.bucket
    scheme, _, host = endpoint.partition("://")
    return pafs.S3FileSystem(endpoint_override=host, scheme=scheme, region=region), objects.bucket


def _with_json(table: pa.Table, types: Sequence[object]) -> pa.Table:
    """The table of a result with DuckDB's JSON columns as JSON, which Arrow has as text."""
    for i, (name, kind) in enumerate(zip(table.column_names, types, strict=True)):
        if str(kind) == "JSON":
            chunks = [pa.ExtensionArray.from_storage(JSON, chunk) for chunk in table.column(i).chunks]
            table = table.set_column(i, name, pa.chunked_array(chunks, JSON))
    return table
