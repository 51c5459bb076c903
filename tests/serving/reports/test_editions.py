"""Issued reports whose datasets were made again: they say so and by how much, and offer a new edition."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from assets.datasets import export_day, provenance
from storage import catalogue, dirty_days, jobs
from storage.devices import Device
from storage.jobs import FLEET, ReportJob
from storage.stores import Stores
from storage.telemetry import Reading
from storage.times import microseconds

DAY = date(2026, 2, 12)
START = datetime(2026, 2, 12, tzinfo=UTC)
ONE_DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _device(session: Session, stores: Stores) -> None:
    session.add(Device(device_id="D1", device_name="Pump", device_type="pump", tenant_id="acme"))
    session.commit()
    write(stores, START, 1000.0)


def write(stores: Stores, start: datetime, power: float) -> None:
    """A day of readings with this power, and its file."""
    readings = [
        Reading(device_id="D1", time=microseconds(start) + m * 60_000_000, metrics={"power": power}, received_at=0)
        for m in range(1440)
    ]
    stores.telemetry.write(readings)
    dirty_days.mark_dirty(stores.session, ((reading.device_id, reading.time) for reading in readings))
    stores.session.commit()
    export_day(stores, "D1", start.date())
    stores.session.commit()


def issued(session: Session, made_from: dict[str, Any], kwh: float, **changes: Any) -> str:
    """A report of two days that was completed with this energy; its id."""
    job = ReportJob(
        **{
            "job_id": jobs.new_job_id(ReportJob), "tenant_id": "acme", "device_id": "D1", "format": "pdf",
            "analysis_types": ["anomaly"], "date_range_start": START, "date_range_end": START + 2 * ONE_DAY,
            "status": "completed",
            "results": {"key": "k", "provenance": {**made_from, "energy_kwh": kwh}}, **changes,
        }
    )  # fmt: skip
    session.add(job)
    session.commit()
    return job.job_id


def files(session: Session) -> dict[str, Any]:
    return {"datasets": provenance(catalogue.datasets_of(session, "D1", kind="day"))}


def test_a_report_says_that_its_datasets_were_made_again(client: TestClient, session: Session, stores: Stores) -> None:
    job_id = issued(session, files(session), 24.0)
    status = client.get(f"/api/reports/status/{job_id}").json()
    assert (status["edition"], status["outdated"]) == (1, None)
    write(stores, START, 1500.0)
    write(stores, START + ONE_DAY, 1000.0)
    outdated = client.get(f"/api/reports/status/{job_id}").json()["outdated"]
    assert (outdated["changed_files"], outdated["added_files"], outdated["energy_issued_kwh"]) == (1, 1, 24.0)
    assert outdated["energy_now_kwh"] == pytest.approx(60.0, rel=1e-2)
    assert outdated["difference_kwh"] == pytest.approx(outdated["energy_now_kwh"] - 24.0)
    (in_list,) = client.get("/api/reports/jobs").json()["data"]
    assert in_list["outdated"] == outdated


def test_a_new_edition_leaves_the_old_one(client: TestClient, session: Session, stores: Stores) -> None:
    first = issued(session, files(session), 24.0, parameters={"language": "de"})
    write(stores, START, 1500.0)
    path = client.get(f"/api/reports/status/{first}").json()["outdated"]["new_edition"]
    answer = client.post(path)
    assert answer.status_code == 202, answer.text
    second = answer.json()["job_id"]
    row = session.exec(select(ReportJob).where(ReportJob.job_id == second)).one()
    assert (row.tenant_id, row.format, row.analysis_types) == ("acme", "pdf", ["anomaly"])
    assert row.parameters == {"language": "de", "edition": 2, "edition_of": first}
    old, new = (client.get(f"/api/reports/status/{job_id}").json() for job_id in (first, second))
    assert (old["status"], old["newest_edition"], old["outdated"] is None) == ("completed", second, False)
    assert (new["status"], new["edition"], new["edition_of"], new["newest_edition"]) == ("pending", 2, first, None)
    assert client.post(f"/api/reports/{second}/editions").status_code == 409
    jobs.claim(session, ReportJob, second, "run")
    jobs.complete(session, row, "Completed", results={"key": "k"})
    session.commit()
    third = client.post(f"/api/reports/{second}/editions").json()["job_id"]
    newest = client.get(f"/api/reports/status/{third}").json()
    assert (newest["edition"], newest["edition_of"]) == (3, first)


def test_a_fleets_report_counts_devices_whose_files_were_made_again(
    client: TestClient, session: Session, stores: Stores
) -> None:
    made_from = {"devices": [{"device_id": "D1", "files": 1, "sha256": "of the files then"}]}
    job_id = issued(session, made_from, 24.0, device_id=FLEET)
    state = client.get(f"/api/reports/status/{job_id}").json()
    assert (state["scope"], state["device_id"], state["device_ids"]) == ("fleet", "*", None)
    assert (state["outdated"]["changed_files"], state["outdated"]["added_files"]) == (1, 0)
    assert state["outdated"]["energy_now_kwh"] == pytest.approx(24.0, rel=1e-2)


def test_a_report_of_an_earlier_release_has_no_difference(client: TestClient, session: Session) -> None:
    job_id = issued(session, {"datasets": []}, 0.0, results={"key": "k", "provenance": {"datasets": []}})
    outdated = client.get(f"/api/reports/status/{job_id}").json()["outdated"]
    assert (outdated["added_files"], outdated["energy_issued_kwh"], outdated["difference_kwh"]) == (1, None, None)
