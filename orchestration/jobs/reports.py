"""Reports as an asset: the partition of a device shows its latest one. A job of REST is one run of one partition."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg

from assets.reports import ReportSettings, build_report, gather
from orchestration.analyses.results import anomaly_result, failure_prediction, forecast
from orchestration.datasets.daily import DEVICE_HISTORY
from orchestration.metadata import code_version
from orchestration.partitions import devices
from orchestration.resources import Platform
from orchestration.run_job import run_job
from storage import jobs
from storage.jobs import ID_TAG, JobCancelled, ReportJob
from storage.settings import Settings
from storage.stores import Stores


@dg.asset(
    deps=[DEVICE_HISTORY, anomaly_result, failure_prediction, forecast],
    partitions_def=devices,
    group_name="reports",
    kinds={"pdf", "excel", "json"},
    owners=["team:data"],
    code_version=code_version(),
    output_required=False,
    description="A device's report over a period as PDF, Excel or JSON, as POST /api/reports/generate asked for it.",
)
def device_report(context: dg.AssetExecutionContext, platform: Platform) -> Any:
    """Render the report that the run's job asked for."""
    job_id = context.run.tags.get(ID_TAG)
    if job_id is None:
        raise dg.Failure("a report needs a period and a format; ask for one with POST /api/reports/generate")
    settings = platform.settings
    facts = run_job(context, platform, ReportJob, job_id, lambda stores, job: _report(stores, job, settings))
    if facts is not None:
        yield dg.MaterializeResult(metadata=facts)


def _report(stores: Stores, job: ReportJob, settings: Settings) -> dict[str, Any]:
    session = stores.session
    jobs.report_progress(session, job, 2.0, "Reading")
    limits = ReportSettings.load()
    data = gather(stores, job, code_version())
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        report = build_report(
            data,
            job.format,
            folder=Path(folder),
            quarto=limits.quarto,
            timeout_seconds=settings.report_timeout_seconds,
            max_bytes=int(limits.max_report_size_mb * 1_000_000),
            progress=lambda percent, message: jobs.report_progress(session, job, 5 + 0.9 * percent, message),
        )
    key = f"reports/{job.device_id}/{job.job_id}.{report.suffix}"
    stores.objects.put(key, report.content)
    file = {
        "key": key,
        "media_type": report.media_type,
        "size_bytes": len(report.content),
        "sha256": hashlib.sha256(report.content).hexdigest(),
        "provenance": {"datasets": data.datasets, "code_version": data.code_version},
    }
    try:
        jobs.complete(session, job, "Completed", results=file)
    except JobCancelled:
        stores.objects.delete(key)
        raise
    shown = {name: value for name, value in report.facts.items() if isinstance(value, int | float | str)}
    return {"job": job.job_id, "format": job.format, "dagster/uri": f"{stores.objects.address}/{key}", **shown}


report_job = dg.define_asset_job(
    "report_job",
    selection=[device_report],
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "report"},
    description="One report (POST /api/reports/generate).",
)
