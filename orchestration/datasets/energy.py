"""Figures in the catalogue that an older version made, or that rest on metadata which have changed, are made again."""

from datetime import datetime, timedelta

import dagster as dg

from assets.datasets import refresh_energy
from orchestration.resources import Platform
from orchestration.runs import UNFINISHED
from storage import day_figures
from storage.times import utc_now

# Days that a run could not refill are tried again so much later.
RETRY_AFTER = timedelta(hours=1)


@dg.op(description="Makes the figures of day files again where they are outdated; the files stay as they are.")
def refresh(context: dg.OpExecutionContext, platform: Platform) -> None:
    with platform.stores(context.run.run_id) as stores:
        done = refresh_energy(
            stores, lambda done, total: context.log.info(f"The figures of {done} of {total} days are made again.")
        )
    context.add_output_metadata({"days": done})


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "maintenance"},
    description="Refills the catalogue's figures after an upgrade or a change of a device's metadata.",
)
def energy_job() -> None:
    refresh()


@dg.sensor(
    job=energy_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for `energy_job` while the catalogue has outdated figures.",
)
def refill_energy(context: dg.SensorEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """Ask for a run; while the same number of days is left over, such as days whose files are lost, once an hour."""
    with platform.session() as session:
        waiting = day_figures.count_outdated(session)
    if not waiting:
        return dg.SkipReason("the catalogue's figures are up to date")
    if context.instance.get_runs(dg.RunsFilter(job_name=energy_job.name, statuses=UNFINISHED), limit=1):
        return dg.SkipReason(f"a run is active; {waiting} days are left")
    left, _, asked_at = (context.cursor or "").partition(" ")
    now = utc_now()
    if left == str(waiting) and now - datetime.fromisoformat(asked_at) < RETRY_AFTER:
        return dg.SkipReason(f"the last run left {waiting} days; see its log")
    context.update_cursor(f"{waiting} {now.isoformat()}")
    return dg.RunRequest()
