"""Exports that were asked for over REST: a device's touched days, or one file over a range of days."""

from collections.abc import Iterator
from datetime import date

import dagster as dg
from sqlmodel import Session

from assets.datasets import Exported, NoTelemetry, days_between, export_day, export_range
from orchestration.datasets.daily import TELEMETRY_DATASET, day_facts, observe_devices
from orchestration.resources import Platform
from orchestration.run_job import run_job
from storage import catalogue, dirty_days, jobs
from storage.jobs import ID_TAG, ExportJob
from storage.stores import Stores


@dg.op(description="Exports one device for a job of `POST /api/v1/exports/run`.")
def export_device(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Bring the device's touched days up to date, and make one file over the range if the job names one."""
    run_job(context, platform, ExportJob, context.run.tags[ID_TAG], lambda w, job: _export(context, w, job))


def _export(context: dg.OpExecutionContext, stores: Stores, job: ExportJob) -> None:
    session = stores.session
    wanted = list(_days_of(session, job))
    newest: Exported | None = None
    for i, day in enumerate(wanted):
        jobs.report_progress(session, job, 100.0 * i / (len(wanted) + 1), f"Exporting {day}")
        exported = export_day(stores, job.device_id, day)
        newest = exported or newest
        if exported:
            facts = day_facts(stores, day, [exported])
            context.log_event(dg.AssetMaterialization(TELEMETRY_DATASET, partition=day.isoformat(), metadata=facts))
            observe_devices(context.instance, session, day, [exported])
    if job.date_range_start and job.date_range_end:
        start, end = job.date_range_start.date(), job.date_range_end.date()
        answer = export_range(stores, job.device_id, start, end).dataset
    elif standing := catalogue.datasets_of(session, job.device_id, kind="day"):
        answer = standing[-1]
    else:
        raise NoTelemetry(f"{job.device_id} has no readings to export; has it sent any?")
    result = {"s3_key": answer.key, "record_count": answer.rows, "sha256": answer.sha256, "days": len(wanted)}
    jobs.complete(session, job, f"{answer.rows} readings in {answer.key}", results=result)


def _days_of(session: Session, job: ExportJob) -> Iterator[date]:
    """Touched days; of a range also those that have no file yet."""
    waiting = {row.day for row in dirty_days.waiting(session, device_id=job.device_id)}
    if not (job.date_range_start and job.date_range_end):
        yield from sorted(waiting)
        return
    start, end = job.date_range_start.date(), job.date_range_end.date()
    made = {d.start_date for d in catalogue.datasets_of(session, job.device_id, start=start, end=end, kind="day")}
    yield from (day for day in days_between(start, end) if day in waiting or day not in made)


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "export"},
    description="Exports asked for over REST (POST /api/v1/exports/run).",
)
def export_job() -> None:
    export_device()
