"""Every hour: does what was measured leave the stored forecast's band? Rules say for which devices to ask."""

from datetime import datetime

import dagster as dg

from assets.analyses import measured_hour
from assets.datasets import TelemetryReader
from ingest.rules import ForecastWatch, MeasuredHour
from orchestration.resources import Platform
from storage.forecast_bands import hours_back, newest_bands
from storage.rules import OUTSIDE_FORECAST, active_rules_with
from storage.stores import Stores
from storage.times import microseconds, utc_now


@dg.op(description="Compares the newest hours with the stored forecasts, and raises the alerts of rules.")
def compare_with_forecasts(context: dg.OpExecutionContext, platform: Platform) -> None:
    with platform.stores(context.run.run_id) as stores:
        compared, alerts = compare_hours(stores, utc_now())
    context.add_output_metadata({"compared": compared, "alerts": alerts})


def compare_hours(stores: Stores, now: datetime) -> tuple[int, int]:
    """Compare what the rules watch, raise and commit alerts; returns how many series were compared, and the alerts."""
    session = stores.session
    watch = ForecastWatch(session, stores.zone)
    reader = TelemetryReader(session, stores.telemetry, stores.objects)
    measured = {}
    for series, device_ids in watch.series.items():
        metric, count = series
        bands = newest_bands(session, device_ids, metric, *hours_back(now, count))
        for device_id, hours in bands.items():
            measured[device_id, series] = [
                MeasuredHour(
                    microseconds(hour.start),
                    *measured_hour(session, reader, device_id, metric, hour.start),
                    hour.lower,
                    hour.upper,
                )
                for hour in hours
            ]
    outcome = watch.raise_alerts(measured)
    session.commit()
    return len(measured), len(outcome.alerts)


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "analytics"},
    description="Raises alerts where a measured hour leaves the stored forecast's 95 % band (rules outside_forecast).",
)
def outside_forecast_job() -> None:
    compare_with_forecasts()


@dg.schedule(
    job=outside_forecast_job,
    cron_schedule="5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Five minutes after each hour, if a rule has the condition outside_forecast.",
)
def watch_forecasts(_context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
    with platform.session() as session:
        if not active_rules_with(session, OUTSIDE_FORECAST):
            return dg.SkipReason("No active rule has the condition outside_forecast.")
    return dg.RunRequest()
