"""Reports as an asset: a device's partition shows its latest report. A client's job is one run of one partition."""

from typing import Any

import dagster as dg

from assets.reports import gather
from orchestration.analyses.results import anomaly_result, failure_prediction, forecast
from orchestration.claimed_job import claimed_job, job_of_run
from orchestration.datasets.observations import DEVICE_HISTORY
from orchestration.jobs.missing_analyses import compute_missing
from orchestration.jobs.report_config import ReportConfig
from orchestration.jobs.report_files import make_file
from orchestration.metadata import code_version, device_pages
from orchestration.partitions import device_of_run, devices
from orchestration.resources import Platform
from storage.job_runs import dagster_job_name
from storage.jobs import ReportJob


@dg.asset(
    deps=[DEVICE_HISTORY, anomaly_result, failure_prediction, forecast],
    partitions_def=devices,
    group_name="reports",
    kinds={"pdf", "excel", "json", "html"},
    owners=["team:data"],
    code_version=code_version(),
    output_required=False,
    description="A device's report over a period as PDF, HTML, Excel or JSON. POST /api/reports/generate requests it.",
)
def device_report(context: dg.AssetExecutionContext, platform: Platform, config: ReportConfig) -> Any:
    """Make the report of the run's job, or of a job of its own."""
    job_id = job_of_run(context, platform, lambda session: config.add_job(session, device_of_run(context.run.tags)))
    with claimed_job(context, platform, ReportJob, job_id) as claimed:
        if claimed:
            claimed.report_progress(1.0, "Looking for analyses")
            is_asked = (claimed.job.parameters or {}).get("compute_missing")
            reasons = compute_missing(context, platform, claimed.job) if is_asked else {}
            claimed.report_progress(2.0, "Reading")
            data = gather(claimed.stores, claimed.job, code_version(), reasons)
            metadata = make_file(claimed, data, platform.settings, {"datasets": data.datasets}, since=5)
            yield dg.MaterializeResult(metadata={**metadata, **device_pages(claimed.job.device_id)})


report_job = dg.define_asset_job(
    dagster_job_name("report"),
    selection=[device_report],
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "report"},
    description="Makes one report (POST /api/reports/generate).",
)
