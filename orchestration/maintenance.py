"""What keeps the platform small: months in one file, and what is older than it is to be kept given up."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
from sqlalchemy import text
from sqlmodel import Session

from assets.datasets import Exported, export_month, last_of_month, retire_datasets, retire_telemetry
from orchestration.datasets.cadence import UNFINISHED
from orchestration.datasets.daily import TELEMETRY_DATASET
from orchestration.metadata import code_version, dataset_schema
from orchestration.partitions import first_day, months
from orchestration.resources import Platform
from storage import catalogue
from storage.stores import Stores
from storage.times import utc_now

RUNS_AT_A_TIME = 500
MAX_MONTHS_A_TICK = 12


@dg.asset(
    deps=[TELEMETRY_DATASET],
    partitions_def=months,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="datasets",
    kinds={"parquet", "pyarrow"},
    owners=["team:data"],
    code_version=code_version(),
    metadata={"dagster/column_schema": dataset_schema()},
    description="A closed month of a device in one Parquet file, for readers of long ranges; its days' files stay."
    " Made again when late data made one of its days again.",
)
def telemetry_monthly(context: dg.AssetExecutionContext, platform: Platform) -> None:
    """Put each device's days of the month together."""
    with platform.stores(context.run.run_id) as stores:
        for key in context.partition_keys:
            month = date.fromisoformat(key)
            devices = catalogue.devices_of_days(stores.session, month, last_of_month(month))
            made = [m for device_id in devices if (m := export_month(stores, device_id, month.year, month.month))]
            context.add_asset_metadata(_month_facts(stores, month, made), partition_key=key)


def _month_facts(stores: Stores, month: date, made: list[Exported]) -> dict[str, Any]:
    return {
        "dagster/partition_row_count": sum(m.dataset.rows for m in made),
        "bytes": sum(m.dataset.bytes for m in made),
        "devices": len(made),
        "files written": sum(m.changed for m in made),
        "dagster/uri": f"{stores.objects.address}/datasets/*/{month:%Y%m%d}_{last_of_month(month):%Y%m%d}.parquet",
    }


monthly_job = dg.define_asset_job(
    "monthly_job",
    selection=[telemetry_monthly],
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "maintenance"},
    description="Puts a month's days into one file per device; the schedule `close_months` asks for it.",
)


@dg.op(description="Gives up what is older than TELEMETRY_, DATASET_ and RUN_RETENTION_DAYS say.")
def retire(context: dg.OpExecutionContext, platform: Platform) -> None:
    settings, today = platform.settings, utc_now().date()
    facts: dict[str, Any] = {}
    with platform.stores(context.run.run_id) as stores:
        if settings.telemetry_retention_days:
            until = retire_telemetry(stores, settings.telemetry_retention_days, today)
            facts["telemetry kept from"] = until.isoformat()
        if settings.dataset_retention_days:
            files, size = retire_datasets(stores, settings.dataset_retention_days, today)
            facts |= {"files deleted": files, "bytes deleted": size}
        if settings.run_retention_days:
            before = utc_now() - timedelta(days=settings.run_retention_days)
            facts["runs deleted"] = delete_runs(context.instance, stores.session, before)
    context.add_output_metadata(facts)


def delete_runs(instance: dg.DagsterInstance, session: Session, before: datetime) -> int:
    """Delete Dagster's runs that ended before a moment, with their events; each partition's newest run stays.

    With that run the partition would lose its materialization.
    """
    ended = [s for s in dg.DagsterRunStatus if s not in UNFINISHED]
    old = dg.RunsFilter(statuses=ended, created_before=before)
    newest: dict[tuple[str, str], str] = {}
    kept: str | None = None  # pages are read from the newest run that stays; what is deleted is in no page again
    deleted = 0
    while runs := instance.get_runs(old, limit=RUNS_AT_A_TIME, cursor=kept):
        gone = [run for run in runs if not _is_newest(instance, run, newest)]
        for run in gone:
            instance.delete_run(run.run_id)
        _delete_checks(session, [run.run_id for run in gone])
        deleted += len(gone)
        staying = [run.run_id for run in runs if run not in gone]
        kept = staying[-1] if staying else kept
    return deleted


def _is_newest(instance: dg.DagsterInstance, run: dg.DagsterRun, known: dict[tuple[str, str], str]) -> bool:
    partition = run.tags.get("dagster/partition")
    if partition is None or run.status != dg.DagsterRunStatus.SUCCESS:
        return False
    key = (run.job_name, partition)
    if key not in known:
        of_partition = dg.RunsFilter(
            job_name=run.job_name, tags={"dagster/partition": partition}, statuses=[dg.DagsterRunStatus.SUCCESS]
        )
        known[key] = instance.get_runs(of_partition, limit=1)[0].run_id
    return known[key] == run.run_id


def _delete_checks(session: Session, run_ids: Iterable[str]) -> None:
    """Results of checks, which Dagster leaves behind when it deletes a run."""
    if session.execute(text("SELECT to_regclass('dagster.asset_check_executions')")).scalar() is not None:
        session.execute(
            text("DELETE FROM dagster.asset_check_executions WHERE run_id = ANY(:runs)"), {"runs": list(run_ids)}
        )
        session.commit()


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "maintenance"},
    description="Retention: telemetry, Parquet files, Dagster's runs and events, each by its variable.",
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


@dg.schedule(
    job=monthly_job,
    cron_schedule="10 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 03:10 UTC: months that closed, or whose days were made again, as one file per device.",
)
def close_months(context: dg.ScheduleEvaluationContext, platform: Platform) -> list[dg.RunRequest] | dg.SkipReason:
    today = context.scheduled_execution_time.date()
    with platform.session() as session:
        waiting = catalogue.months_to_close(session, first_day, today.replace(day=1))
    if not waiting:
        return dg.SkipReason("no month closed, and no day of a closed month was made again")
    return [dg.RunRequest(partition_key=month.isoformat()) for month in waiting[:MAX_MONTHS_A_TICK]]
