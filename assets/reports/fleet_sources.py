"""Reads the input of a fleet report from the stores: the energy and the alerts of each of its devices."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from sqlmodel import Session

from assets.datasets import TelemetryReader, energy_of
from assets.energy import SiteSettings, standby, working_periods
from assets.reports.comparison_periods import earlier_periods
from assets.reports.doubtful import without_doubtful
from assets.reports.errors import ReportError
from assets.reports.fleet import FleetInput, FleetMember, combined_hash
from storage import alerts, catalogue, devices, dirty_days
from storage.devices import Device, DeviceMetadata
from storage.jobs import ReportJob
from storage.stores import Stores
from storage.times import microseconds, utc_now

MAX_FLEET_DEVICES = 500


def gather_fleet(
    stores: Stores, job: ReportJob, code_version: str, progress: Callable[[float, str], None]
) -> FleetInput:
    """The input of the fleet report that a job requests: of the devices that it names, or of all of its tenant.

    Named devices that were deleted, or have moved to another tenant, are left out and named.

    Raises:
        ReportError: there are no devices, or too many.

    """
    session, start, end = stores.session, job.date_range_start.astimezone(UTC), job.date_range_end.astimezone(UTC)
    named: list[str] | None = (job.parameters or {}).get("device_ids")
    rows = devices.registered_devices(session, tenant_id=job.tenant_id, device_ids=named, limit=MAX_FLEET_DEVICES + 1)
    if not rows:
        raise ReportError("None of the devices is registered. Register devices, or name others.")
    if len(rows) > MAX_FLEET_DEVICES:
        raise ReportError(f"A fleet report has at most {MAX_FLEET_DEVICES} devices. Name some of them in device_ids.")
    gatherer = _Gatherer(stores, start, end)
    members = []
    for number, device in enumerate(rows):
        progress(90.0 * number / len(rows), f"Reading {device.device_id}")
        members.append(gatherer.member(device))
    return FleetInput(
        report_id=job.job_id,
        zone=stores.zone,
        start=start,
        end=end,
        members=members,
        parents=devices.parents_of(session, [device.device_id for device in rows]),
        left_out=sorted(set(named or ()) - {device.device_id for device in rows}),
        generated_at=utc_now(),
        code_version=code_version,
    )


class _Gatherer:
    """Reads the figures of one device after the other over a period."""

    def __init__(self, stores: Stores, start: datetime, end: datetime) -> None:
        self._session: Session = stores.session
        self._stores = stores
        self._reader = TelemetryReader(stores.session, stores.telemetry, stores.objects)
        self._site = SiteSettings.load()
        self._period = start, end
        self._range = microseconds(start), microseconds(end)
        _, since, until = earlier_periods(start, end, stores.zone)[0]
        self._before = microseconds(since), microseconds(until)
        self._days: tuple[date, date] = (start.date(), (end - timedelta(microseconds=1)).date())

    def member(self, device: Device) -> FleetMember:
        device_id, session = device.device_id, self._session
        start, end = self._range
        first, last = self._days
        metadata = DeviceMetadata.parse(device.metadata_json)
        zone = metadata.zone(self._stores.zone)
        energy = energy_of(session, self._reader, device_id, start, end, files_only=True)
        before = energy_of(session, self._reader, device_id, *self._before, files_only=True)
        total, still_open = alerts.count_alerts(session, device_id, *self._period, tenant_id=device.tenant_id)
        hashes = catalogue.day_hashes(session, [device_id], first, last)[device_id].values()
        return FleetMember(
            device_id=device_id,
            name=device.device_name,
            type=device.device_type,
            location=device.location,
            energy=energy,
            before=before,
            standby=standby(without_doubtful(energy), working_periods(metadata, self._site, zone, start, end), zone),
            alerts=total,
            alerts_open=still_open,
            waiting_days=sum(first <= row.day <= last for row in dirty_days.waiting(session, device_id=device_id)),
            files=len(hashes),
            files_sha256=combined_hash(hashes),
        )
