"""Datasets as tables for SQL: DuckDB over the files that the catalogue names, beside devices, alerts and results.

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
from sqlmodel import Session

from assets.datasets.columns import dataset_schema
from assets.datasets.energy_quarters import energy_quarters
from storage import catalogue
from storage.objects import LocalObjects, ObjectStore, S3Objects
from storage.stores import Stores
from storage.views import VIEWS, view_columns

ENERGY_VIEW = "energy_quarters"

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
    """The result of one SELECT over `datasets`, the rows of the day files, over `energy_quarters`, and over `VIEWS`.

    `devices`, `start` and `end` (both days inclusive) limit the days of `datasets` and `energy_quarters`.

    Raises:
        QueryRefused: the query does more than read, or DuckDB cannot run it.

    """
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        _check_reads_only(connection, sql)
        named = {view for view in ("datasets", ENERGY_VIEW, *VIEWS) if re.search(rf"\b{view}\b", sql, re.IGNORECASE)}
        is_overview = not named  # SHOW TABLES, for example: all views are there, without their rows
        if is_overview or "datasets" in named:
            connection.register("datasets", _day_files(stores, devices, start, end))
        if is_overview or ENERGY_VIEW in named:
            energy = energy_quarters(stores, [] if is_overview else devices, start, end)
            connection.register(ENERGY_VIEW, energy)
        for view in VIEWS:
            if is_overview or view in named:
                connection.register(view, _view_table(stores.session, view, empty=is_overview))
        connection.execute(SEALED)
        try:
            return connection.sql(sql).to_arrow_table()
        except duckdb.CatalogException as error:
            first_line = str(error).splitlines()[0]
            raise QueryRefused(f"{first_line} The views are datasets, {ENERGY_VIEW}, {', '.join(VIEWS)}.") from None
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


def _day_files(stores: Stores, devices: Sequence[str] | None, start: date | None, end: date | None) -> pads.Dataset:
    """The day files as one Arrow dataset; a metric that a file lacks is null there."""
    files = catalogue.current_day_files(stores.session, devices, start, end)
    schema = dataset_schema(name for _, metrics in files for name in metrics)
    filesystem, prefix = _filesystem(stores.objects)
    paths = [f"{prefix}/{key}" for key, _ in files]
    return pads.dataset(paths, schema=schema, filesystem=filesystem, format="parquet")


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


def _view_table(session: Session, view: str, *, empty: bool) -> pa.Table:
    columns = {name: pa.array(values) for name, values in view_columns(session, view, empty=empty).items()}
    # Arrow gives a column without values the type null, which cannot be compared with text.
    return pa.table({n: c.cast(pa.string()) if pa.types.is_null(c.type) else c for n, c in columns.items()})
