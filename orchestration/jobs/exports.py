"""Exports that clients ask for over REST: a device's dirty days, or one file over a range of days."""

from datetime import date

import dagster as dg
from sqlmodel import Session

from assets.datasets import NoTelemetry, days_between, export_day, export_range
from orchestration.claimed_job import ClaimedJob, claimed_job
from orchestration.datasets.checks import record_checks
from orchestration.datasets.daily import day_metadata
from orchestration.datasets.observations import TELEMETRY_DATASET, observing
from orchestration.resources import Platform
from storage import catalogue, dirty_days
from storage.catalogue import Dataset
from storage.job_runs import JOB_ID_TAG, dagster_job_name
from storage.jobs import ExportJob


@dg.op(description="Exports one device for a job of POST /api/v1/exports/run.")
def export_device(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Export the device's days, and write one file over the range if the job has one."""
    if not (job_id := context.run.tags.get(JOB_ID_TAG)):
        raise dg.Failure(
            "This run has no job. Request an export with POST /api/v1/exports/run, or materialize telemetry_dataset.",
            allow_retries=False,
        )
    with claimed_job(context, platform, ExportJob, job_id) as claimed:
        if claimed:
            days = _export_days(context, claimed)
            dataset = _exported_dataset(claimed)
            results = {"s3_key": dataset.key, "record_count": dataset.rows, "sha256": dataset.sha256, "days": days}
            claimed.complete(f"{dataset.rows} readings in {dataset.key}", results=results)


def _export_days(context: dg.OpExecutionContext, claimed: ClaimedJob[ExportJob]) -> int:
    """Export each day of the job that needs it, and return how many those are."""
    stores, device_id = claimed.stores, claimed.job.device_id
    days = _days_to_export(stores.session, claimed.job)
    with observing(context.instance, stores.session) as observed:
        for number, day in enumerate(days):
            claimed.report_progress(100.0 * number / (len(days) + 1), f"Exporting {day}")
            if exported := export_day(stores, device_id, day):
                metadata = day_metadata(stores, day, [exported])
                # An event that the run logs is stored when it ends, and checks are of a materialization that is stored.
                context.instance.report_runless_asset_event(
                    dg.AssetMaterialization(TELEMETRY_DATASET, partition=day.isoformat(), metadata=metadata)
                )
                record_checks(context.instance, stores.session, day)
                observed.add(day, [exported])
    return len(days)


def _days_to_export(session: Session, job: ExportJob) -> list[date]:
    """The device's dirty days; of a range, also the days that have no file yet."""
    dirty = {row.day for row in dirty_days.waiting(session, device_id=job.device_id)}
    if not (job.date_range_start and job.date_range_end):
        return sorted(dirty)
    start, end = job.date_range_start.date(), job.date_range_end.date()
    files = catalogue.datasets_of(session, job.device_id, start=start, end=end, kind="day")
    exported = {dataset.start_date for dataset in files}
    return [day for day in days_between(start, end) if day in dirty or day not in exported]


def _exported_dataset(claimed: ClaimedJob[ExportJob]) -> Dataset:
    """The file over the job's range, or the device's newest day file."""
    job = claimed.job
    if job.date_range_start and job.date_range_end:
        start, end = job.date_range_start.date(), job.date_range_end.date()
        return export_range(claimed.stores, job.device_id, start, end).dataset
    datasets = catalogue.datasets_of(claimed.stores.session, job.device_id, kind="day")
    if not datasets:
        raise NoTelemetry(f"{job.device_id} has no readings to export")
    return datasets[-1]


@dg.job(
    name=dagster_job_name("export"),
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "export"},
    description="Exports one device (POST /api/v1/exports/run).",
)
def export_job() -> None:
    export_device()
