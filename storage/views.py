"""What `energy sql` shows of the relational store: read-only views of its tables, without their secrets.

JSON documents are text, for DuckDB's JSON functions.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

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
    "corrections": """SELECT correction_id, device_id, metric, starts_at, ends_at, action, value, unit, reason,
        created_by, created_at, undone_by, undone_at, undone_reason FROM corrections""",
}


def view_columns(session: Session, view: str, *, empty: bool = False) -> dict[str, Sequence[Any]]:
    """The values of a view by column, in its order; `empty` gives the columns without values."""
    result = session.connection().execute(text(f"{VIEWS[view]} LIMIT 0" if empty else VIEWS[view]))
    rows = result.all()
    return {name: [row[i] for row in rows] for i, name in enumerate(result.keys())}
