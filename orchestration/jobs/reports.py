"""Reports as an asset: a device's partition shows its latest report. A client's job is one run of one partition."""

import hashlib
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from sqlmodel import Session

from assets.analyses import ANALYSES
from assets.datasets import select_datasets
from assets.reports import (
    LANGUAGES,
    ReportError,
    ReportSettings,
    build_report,
    check_period,
    file_name,
    gather,
)
from orchestration.analyses.results import anomaly_result, failure_prediction, forecast
from orchestration.claimed_job import ClaimedJob, claimed_job, job_of_run
from orchestration.datasets.observations import DEVICE_HISTORY
from orchestration.metadata import api_page, code_version, device_pages
from orchestration.partitions import devices
from orchestration.resources import Platform
from storage import jobs
from storage.devices import Device
from storage.job_runs import dagster_job_name
from storage.jobs import JobCancelled, ReportJob
from storage.settings import Settings
from storage.times import midnight
from storage.validation import first_error, shown

DEFAULT_PERIOD = timedelta(days=30)
MOMENT = TypeAdapter[datetime](AwareDatetime)


class ReportConfig(dg.Config):
    """What to report: the body of `POST /api/reports/generate` without the device. All of it has defaults.

    Runs that clients asked for over REST do not use it.
    """

    date_range_start: Annotated[
        str | None,
        Field(description="Where the period begins, as 2026-02-12T00:00:00Z. By default, 30 days before its end."),
    ] = None
    date_range_end: Annotated[
        str | None, Field(description="Where the period ends. By default, where the device's newest dataset ends.")
    ] = None
    format: Annotated[Literal["pdf", "excel", "json", "html"], Field(description="The file's format.")] = "pdf"
    language: Annotated[
        str | None, Field(description="en or de: of its texts, numbers and dates. By default, that of SITE_LANGUAGE.")
    ] = None
    analysis_types: Annotated[
        list[str], Field(description="The analyses whose newest results the report has: anomaly, forecast, prediction.")
    ] = ["anomaly", "forecast"]  # noqa: RUF012 - Pydantic copies defaults

    def add_job(self, session: Session, device_id: str) -> ReportJob:
        """Add a job with this configuration for a device. The caller commits.

        Raises:
            NoTelemetry: no period is given, and the device has no datasets.
            ReportError: the configuration is wrong, or the device is not registered.

        """
        device = session.get(Device, device_id)
        if device is None:
            raise ReportError(f"There is no device {device_id}.")
        for name in self.analysis_types:
            if name not in ANALYSES:
                raise ReportError(f"analysis_types: {shown(name)} is not known; choose {' or '.join(ANALYSES)}.")
        if self.language is not None and self.language not in LANGUAGES:
            raise ReportError(f"language: {shown(self.language)} is not known; choose {' or '.join(LANGUAGES)}.")
        start, end = _moment("date_range_start", self.date_range_start), _moment("date_range_end", self.date_range_end)
        end = end or midnight(select_datasets(session, device_id)[-1].end_date + timedelta(days=1))
        start = start or end - DEFAULT_PERIOD
        check_period(start, end)
        job = ReportJob(
            job_id=jobs.new_job_id(ReportJob),
            tenant_id=device.tenant_id,
            device_id=device_id,
            analysis_types=list(dict.fromkeys(self.analysis_types)),
            format=self.format,
            parameters={"language": self.language} if self.language else None,
            date_range_start=start,
            date_range_end=end,
        )
        session.add(job)
        return job


def _moment(name: str, value: str | None) -> datetime | None:
    try:
        return MOMENT.validate_python(value) if value else None
    except ValidationError as error:
        raise ReportError(f"{name}: {first_error(error.errors(include_url=False))}.") from None


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
    job_id = job_of_run(context, platform, lambda session: config.add_job(session, context.partition_key))
    with claimed_job(context, platform, ReportJob, job_id) as claimed:
        if claimed:
            yield dg.MaterializeResult(metadata=_make_report(claimed, platform.settings))


def _make_report(claimed: ClaimedJob[ReportJob], settings: Settings) -> dict[str, Any]:
    """Write the report's file, complete the job, and return metadata for Dagster."""
    job, objects = claimed.job, claimed.stores.objects
    limits = ReportSettings.load()
    claimed.report_progress(2.0, "Reading")
    data = gather(claimed.stores, job, code_version())
    language = (job.parameters or {}).get("language") or limits.site_language
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        report = build_report(
            data,
            job.format,
            folder=Path(folder),
            quarto=limits.quarto,
            language=language,
            template=limits.report_template,
            timeout_seconds=settings.report_timeout_seconds,
            max_bytes=int(limits.max_report_size_mb * 1_000_000),
            progress=lambda percent, message: claimed.report_progress(5 + 0.9 * percent, message),
        )
    name = file_name(job.device_id, job.date_range_start, job.date_range_end, data.zone, report.suffix)
    key = f"reports/{job.device_id}/{job.job_id}/{name}"
    objects.put(key, report.content)
    results = {
        "key": key,
        "media_type": report.media_type,
        "size_bytes": len(report.content),
        "sha256": hashlib.sha256(report.content).hexdigest(),
        "provenance": {
            "datasets": data.datasets,
            "code_version": data.code_version,
            "language": language,
            "renderer": report.facts.get("renderer"),
        },
    }
    try:
        claimed.complete("Completed", results=results)
    except JobCancelled:
        objects.delete(key)
        raise
    return {
        "job": job.job_id,
        "download": api_page(f"/api/reports/download/{job.job_id}"),
        **device_pages(job.device_id),
        "format": job.format,
        "period": f"{job.date_range_start.isoformat()} to {job.date_range_end.isoformat()}",
        "sha256": results["sha256"],
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
