"""Analyses that a report asks for and that are missing or outdated: the report's own run makes them before it."""

from datetime import UTC, date, timedelta
from typing import Literal, cast

import dagster as dg
from sqlmodel import Session

from assets.analyses import AnalysisType, changed_days
from assets.datasets import NoTelemetry, select_datasets
from assets.reports import Missing
from orchestration.analyses.results import ANALYSIS_ASSETS, perform_analysis
from orchestration.analyses.run_config import add_job
from orchestration.claimed_job import claimed_job
from orchestration.resources import Platform
from storage import jobs
from storage.jobs import AnalyticsJob, ReportJob
from storage.times import midnight

# An analysis learns from at least so many days before the period's end, as those of every night do.
MIN_DAYS = 28


# Why an analysis could not be made, by the error that ended it.
KINDS: dict[str, Literal["no_readings", "unfit", "unsuitable"]] = {
    "CannotAnalyse": "unsuitable",
    "NoTelemetry": "no_readings",
    "UnfitDatasets": "unfit",
}


def compute_missing(context: dg.AssetExecutionContext, platform: Platform, report: ReportJob) -> dict[str, Missing]:
    """Make the analyses that the report asks for and that are missing or outdated; return why some could not be made.

    Each is a job of its own, as if a client had asked for it.
    """
    reasons = {}
    for analysis_type in report.analysis_types:
        try:
            if job := _add_missing(platform, report, analysis_type):
                _perform(context, platform, job)
        except NoTelemetry as error:
            reasons[analysis_type] = Missing("no_readings", str(error))
        except dg.Failure as error:
            name = error.metadata.get("error")
            kind = KINDS.get(str(name.value)) if name else None
            reasons[analysis_type] = Missing(kind or "failed", error.description or "It failed.")
    return reasons


def _add_missing(platform: Platform, report: ReportJob, analysis_type: str) -> AnalyticsJob | None:
    """Add the job of an analysis over the period, and over days before it if that is short; None if none is needed."""
    start, end = report.date_range_start.astimezone(UTC), report.date_range_end.astimezone(UTC)
    last = (end - timedelta(microseconds=1)).date()
    first = min(start.date(), last - timedelta(days=MIN_DAYS - 1))
    with platform.session() as session:
        known = jobs.analysis_of_period(session, report.device_id, analysis_type, start, end)
        if known and _is_up_to_date(session, known, report, first, last):
            return None
        job = add_job(session, report.device_id, cast("AnalysisType", analysis_type), start=first, end=last)
        session.commit()
        return job


def _is_up_to_date(session: Session, known: AnalyticsJob, report: ReportJob, first: date, last: date) -> bool:
    """Whether an analysis made now from the files of these days would say no more of the report's period."""
    try:
        files = select_datasets(session, known.device_id, start=first, end=last)
    except NoTelemetry:
        return True  # there is nothing to make another one from
    since, until = midnight(files[0].start_date), midnight(files[-1].end_date + timedelta(days=1))
    is_short = known.date_range_end < min(until, report.date_range_end)
    if known.analysis_type == "anomaly":
        is_short = is_short or known.date_range_start > max(since, report.date_range_start)
    return not is_short and not changed_days(session, known)


def _perform(context: dg.AssetExecutionContext, platform: Platform, job: AnalyticsJob) -> None:
    with claimed_job(context, platform, AnalyticsJob, job.job_id) as claimed:
        if claimed:
            metadata, asset = perform_analysis(claimed), ANALYSIS_ASSETS[job.analysis_type]
            context.instance.report_runless_asset_event(
                dg.AssetMaterialization(asset.key, partition=job.device_id, metadata=metadata)
            )
