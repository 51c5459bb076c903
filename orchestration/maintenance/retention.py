"""The nightly job that deletes telemetry, files and runs past their retention periods."""

from datetime import timedelta
from typing import Any

import dagster as dg

from assets.datasets import retire_datasets, retire_telemetry
from orchestration.maintenance.analysis_retention import delete_analyses, delete_models
from orchestration.maintenance.run_retention import delete_runs
from orchestration.resources import Platform
from orchestration.settings import OrchestrationSettings
from storage.times import utc_now


@dg.op(
    description="Deletes what is older than TELEMETRY_RETENTION_DAYS, DATASET_RETENTION_DAYS, ANALYSIS_RETENTION_DAYS,"
    " MODEL_RETENTION_DAYS and RUN_RETENTION_DAYS. Telemetry that was not exported is kept."
)
def retire(context: dg.OpExecutionContext, platform: Platform) -> None:
    settings, now = platform.settings, utc_now()
    metadata: dict[str, Any] = {}
    with platform.stores(context.run.run_id) as stores:
        if settings.telemetry_retention_days:
            first_kept = retire_telemetry(stores, settings.telemetry_retention_days, now.date())
            metadata["telemetry kept from"] = first_kept.isoformat()
        if settings.dataset_retention_days:
            files, size = retire_datasets(stores, settings.dataset_retention_days, now.date())
            metadata |= {"files deleted": files, "bytes deleted": size}
        own = OrchestrationSettings.load()
        if own.analysis_retention_days:
            before = now - timedelta(days=own.analysis_retention_days)
            metadata["analyses deleted"] = delete_analyses(stores, before)
        if own.model_retention_days:
            before = now - timedelta(days=own.model_retention_days)
            metadata["models deleted"] = delete_models(stores, before)
        if settings.run_retention_days:
            before = now - timedelta(days=settings.run_retention_days)
            metadata["runs deleted"] = delete_runs(context.instance, stores.session, before)
    context.add_output_metadata(metadata)


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "maintenance"},
    description="Deletes telemetry, Parquet files, and Dagster's runs and events past their retention periods.",
)
def retention_job() -> None:
    retire()


retention_schedule = dg.ScheduleDefinition(
    name="maintenance",
    job=retention_job,
    cron_schedule="30 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 02:30 UTC: retention of telemetry, files, runs and events.",
)
