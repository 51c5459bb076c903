"""Reads the input of a report from the stores: datasets and alerts of the period, and its analyses."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from sqlmodel import Session

from assets.analyses import changed_days
from assets.datasets import TelemetryReader, energy_of, provenance, read_days, state_totals_of
from assets.energy import EnergyFigures, SiteSettings, working_periods
from assets.energy.figures import energy_figures
from assets.energy.kept import steps_in
from assets.energy.table import TableDays
from assets.reports.comparison_periods import earlier_periods
from assets.reports.inputs import Earlier, Missing, ReportInput
from storage import catalogue, corrections, dirty_days, failures
from storage.alerts import newest_alerts
from storage.bands import nominal_bands
from storage.devices import Device, DeviceMetadata
from storage.jobs import ReportJob, analysis_of_period
from storage.stores import Stores
from storage.telemetry import TIME
from storage.times import DAY, HOUR, microseconds, midnight, utc_now

MAX_ALERTS = 10_000
_OF_ANALYSIS = {
    "job_id", "model_name", "dataset_key", "results", "accuracy_metrics", "completed_at", "date_range_start",
    "date_range_end",
}  # fmt: skip
ONE_DAY = timedelta(days=1)
YEAR = 365 * DAY
NOON = timedelta(hours=12)  # a UTC day is of the period if its noon is


def gather(
    stores: Stores, job: ReportJob, code_version: str, reasons: Mapping[str, Missing] = MappingProxyType({})
) -> ReportInput:
    """The input of the report that a job requests. If the device was deleted, its id is its name.

    `reasons` says why analyses are missing that were tried.
    """
    session = stores.session
    device = session.get(Device, job.device_id) or Device(
        device_id=job.device_id, device_name=job.device_id, device_type="unknown"
    )
    metadata = DeviceMetadata.parse(device.metadata_json)
    start, end = job.date_range_start, job.date_range_end
    alerts, alerts_total = newest_alerts(session, job.device_id, start, end, tenant_id=job.tenant_id, limit=MAX_ALERTS)
    first, last = _utc_days(job)
    # Read before the files: a day that is exported in between is then named without need, instead of not at all.
    waiting = [row.day for row in dirty_days.waiting(session, device_id=job.device_id) if first <= row.day <= last]
    read = read_days(stores, job.device_id, first, last)
    readings, exported = read.rows, {day.start_date for day in read.days}
    before = catalogue.datasets_of(session, job.device_id, start=first - ONE_DAY, end=first - ONE_DAY, kind="day")
    reader = TelemetryReader(session, stores.telemetry, stores.objects)
    zone, bands = metadata.zone(stores.zone), nominal_bands(metadata)

    def energy_over(since: datetime, until: datetime) -> EnergyFigures:
        return energy_of(session, reader, job.device_id, microseconds(since), microseconds(until), files_only=True)

    def working_over(since: datetime, until: datetime) -> list[tuple[int, int]]:
        return working_periods(metadata, SiteSettings.load(), zone, microseconds(since), microseconds(until))

    return ReportInput(
        report_id=job.job_id,
        device_id=job.device_id,
        device_name=device.device_name,
        device_type=device.device_type,
        location=device.location,
        zone=zone,
        start=start.astimezone(UTC),
        end=end.astimezone(UTC),
        readings=readings if len(readings) else pa.table({"timestamp": pa.array([], TIME)}),
        alerts=[alert.model_dump(mode="json") for alert in alerts],
        alerts_total=alerts_total,
        analyses={name: _analysis(session, job, name, reasons.get(name)) for name in job.analysis_types},
        generated_at=utc_now(),
        datasets=provenance(read.datasets),
        bands=bands,
        usual_bands=set(bands) - set(metadata.bands),
        counters=metadata.counters,
        cadence_seconds=metadata.cadence_seconds,
        code_version=code_version,
        waiting_days=waiting,
        unexported_days=[day for day in waiting if day not in exported and day not in read.from_wider],
        removed_days=[day for day in read.removed if day not in waiting],
        checks=[
            (day.start_date, day.checks)
            for day in read.days
            if day.checks and start <= midnight(day.start_date) + NOON < end
        ],
        maker=" ".join(filter(None, (device.manufacturer, device.model))) or None,
        max_power_w=metadata.max_power_w,
        energy=_energy_of_table(reader, job, metadata, readings) if read.from_wider else energy_over(start, end),
        working=working_over(start, end),
        outside_hours_of_year=(YEAR - sum(to - since for since, to in working_over(end - timedelta(365), end))) / HOUR,
        earlier=[
            Earlier(basis, since, until, energy_over(since, until), working_over(since, until))
            for basis, since, until in earlier_periods(start, end, zone)
        ],
        states=state_totals_of(session, reader, job.device_id, microseconds(start), microseconds(end)),
        corrections=corrections.seen_by(
            session,
            (row for row in corrections.active(session, job.device_id) if row.starts_at < end and start < row.ends_at),
            job.tenant_id,
        ),
        failures=[
            failure.model_dump()
            for failure in failures.of_devices(session, [job.device_id]).get(job.device_id, ())
            if start <= failure.failed_at < end
        ],
        steps={microseconds(midnight(day.start_date)): steps_in(day.energy) for day in (*before, *read.days)},
    )


def _energy_of_table(
    reader: TelemetryReader, job: ReportJob, metadata: DeviceMetadata, readings: pa.Table
) -> EnergyFigures:
    """Energy from the rows that were read. The catalogue has no figures of days whose file was deleted."""
    start, end, now = (microseconds(moment) for moment in (job.date_range_start, job.date_range_end, utc_now()))
    known = reader.corrections(job.device_id)
    return energy_figures(TableDays(readings), metadata, start, end, now, corrections=known)


def _analysis(session: Session, job: ReportJob, analysis_type: str, tried: Missing | None) -> dict[str, Any]:
    """The completed analysis that suits the period best, or why there is none."""
    analysis = analysis_of_period(session, job.device_id, analysis_type, job.date_range_start, job.date_range_end)
    if analysis is None:
        return {"missing": tried}
    made = {"changed_days": changed_days(session, analysis), "not_renewed": tried}
    return {**analysis.model_dump(include=_OF_ANALYSIS), **made}


def _utc_days(job: ReportJob) -> tuple[date, date]:
    """The first and the last UTC day of a job's range."""
    start, end = job.date_range_start, job.date_range_end
    return start.astimezone(UTC).date(), (end - timedelta(microseconds=1)).astimezone(UTC).date()
