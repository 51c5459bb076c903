"""Editions of a report: whether its datasets were made again since it was issued, and which report is newer."""

from collections.abc import Sequence
from datetime import UTC, date, timedelta
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlmodel import Session

from assets.datasets import TelemetryReader, energy_of
from assets.energy import fleet_energy
from assets.reports import combined_hash
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import Objects
from serving.reports.schemas import Outdated, ReportState
from serving.reports.subject import scope_of
from storage import catalogue, devices, reports
from storage.jobs import ReportJob
from storage.times import microseconds


class Editions:
    """Tells of completed reports how they stand to the datasets of now."""

    def __init__(self, session: Session, reader: TelemetryReader) -> None:
        self._session = session
        self._reader = reader

    def states(self, jobs: Sequence[ReportJob]) -> list[ReportState]:
        """The states of reports, with what is to be said of their editions."""
        newest = reports.newest_editions(self._session, {reports.first_edition(job) for job in jobs})
        return [ReportState.of(job, self._of(job, newest.get(reports.first_edition(job)))) for job in jobs]

    def _of(self, report: ReportJob, newest: ReportJob | None) -> dict[str, Any]:
        parameters = report.parameters or {}
        return {
            "edition": parameters.get("edition", 1),
            "edition_of": parameters.get("edition_of"),
            "newest_edition": newest.job_id if newest and newest.job_id != report.job_id else None,
            "outdated": self._outdated(report) if report.status == "completed" else None,
        }

    def _outdated(self, report: ReportJob) -> Outdated | None:
        made_from = (report.results or {}).get("provenance") or {}
        issued, now = _issued(made_from), self._now(report, made_from)
        changed = sum(name in issued and issued[name] != version for name, version in now.items())
        added = sum(name not in issued for name in now)
        if not (changed or added):
            return None
        kwh, kwh_now = made_from.get("energy_kwh"), self._energy(report, list(now))
        return Outdated(
            changed_files=changed,
            added_files=added,
            energy_issued_kwh=kwh,
            energy_now_kwh=kwh_now,
            difference_kwh=None if kwh is None or kwh_now is None else round(kwh_now - kwh, 6),
            new_edition=f"/api/reports/{report.job_id}/editions",
        )

    def _now(self, report: ReportJob, made_from: dict[str, Any]) -> dict[str, str]:
        """The current version of each file of a device's report, or of each device of a fleet's."""
        first, last = _days(report)
        if scope_of(report.device_id) == "device":
            return catalogue.day_hashes(self._session, [report.device_id], first, last)[report.device_id]
        names = [device["device_id"] for device in made_from.get("devices", ())]
        hashes = catalogue.day_hashes(self._session, names, first, last)
        return {name: combined_hash(files.values()) for name, files in hashes.items() if files}

    def _energy(self, report: ReportJob, names: Sequence[str]) -> float | None:
        start, end = microseconds(report.date_range_start), microseconds(report.date_range_end)
        ids = [report.device_id] if scope_of(report.device_id) == "device" else names
        energies = {name: energy_of(self._session, self._reader, name, start, end, files_only=True) for name in ids}
        if scope_of(report.device_id) == "device":
            return energies[report.device_id].kwh
        return fleet_energy(energies, devices.parents_of(self._session, names)).kwh


def _issued(made_from: dict[str, Any]) -> dict[str, str]:
    """The versions that a report was made from, by the key of the file or by the device."""
    files = {dataset["key"]: dataset["sha256"] for dataset in made_from.get("datasets", ())}
    of_devices = {device["device_id"]: device["sha256"] for device in made_from.get("devices", ()) if device["files"]}
    return files | of_devices


def _days(report: ReportJob) -> tuple[date, date]:
    """The first and the last UTC day of the report's period."""
    last = report.date_range_end - timedelta(microseconds=1)
    return report.date_range_start.astimezone(UTC).date(), last.astimezone(UTC).date()


async def _editions(request: Request, session: DatabaseSession, objects: Objects) -> Editions:
    state = request.app.state
    return Editions(
        session, TelemetryReader(session, state.telemetry, objects, cache=state.columns, figures=state.figures)
    )


ReportEditions = Annotated[Editions, Depends(_editions)]
