"""Datasets as tables for SQL: DuckDB over the files that the catalogue names, beside devices, alerts and results.

Read-only and in memory: nothing that is asked can change the platform. Files and tables are registered as Arrow, since
DuckDB's own readers of S3 and PostgreSQL are extensions that it downloads.
"""

import os
import re
from collections.abc import Sequence
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
from sqlalchemy import text
from sqlmodel import Session, col, select

from assets.datasets.columns import COLUMNS
from storage.catalogue import Dataset
from storage.objects import LocalObjects, ObjectStore, S3Objects
from storage.stores import Stores
from storage.telemetry import TIME

TYPES = {"timestamp": TIME, "device_id": pa.string(), "device_type": pa.string(), "location": pa.string(),
         "hour": pa.int8(), "day_of_week": pa.int8(), "is_weekend": pa.bool_()}  # fmt: skip

# What each view is, beside `datasets`, the rows of the files. Documents are text, for DuckDB's JSON functions.
VIEWS = {
    "dataset_files": """SELECT key, kind, device_id, tenant_id, start_date, end_date, rows, bytes, sha256,
        metrics::text AS metrics, hourly::text AS hourly, energy::text AS energy, checks::text AS checks, created_at
        FROM datasets WHERE superseded_at IS NULL""",
    "devices": """SELECT device_id, tenant_id, device_name, device_type, manufacturer, model, location, status,
        metadata_json, created_at, updated_at FROM devices WHERE deleted_at IS NULL""",
    "alerts": """SELECT alert_id::text AS alert_id, rule_id::text AS rule_id, tenant_id, device_id, severity, message,
        actual_value, threshold_value, status, reading_time, created_at, acknowledged_at, resolved_at FROM alerts""",
    "results": """SELECT job_id, device_id, analysis_type, model_name, status, date_range_start, date_range_end,
        results::text AS results, accuracy_metrics::text AS accuracy_metrics, created_at, completed_at
        FROM analytics_jobs""",
}


class QueryRefused(Exception):
    """The query is none that only reads, or cannot be carried out; the message says why."""


def query(
    stores: Stores,
    sql: str,
    *,
    devices: Sequence[str] | None = None,
    start: date | None = None,
    end: date | None = None,
) -> pa.Table:
    """The answer to one SELECT over `datasets` and `VIEWS`; devices and days narrow which files `datasets` holds.

    Raises:
        QueryRefused: it does not only read, or DuckDB cannot carry it out.

    """
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        try:
            statements = connection.extract_statements(sql)
        except duckdb.Error as error:
            raise QueryRefused(str(error)) from None
        if len(statements) != 1 or statements[0].type not in (
            duckdb.StatementType.SELECT,
            duckdb.StatementType.EXPLAIN,
        ):
            raise QueryRefused("give one SELECT; what there is can be read and not changed")
        all_of_them = not any(_names(view, sql) for view in ("datasets", *VIEWS))  # SHOW TABLES: what there is
        if all_of_them or _names("datasets", sql):
            connection.register("datasets", _rows(stores, devices, start, end))
        for name, view in VIEWS.items():
            if all_of_them or _names(name, sql):
                connection.register(name, _table(stores.session, f"{view} LIMIT 0" if all_of_them else view))
        connection.execute("SET TimeZone = 'UTC'; SET enable_external_access = false; SET lock_configuration = true")
        try:
            return connection.sql(sql).to_arrow_table()
        except duckdb.CatalogException as error:
            first = str(error).splitlines()[0]
            raise QueryRefused(f"{first} The views are datasets, {', '.join(VIEWS)}") from None
        except duckdb.Error as error:
            raise QueryRefused(str(error)) from None


def _names(view: str, sql: str) -> bool:
    return re.search(rf"\b{view}\b", sql, re.IGNORECASE) is not None


def _rows(stores: Stores, devices: Sequence[str] | None, start: date | None, end: date | None) -> pads.Dataset:
    """The day files as one dataset; a metric that a file lacks is null there."""
    found = select(Dataset.key, Dataset.metrics).where(col(Dataset.superseded_at).is_(None), Dataset.kind == "day")
    if devices:
        found = found.where(col(Dataset.device_id).in_(devices))
    if start:
        found = found.where(col(Dataset.start_date) >= start)
    if end:
        found = found.where(col(Dataset.end_date) <= end)
    files = stores.session.exec(found.order_by(col(Dataset.device_id), col(Dataset.start_date))).all()
    extras = sorted({name for _, metrics in files for name in metrics} - set(COLUMNS))
    schema = pa.schema([(name, TYPES.get(name, pa.float64())) for name in (*COLUMNS, *extras)])
    filesystem, prefix = _filesystem(stores.objects)
    paths = [f"{prefix}/{key}" for key, _ in files]
    return pads.dataset(paths, schema=schema, filesystem=filesystem, format="parquet")


def _filesystem(objects: ObjectStore) -> tuple[pafs.FileSystem, str]:
    if isinstance(objects, LocalObjects):
        return pafs.LocalFileSystem(), objects.address
    if not isinstance(objects, S3Objects):
        raise TypeError(f"no file system for {type(objects).__name__}")
    endpoint = objects.endpoint
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint is None:
        return pafs.S3FileSystem(region=region), objects.bucket
    scheme, _, host = endpoint.partition("://")
    return pafs.S3FileSystem(endpoint_override=host, scheme=scheme, region=region), objects.bucket


def _table(session: Session, view: str) -> pa.Table:
    result = session.connection().execute(text(view))
    names, rows = list(result.keys()), result.all()
    columns = {name: pa.array([row[i] for row in rows]) for i, name in enumerate(names)}
    # A column without any value has no type to be compared with.
    return pa.table({n: c.cast(pa.string()) if pa.types.is_null(c.type) else c for n, c in columns.items()})
