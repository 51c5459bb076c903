"""Alembic's entry point; `storage.database.migrate` passes the connection."""

from alembic import context
from sqlmodel import SQLModel

# Every module with tables, so that the metadata has all of them.
from storage import (  # noqa: F401
    access,
    alerts,
    catalogue,
    checkpoints,
    corrections,
    dataset_start,
    device_metrics,
    devices,
    dirty_days,
    grants,
    jobs,
    last_seen,
    maintenance,
    notifications,
    pending,
    quarantine,
    report_schedules,
    rules,
)

connection = context.config.attributes["connection"]
# Migrations write the telemetry table, its partitions and the view by hand. Dagster has a schema of its own.
BY_HAND = ("device_telemetry", "analytics_results")

context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    compare_server_default=True,
    transaction_per_migration=True,
    include_name=lambda name, kind, _: kind != "table" or not (name or "").startswith(BY_HAND),
)
with context.begin_transaction():
    context.run_migrations()
