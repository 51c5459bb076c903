"""The run config of the report assets: what `POST /api/reports/generate` takes, with the defaults in the launchpad."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from sqlmodel import Session

from assets.analyses import ANALYSES
from assets.datasets import NoTelemetry, select_datasets
from assets.reports import LANGUAGES, MAX_FLEET_DEVICES, ReportError, check_period
from storage import catalogue, devices, jobs, reports as stored
from storage.devices import Device
from storage.jobs import FLEET, ReportJob
from storage.times import midnight
from storage.validation import first_error, shown

DEFAULT_PERIOD = timedelta(days=30)
ONE_DAY = timedelta(days=1)
MOMENT = TypeAdapter[datetime](AwareDatetime)


class _Config(dg.Config):
    """What both kinds of report take. All of it has defaults. Runs that clients asked for over REST do not use it."""

    date_range_start: Annotated[
        str | None,
        Field(description="Where the period begins, as 2026-02-12T00:00:00Z. By default, 30 days before its end."),
    ] = None
    date_range_end: Annotated[
        str | None, Field(description="Where the period ends. By default, where the newest dataset ends.")
    ] = None
    format: Annotated[Literal["pdf", "excel", "json", "html"], Field(description="The file's format.")] = "pdf"
    language: Annotated[
        str | None, Field(description="en or de: of its texts, numbers and dates. By default, that of SITE_LANGUAGE.")
    ] = None

    def _job(
        self, device_id: str, tenant_id: str | None, newest_end: Callable[[], datetime], **parameters: Any
    ) -> ReportJob:
        """A job over the configured period; by default it ends at `newest_end`.

        Raises:
            ReportError: the configuration is wrong.

        """
        if self.language is not None and self.language not in LANGUAGES:
            raise ReportError(f"language: {shown(self.language)} is not known; choose {' or '.join(LANGUAGES)}.")
        start, end = _moment("date_range_start", self.date_range_start), _moment("date_range_end", self.date_range_end)
        end = end or newest_end()
        start = start or end - DEFAULT_PERIOD
        check_period(start, end)
        return ReportJob(
            job_id=jobs.new_job_id(ReportJob),
            tenant_id=tenant_id,
            device_id=device_id,
            format=self.format,
            parameters=stored.report_parameters(language=self.language, **parameters),
            date_range_start=start,
            date_range_end=end,
        )


class ReportConfig(_Config):
    """What to report: the body of `POST /api/reports/generate` without the device. All of it has defaults.

    Runs that clients asked for over REST do not use it.
    """

    analysis_types: Annotated[
        list[str], Field(description="The analyses that the report has: anomaly, forecast, prediction.")
    ] = ["anomaly", "forecast"]  # noqa: RUF012 - Pydantic copies defaults
    compute_missing: Annotated[
        bool, Field(description="Whether analyses that are missing or outdated are made before the report.")
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
        job = self._job(
            device_id,
            device.tenant_id,
            lambda: midnight(select_datasets(session, device_id)[-1].end_date + ONE_DAY),
            compute_missing=self.compute_missing,
        )
        job.analysis_types = list(dict.fromkeys(self.analysis_types))
        session.add(job)
        return job


class FleetReportConfig(_Config):
    """What to report: the body of `POST /api/reports/generate` with the scope `fleet`. All of it has defaults.

    Runs that clients asked for over REST do not use it.
    """

    device_ids: Annotated[
        list[str], Field(description=f"The devices, at most {MAX_FLEET_DEVICES}. By default, all of them.")
    ] = []  # noqa: RUF012 - Pydantic copies defaults
    tenant_id: Annotated[
        str | None, Field(description="Whose devices it is about, and who sees it. By default, those of all tenants.")
    ] = None

    def add_job(self, session: Session) -> ReportJob:
        """Add a job with this configuration. The caller commits.

        Raises:
            NoTelemetry: no period is given, and none of the devices has datasets.
            ReportError: the configuration is wrong, or a device is not registered.

        """
        named = list(dict.fromkeys(self.device_ids))
        if len(named) > MAX_FLEET_DEVICES:
            raise ReportError(f"device_ids: {len(named)} devices are named; the limit is {MAX_FLEET_DEVICES}.")
        rows = devices.registered_devices(
            session, tenant_id=self.tenant_id, device_ids=named or None, limit=MAX_FLEET_DEVICES + 1
        )
        known = [device.device_id for device in rows]
        if missing := [name for name in named if name not in known]:
            of_tenant = f" of tenant {shown(self.tenant_id)}" if self.tenant_id else ""
            raise ReportError(f"device_ids: there is no device {shown(missing[0])}{of_tenant}.")

        def newest_end() -> datetime:
            newest = catalogue.newest_day(session, known)
            if newest is None:
                raise NoTelemetry("None of the devices has a dataset. Give date_range_start and date_range_end.")
            return midnight(newest + ONE_DAY)

        job = self._job(FLEET, self.tenant_id, newest_end, device_ids=named)
        session.add(job)
        return job


def _moment(name: str, value: str | None) -> datetime | None:
    try:
        return MOMENT.validate_python(value) if value else None
    except ValidationError as error:
        raise ReportError(f"{name}: {first_error(error.errors(include_url=False))}.") from None
