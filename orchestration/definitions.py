"""All of Dagster's definitions, built when a code server loads them."""

import dagster as dg

from orchestration.analyses import nightly, outside_forecast, results
from orchestration.datasets import cadence, checks, daily, energy, jobs, monthly
from orchestration.jobs import exports, fleet_reports, reports, schedules, sensors
from orchestration.maintenance import retention
from orchestration.resources import Platform
from storage.settings import check_settings


@dg.definitions
def defs() -> dg.Definitions:
    check_settings()
    return dg.Definitions(
        assets=[
            daily.telemetry,
            daily.telemetry_dataset,
            monthly.telemetry_monthly,
            daily.device_history,
            results.anomaly_result,
            results.failure_prediction,
            results.forecast,
            reports.device_report,
            fleet_reports.fleet_report,
        ],
        asset_checks=[checks.day_quality],
        schedules=[
            retention.retention_schedule,
            monthly.close_months,
            nightly.analyse_fleet,
            outside_forecast.watch_forecasts,
            schedules.request_scheduled_reports,
        ],
        jobs=[
            jobs.dataset_job,
            jobs.closed_day_job,
            energy.energy_job,
            exports.export_job,
            *results.analysis_jobs,
            nightly.nightly_job,
            outside_forecast.outside_forecast_job,
            reports.report_job,
            fleet_reports.fleet_report_job,
            monthly.monthly_job,
            retention.retention_job,
        ],
        sensors=[
            cadence.export_touched_days,
            cadence.follow_registry,
            energy.refill_energy,
            sensors.launch_waiting_jobs,
            sensors.end_dead_runs,
            sensors.note_failed_runs,
            sensors.note_canceled_runs,
        ],
        resources={"platform": Platform()},
        executor=dg.in_process_executor,
    )
