"""The two jobs that make a day's datasets: a lean one for the open day, and one with checks for closed days."""

from datetime import date

import dagster as dg

from orchestration.datasets.checks import partition_keys, record_checks
from orchestration.datasets.daily import TELEMETRY_DATASET
from storage.times import utc_now


@dg.success_hook(required_resource_keys={"platform"})
def show_checks_of_closed_days(context: dg.HookContext) -> None:
    """Record the checks of a day that has closed before its run ended, or that somebody has launched the run for.

    The run plans no checks, but the catalogue has them once the day is closed.
    """
    run = context.instance.get_run_by_id(context.run_id)
    days = [date.fromisoformat(key) for key in partition_keys(run.tags)] if run else []
    if closed := [day for day in days if day < utc_now().date()]:
        with context.resources.platform.session() as session:
            for day in closed:
                record_checks(context.instance, session, day)


dataset_job = dg.define_asset_job(
    "dataset_job",
    selection=dg.AssetSelection.assets(TELEMETRY_DATASET).without_checks(),
    executor_def=dg.in_process_executor,
    hooks={show_checks_of_closed_days},
    tags={"energy/purpose": "export"},
    description="Updates the files of the open day. The sensor `export_touched_days` requests it.",
)
closed_day_job = dg.define_asset_job(
    "closed_day_job",
    selection=dg.AssetSelection.assets(TELEMETRY_DATASET),
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "export"},
    description="Exports and checks a day that has closed or has late data. The sensor `export_touched_days` requests"
    " it.",
)
