"""Reports as an asset: a device's partition shows its latest report. A client's job is one run of one partition."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg

from assets.reports import ReportSettings, build_report, gather
from orchestration.analyses.results import anomaly_result, failure_prediction, forecast
from orchestration.claimed_job import ClaimedJob, claimed_job
from orchestration.datasets.daily import DEVICE_HISTORY
from orchestration.metadata import code_version
from orchestration.partitions import devices
from orchestration.resources import Platform
from storage.job_runs import JOB_ID_TAG, dagster_job_name
from storage.jobs import JobCancelled, ReportJob
from storage.settings import Settings


@dg.asset(
    deps=[DEVICE_HISTORY, anomaly_result, failure_prediction, forecast],
    partitions_def=devices,
    group_name="reports",
    kinds={"pdf", "excel", "json"},
    owners=["team:data"],
    code_version=code_version(),
    output_required=False,
    description="A device's report over a period as PDF, Excel or JSON. POST /api/reports/generate requests it.",
)
def device_report(context: dg.AssetExecutionContext, platform: Platform) -> Any:
    """Make the report of the run's job."""
    job_id = context.run.tags.get(JOB_ID_TAG)
    if job_id is None:
        raise dg.Failure("A report needs a period and a format. Request one with POST /api/reports/generate.")
    with claimed_job(context, platform, ReportJob, job_id) as claimed:
        if claimed:
            yield dg.MaterializeResult(metadata=_make_report(claimed, platform.settings))


def _make_report(claimed: ClaimedJob[ReportJob], settings: Settings) -> dict[str, Any]:
    """Write the report's file, complete the job, and return metadata for Dagster."""
    job, objects = claimed.job, claimed.stores.objects
    limits = ReportSettings.load()
    claimed.report_progress(2.0, "Reading")
    data = gather(claimed.stores, job, code_version())
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        report = build_report(
            data,
            job.format,
            folder=Path(folder),
            quarto=limits.quarto,
            timeout_seconds=settings.report_timeout_seconds,
            max_bytes=int(limits.max_report_size_mb * 1_000_000),
            progress=lambda percent, message: claimed.report_progress(5 + 0.9 * percent, message),
        )
    key = f"reports/{job.device_id}/{job.job_id}.{report.suffix}"
    objects.put(key, report.content)
    results = {
        "key": key,
        "media_type": report.media_type,
        "size_bytes": len(report.content),
        "sha256": hashlib.sha256(report.content).hexdigest(),
        "provenance": {"datasets": data.datasets, "code_version": data.code_version},
    }
    try:
        claimed.complete("Completed", results=results)
    except JobCancelled:
        objects.delete(key)
        raise
    return {
        "job": job.job_id,
        "format": job.format,
        "dagster/uri": f"{objects.address}/{key}",
        **{name: value for name, value in report.facts.items() if isinstance(value, int | float | str)},
    }


report_job = dg.define_asset_job(
    dagster_job_name("report"),
    selection=[device_report],
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "report"},
    description="Makes one report (POST /api/reports/generate).",
)
