"""Everything that Dagster is to know, made when a code server asks for it."""

import dagster as dg

from orchestration import analyses, datasets, reports, sensors
from orchestration.resources import Platform


@dg.definitions
def defs() -> dg.Definitions:
    return dg.Definitions(
        assets=[
            datasets.telemetry_dataset,
            datasets.device_history,
            analyses.anomaly_result,
            analyses.failure_prediction,
            analyses.forecast,
            reports.device_report,
        ],
        jobs=[datasets.dataset_job, datasets.export_job, *analyses.analysis_jobs, reports.report_job],
        sensors=[
            datasets.export_touched_days,
            datasets.follow_registry,
            sensors.launch_waiting_jobs,
            sensors.note_failed_runs,
            sensors.note_canceled_runs,
        ],
        resources={"platform": Platform()},
        executor=dg.in_process_executor,
    )
