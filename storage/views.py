"""What `energy sql` shows of the relational store: read-only views of its tables, without their secrets."""

from typing import Any

import psycopg
import pyarrow as pa
from psycopg.types import TypeInfo
from sqlalchemy import text
from sqlmodel import Session

VIEWS = {
    "dataset_files": """SELECT key, kind, device_id, tenant_id, start_date, end_date, rows, bytes, sha256,
        metrics, hourly, energy, checks, created_at FROM datasets WHERE superseded_at IS NULL""",
    "devices": """SELECT device_id, tenant_id, device_name, device_type, manufacturer, model, location, status,
        metadata_json, created_at, updated_at FROM devices WHERE deleted_at IS NULL""",
    "rules": """SELECT rule_id, tenant_id, rule_name, description, scope, device_ids, property, condition, threshold,
        for_seconds, active_hours, severity, status, notification_channels, cooldown_minutes, last_triggered_at,
        created_at, updated_at FROM rules WHERE deleted_at IS NULL""",
    "alerts": """SELECT alert_id, rule_id, tenant_id, device_id, severity, message, actual_value, threshold_value,
        status, reading_time, created_at, acknowledged_at, resolved_at FROM alerts""",
    "results": """SELECT job_id, device_id, analysis_type, model_name, status, date_range_start, date_range_end,
        results, accuracy_metrics, error_message, created_at, completed_at FROM analytics_jobs""",
    "corrections": """SELECT correction_id, device_id, metric, starts_at, ends_at, action, value, unit, reason,
        created_by, created_at, undone_by, undone_at, undone_reason FROM corrections""",
    "quarantine": """SELECT id, device_id, topic, payload, reason, metric, received_at, replayed_at
        FROM quarantine""",
    "failures": """SELECT failure_id, device_id, failed_at, repaired_at, description, source,
        created_at FROM failures""",
}
JSON = pa.json_()
_ARROW_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float8": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "uuid": pa.string(),
    "bytea": pa.string(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "json": JSON,
    "jsonb": JSON,
}
# JSON in columns of text.
_JSON_TEXTS = frozenset(["metadata_json"])
# PostgreSQL sends these as text, so that no object is made of each value.
_AS_TEXT = frozenset(["uuid", "json", "jsonb"])


def view_table(session: Session, view: str, *, empty: bool = False) -> pa.Table:
    """The rows of a view, with the types that the database declares; `empty` gives the columns without rows.

    Bytes are text; those that are not UTF-8 are written as escapes.
    """
    connection, sql = session.connection(), VIEWS[view]
    columns: Any = connection.execute(text(f"{sql} LIMIT 0")).cursor.description
    kinds = {column.name: psycopg.postgres.types[column.type_code] for column in columns}
    names = ", ".join(f"{name}::text" if kind.name in _AS_TEXT else name for name, kind in kinds.items())
    limit = "LIMIT 0" if empty else ""
    rows = connection.execute(text(f"SELECT {names} FROM ({sql}) v {limit}")).all()  # noqa: S608 - all of it is ours
    return pa.table(
        {
            name: _array([row[i] for row in rows], JSON if name in _JSON_TEXTS else _arrow_type(kind, column))
            for i, ((name, kind), column) in enumerate(zip(kinds.items(), columns, strict=True))
        }
    )


def _arrow_type(kind: TypeInfo, column: Any) -> pa.DataType:
    found = _ARROW_TYPES[kind.name]
    return pa.list_(found) if column.type_code == kind.array_oid else found


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind == JSON:
        return pa.ExtensionArray.from_storage(JSON, pa.array(values, pa.string()))
    if values and isinstance(values[0], bytes):
        values = [value.decode("utf-8", "backslashreplace") for value in values]
    return pa.array(values, kind)
