"""Compaction: the files of a closed month's days become one file per device."""

from datetime import date
from functools import partial
from typing import Any

import dagster as dg

from assets.datasets import Exported, export_month, last_of_month
from orchestration.datasets.observations import TELEMETRY_DATASET
from orchestration.datasets.partition_range import PartitionRange
from orchestration.metadata import code_version, dataset_schema, files_metadata
from orchestration.partitions import first_day, months, months_of_run
from orchestration.resources import Platform
from storage import catalogue
from storage.months import months_to_close
from storage.stores import Stores

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
    description="A closed month of a device in one Parquet file, for readers of long ranges. The files of its days are"
    " kept. The file is made again when late data changes one of its days.",
)
def telemetry_monthly(context: dg.AssetExecutionContext, platform: Platform) -> None:
    """Write one file per device with telemetry in the month; a range of months is one run."""
    with platform.stores(context.run.run_id) as stores:
        run = PartitionRange(context, stores, "month", months_of_run(context.run.tags))
        with run.reported():
            for month in run.partitions:
                device_ids = catalogue.devices_of_days(stores.session, month, last_of_month(month))
                export = partial(export_month, stores, year=month.year, month=month.month)
                files = run.export(month, device_ids, export)
                if run.is_whole(month):
                    run.add(month, month_metadata(stores, month, files))


def month_metadata(stores: Stores, month: date, files: list[Exported]) -> dict[str, Any]:
    return {
        "dagster/partition_row_count": sum(file.dataset.rows for file in files),
        "bytes": sum(file.dataset.bytes for file in files),
        "devices": len(files),
        "files written": sum(file.changed for file in files),
        "period": f"{month} to {last_of_month(month)}",
        **files_metadata([file.dataset for file in files]),
        "dagster/uri": f"{stores.objects.address}/datasets/*/{month:%Y%m%d}_{last_of_month(month):%Y%m%d}.parquet",
    }


monthly_job = dg.define_asset_job(
    "monthly_job",
    selection=[telemetry_monthly],
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "maintenance"},
    description="Merges a month's files into one per device. The schedule `close_months` requests it.",
)


@dg.schedule(
    job=monthly_job,
    cron_schedule="10 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 03:10 UTC: merges the files of months that have closed or have late data.",
)
def close_months(context: dg.ScheduleEvaluationContext, platform: Platform) -> list[dg.RunRequest] | dg.SkipReason:
    today = context.scheduled_execution_time.date()
    with platform.session() as session:
        due = months_to_close(session, first_day, today.replace(day=1))
    if not due:
        return dg.SkipReason("No month has closed, and no day of a closed month has changed.")
    return [dg.RunRequest(partition_key=month.isoformat()) for month in due[:MAX_MONTHS_A_TICK]]
