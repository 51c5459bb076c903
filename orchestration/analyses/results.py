"""Analyses as assets: a device's partition shows its latest result. A client's job is one run of one partition."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets import pictures
from assets.analyses import (
    ANALYSES,
    AnalysisType,
    AnomalyParameters,
    CannotAnalyse,
    Parameters,
    Result,
    analyse,
    device_context,
    ranking_of,
)
from assets.datasets import LeftOutDay, days_in_words, provenance, read_history
from orchestration.analyses.kept import keep, model_json, usable_model
from orchestration.analyses.run_config import config_of
from orchestration.analyses.scores import store_scores
from orchestration.claimed_job import ClaimedJob, claimed_job, job_of_run
from orchestration.datasets.observations import DEVICE_HISTORY
from orchestration.metadata import api_page, code_version, device_pages, files_metadata, picture
from orchestration.partitions import device_of_run, devices
from orchestration.resources import Platform
from storage.analysis_retention import scores_key
from storage.job_runs import dagster_job_name
from storage.jobs import AnalyticsJob, JobCancelled
from storage.times import utc_now


def _asset(analysis_type: AnalysisType, name: str, description: str) -> dg.AssetsDefinition:
    config_class: Any = config_of(analysis_type)

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
    def result(
        context: dg.AssetExecutionContext,
        platform: Platform,
        config: config_class,
    ) -> Any:
        job_id = job_of_run(
            context,
            platform,
            lambda session: config.add_job(session, device_of_run(context.run.tags), analysis_type),
        )
        with claimed_job(context, platform, AnalyticsJob, job_id) as claimed:
            if claimed:
                yield dg.MaterializeResult(metadata=perform_analysis(claimed))

    return result


def perform_analysis(claimed: ClaimedJob[AnalyticsJob], *, keep_scores: bool = True) -> dict[str, Any]:
    """Read the job's datasets, analyse them, complete the job, and return metadata for Dagster.

    With `keep_scores`, the scores of all rows become a file.
    """
    started, job = utc_now(), claimed.job
    claimed.report_progress(2.0, "Reading datasets")
    parameters = ANALYSES[job.analysis_type].parameters.model_validate(job.parameters or {})
    datasets, table, left_out = read_history(
        claimed.stores,
        job.device_id,
        key=job.dataset_key,
        start=job.date_range_start.date(),
        end=(job.date_range_end - timedelta(microseconds=1)).date(),
        with_errors=parameters.with_errors,
        as_means=isinstance(parameters, AnomalyParameters),
        metrics=parameters.metrics if isinstance(parameters, AnomalyParameters) else None,
    )
    stores, objects = claimed.stores, claimed.stores.objects
    usable = usable_model(stores, job, parameters)
    result = _analyse(claimed, table, parameters, left_out, usable[1] if usable else None)
    new = keep(stores, job, parameters, datasets, result) if result.fitted is not None else None
    model = new or (usable[0] if usable else None)
    made_from = {
        "datasets": provenance(datasets),
        "rows": len(table),
        "code_version": code_version(),
        "parameters": parameters.model_dump(mode="json"),
        "model": model_json(model, is_new=new is not None) if model else None,
    }
    days = [{"date": day.day.isoformat(), "reason": day.reason} for day in left_out]
    scores = None
    if keep_scores and result.scores is not None:
        scores = store_scores(objects, job, result.scores)
    results = {**result.results, "left_out_days": days, "scores": scores, "provenance": made_from}
    last = pc.max(table["timestamp"]).as_py()
    figures = {"ranking": ranking_of(job.analysis_type, results, last), "data_until": last}
    try:
        claimed.complete("Completed", results=results, accuracy_metrics=result.accuracy_metrics, **figures)
    except JobCancelled:
        objects.delete(scores_key(job))
        if new is not None:
            objects.delete(new.object_key)
        raise
    return {
        "job": job.job_id,
        "result": api_page(f"/api/v1/analytics/results/{job.job_id}"),
        "model": job.model_name,
        "period": f"{job.date_range_start:%Y-%m-%d} to {job.date_range_end - timedelta(days=1):%Y-%m-%d}",
        "dagster/row_count": len(table),
        "seconds": (utc_now() - started).total_seconds(),
        **device_pages(job.device_id),
        **files_metadata(datasets),
        "datasets": dg.MetadataValue.json(provenance(datasets)),
        **{name: value for name, value in result.accuracy_metrics.items() if isinstance(value, int | float | str)},
        **_result_metadata(job, table, results),
    }


def _analyse(
    claimed: ClaimedJob[AnalyticsJob],
    table: pa.Table,
    parameters: Parameters,
    left_out: list[LeftOutDay],
    kept: Any,
) -> Result:
    job = claimed.job
    context = device_context(claimed.stores, job.device_id, job.date_range_start, job.date_range_end, left_out)
    context = replace(context, kept=kept)
    try:
        return analyse(
            job.analysis_type,
            job.model_name,
            table,
            parameters,
            lambda percent, message: claimed.report_progress(5 + 0.9 * percent, message),
            context=context,
        )
    except CannotAnalyse as error:
        if not left_out:
            raise
        days = "1 day is" if len(left_out) == 1 else f"{len(left_out)} days are"
        raise CannotAnalyse(f"{error} {days} left out because of errors: {days_in_words(left_out)}.") from None


def _result_metadata(job: AnalyticsJob, table: pa.Table, results: dict[str, Any]) -> dict[str, Any]:
    if job.analysis_type == "anomaly":
        return {
            "events": len(results["events"]),
            "anomalous rows": len(results["anomalies"]),
            "chart": picture(pictures.anomaly_picture(job.device_id, table, results)),
        }
    if job.analysis_type == "forecast":
        return {"chart": picture(pictures.forecast_picture(job.device_id, results))}
    return {
        "failure probability": results["failure_probability"],
        "chart": picture(pictures.prediction_picture(job.device_id, results)),
    }


anomaly_result = _asset(
    "anomaly",
    "anomaly_result",
    "Readings that differ from the device's usual behaviour: scores, events, and the metrics that caused them.",
)
failure_prediction = _asset(
    "prediction",
    "failure_prediction",
    "The probability that the device fails within the horizon, learned from its recorded failures. A job without"
    " recorded failures fails and says so.",
)
forecast = _asset(
    "forecast",
    "forecast",
    "The next hours of a metric with calibrated intervals, compared with a seasonal-naive baseline.",
)

ANALYSIS_ASSETS: dict[str, dg.AssetsDefinition] = {
    "anomaly": anomaly_result,
    "prediction": failure_prediction,
    "forecast": forecast,
}


def _job(analysis_type: AnalysisType, description: str) -> Any:
    return dg.define_asset_job(
        dagster_job_name(analysis_type),
        selection=[ANALYSIS_ASSETS[analysis_type]],
        executor_def=dg.in_process_executor,
        tags={"energy/purpose": "analytics"},
        description=description,
    )


analysis_jobs = [
    _job("anomaly", "Detects anomalies of one device (POST /api/v1/analytics/run)."),
    _job("prediction", "Predicts failures of one device (POST /api/v1/analytics/run)."),
    _job("forecast", "Forecasts a metric of one device (POST /api/v1/analytics/run)."),
]
