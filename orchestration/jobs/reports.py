"""Reports as an asset: a device's partition shows its latest report. A client's job is one run of one partition."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from sqlmodel import Session

from assets.analyses import ANALYSES
from assets.datasets import select_datasets
from assets.reports import (
    LANGUAGES,
    ReportError,
    check_period,
    gather,
)
from orchestration.analyses.results import anomaly_result, failure_prediction, forecast
from orchestration.claimed_job import claimed_job, job_of_run
from orchestration.datasets.observations import DEVICE_HISTORY
from orchestration.jobs.missing_analyses import compute_missing
from orchestration.jobs.report_files import make_file
from orchestration.metadata import code_version, device_pages
from orchestration.partitions import devices
from orchestration.resources import Platform
from storage import jobs, reports as stored
from storage.devices import Device
from storage.job_runs import dagster_job_name
from storage.jobs import ReportJob
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
    compute_missing: Annotated[
        bool, Field(description="Whether analyses that are missing are made before the report.")
    ] = False

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
            parameters=stored.report_parameters(language=self.language, compute_missing=self.compute_missing),
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
            claimed.report_progress(1.0, "Looking for analyses")
            is_asked = (claimed.job.parameters or {}).get("compute_missing")
            reasons = compute_missing(context, platform, claimed.job) if is_asked else {}
            claimed.report_progress(2.0, "Reading")
            data = gather(claimed.stores, claimed.job, code_version(), reasons)
            metadata = make_file(claimed, data, platform.settings, {"datasets": data.datasets}, since=5)
            yield dg.MaterializeResult(metadata={**metadata, **device_pages(context.partition_key)})


report_job = dg.define_asset_job(
    dagster_job_name("report"),
    selection=[device_report],
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "report"},
    description="Makes one report (POST /api/reports/generate).",
)
