"""Analyses as assets: the partition of a device shows its latest result. A job of REST is one run of one partition."""

from datetime import date, timedelta
from typing import Any

import dagster as dg
from sqlmodel import Session

from assets import pictures
from assets.analyses import ANALYSES, analyse
from assets.datasets import provenance, read_history, select_datasets
from orchestration.datasets.daily import DEVICE_HISTORY
from orchestration.metadata import code_version, picture
from orchestration.partitions import devices
from orchestration.resources import Platform
from orchestration.run_job import run_job
from storage import jobs
from storage.jobs import ID_TAG, AnalyticsJob
from storage.stores import Stores
from storage.times import midnight, utc_now


def _asset(analysis_type: str, name: str, description: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        deps=[DEVICE_HISTORY],
        partitions_def=devices,
        group_name="analytics",
        kinds={"python", "scikitlearn"} if analysis_type == "anomaly" else {"python"},
        owners=["team:data"],
        code_version=code_version(),
        output_required=False,
        description=description,
    )
    def result(context: dg.AssetExecutionContext, platform: Platform) -> Any:
        job_id = context.run.tags.get(ID_TAG)
        if job_id is None:  # asked for in Dagster, by hand or by a backfill
            with platform.session() as session:
                job_id = new_job(session, context.partition_key, analysis_type).job_id
        facts = run_job(context, platform, AnalyticsJob, job_id, do_analysis)
        if facts is not None:
            yield dg.MaterializeResult(metadata=facts)

    return result


def new_job(
    session: Session, device_id: str, analysis_type: str, *, start: date | None = None, end: date | None = None
) -> AnalyticsJob:
    """A job over a device's days, all or from start to end, with the first model, as a client would have asked for it.

    Raises:
        NoTelemetry: there are none.

    """
    days = select_datasets(session, device_id, start=start, end=end)
    job = AnalyticsJob(
        job_id=jobs.new_job_id(AnalyticsJob),
        tenant_id=days[-1].tenant_id,
        device_id=device_id,
        analysis_type=analysis_type,
        model_name=ANALYSES[analysis_type].models[0],
        date_range_start=midnight(days[0].start_date),
        date_range_end=midnight(days[-1].end_date + timedelta(days=1)),
    )
    session.add(job)
    session.commit()
    return job


def do_analysis(stores: Stores, job: AnalyticsJob) -> dict[str, Any]:
    session = stores.session
    started = utc_now()
    jobs.report_progress(session, job, 2.0, "Reading datasets")
    parameters = ANALYSES[job.analysis_type].parameters.model_validate(job.parameters or {})
    chosen, table = read_history(
        stores,
        job.device_id,
        key=job.dataset_key,
        start=job.date_range_start.date(),
        end=(job.date_range_end - timedelta(microseconds=1)).date(),
        with_errors=parameters.with_errors,
    )
    result = analyse(
        job.analysis_type,
        job.model_name,
        table,
        parameters,
        lambda percent, message: jobs.report_progress(session, job, 5 + 0.9 * percent, message),
    )
    made_from = {
        "datasets": provenance(chosen),
        "rows": len(table),
        "code_version": code_version(),
        "parameters": parameters.model_dump(mode="json"),
    }
    results = {**result.results, "provenance": made_from}
    seconds = (utc_now() - started).total_seconds()
    jobs.complete(session, job, "Completed", results=results, accuracy_metrics=result.accuracy_metrics)
    return {
        "job": job.job_id,
        "model": job.model_name,
        "dagster/row_count": len(table),
        "seconds": seconds,
        "datasets": dg.MetadataValue.json(provenance(chosen)),
        **{name: value for name, value in result.accuracy_metrics.items() if isinstance(value, int | float | str)},
        **_result_facts(job, table, results),
    }


def _result_facts(job: AnalyticsJob, table: Any, results: dict[str, Any]) -> dict[str, Any]:
    if job.analysis_type == "anomaly":
        return {
            "events": len(results["events"]),
            "anomalous rows": len(results["anomalies"]),
            "the result": picture(pictures.anomaly_picture(job.device_id, table, results)),
        }
    if job.analysis_type == "forecast":
        return {"the result": picture(pictures.forecast_picture(job.device_id, results))}
    return {
        "failure probability": results["failure_probability"],
        "the result": picture(pictures.prediction_picture(job.device_id, results)),
    }


anomaly_result = _asset(
    "anomaly",
    "anomaly_result",
    "Readings that deviate from how the device behaved: scores, events, the channel that showed them.",
)
failure_prediction = _asset(
    "prediction",
    "failure_prediction",
    "How likely the device fails within the horizon, learnt from its recorded failures; without any the job says so.",
)
forecast = _asset(
    "forecast", "forecast", "The next hours of a metric with calibrated bands, beside the seasonal-naive baseline."
)


def _job(name: str, asset: dg.AssetsDefinition, description: str) -> Any:
    return dg.define_asset_job(
        name,
        selection=[asset],
        executor_def=dg.in_process_executor,
        tags={"energy/purpose": "analytics"},
        description=description,
    )


analysis_jobs = [
    _job("anomaly_job", anomaly_result, "Anomaly detection of one device (POST /api/v1/analytics/run)."),
    _job("prediction_job", failure_prediction, "Failure prediction of one device (POST /api/v1/analytics/run)."),
    _job("forecast_job", forecast, "Forecast of one device (POST /api/v1/analytics/run)."),
]
