"""Fleet reports as an asset without partitions: its materializations are the reports over several devices."""

from typing import Any

import dagster as dg

from assets.reports import gather_fleet
from orchestration.claimed_job import claimed_job, job_of_run
from orchestration.datasets.observations import TELEMETRY_DATASET
from orchestration.jobs.report_config import FleetReportConfig
from orchestration.jobs.report_files import make_file
from orchestration.metadata import code_version
from orchestration.resources import Platform
from storage.job_runs import FLEET_REPORT_JOB
from storage.jobs import ReportJob

# Reading the devices takes so much of the progress (percent).
READING = 60.0


@dg.asset(
    deps=[TELEMETRY_DATASET],
    group_name="reports",
    kinds={"pdf", "excel", "json", "html"},
    owners=["team:data"],
    code_version=code_version(),
    output_required=False,
    description="A report over several devices: their energy, ranked and summed. POST /api/reports/generate with the"
    " scope `fleet` requests it.",
)
def fleet_report(context: dg.AssetExecutionContext, platform: Platform, config: FleetReportConfig) -> Any:
    """Make the report of the run's job, or of a job of its own."""
    job_id = job_of_run(context, platform, config.add_job)
    with claimed_job(context, platform, ReportJob, job_id) as claimed:
        if claimed:
            data = gather_fleet(
                claimed.stores,
                claimed.job,
                code_version(),
                lambda percent, message: claimed.report_progress(percent * READING / 100, message),
            )
            devices = [
                {"device_id": member.device_id, "files": member.files, "sha256": member.files_sha256}
                for member in data.members
            ]
            metadata = make_file(claimed, data, platform.settings, {"devices": devices}, since=READING)
            yield dg.MaterializeResult(metadata={**metadata, "devices": len(data.members)})


fleet_report_job = dg.define_asset_job(
    FLEET_REPORT_JOB,
    selection=[fleet_report],
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "report"},
    description="Makes one report over several devices (POST /api/reports/generate with the scope `fleet`).",
)
