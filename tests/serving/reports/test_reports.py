import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from storage import jobs
from storage.devices import Device
from storage.jobs import ReportJob
from storage.objects import ObjectStore, open_object_store
from storage.settings import Settings
from storage.times import utc_now

ASKED: dict[str, Any] = {
    "device_id": "D1",
    "analysis_types": ["anomaly", "forecast", "anomaly"],
    "date_range_start": "2026-02-01T00:00:00Z",
    "date_range_end": "2026-02-12T23:59:59Z",
    "format": "pdf",
}
CONTENT = b"%PDF-1.7 of a pump"


@pytest.fixture(autouse=True)
def _device(session: Session) -> None:
    session.add(Device(device_id="D1", device_name="Pump", device_type="pump", tenant_id="acme"))
    session.commit()


@pytest.fixture
def objects(settings: Settings) -> ObjectStore:
    return open_object_store(settings)


def ask(client: TestClient, **changes: Any) -> str:
    answer = client.post("/api/reports/generate", json=ASKED | changes)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


def claimed(session: Session, job_id: str) -> ReportJob:
    """The job as the run has it that took it."""
    job = jobs.claim(session, ReportJob, job_id, "run-1")
    session.commit()
    assert job is not None
    return job


def completed(session: Session, objects: ObjectStore, job_id: str, suffix: str = "pdf") -> str:
    job, key = claimed(session, job_id), f"reports/D1/{job_id}/D1_2026-02-01_2026-02-12.{suffix}"
    objects.put(key, CONTENT)
    jobs.complete(session, job, "Completed", results={"key": key, "size_bytes": len(CONTENT), "sha256": "ab"})
    session.commit()
    return key


def test_a_report_is_asked_for_followed_and_downloaded(
    client: TestClient, session: Session, objects: ObjectStore
) -> None:
    answer = client.post("/api/reports/generate", json=ASKED)
    assert answer.status_code == 202
    job_id = answer.json()["job_id"]
    assert answer.json() == {"job_id": job_id, "status": "pending"}
    row = jobs.find(session, ReportJob, job_id)
    assert row is not None
    assert (row.tenant_id, row.analysis_types, row.format) == ("acme", ["anomaly", "forecast"], "pdf")
    status = client.get(f"/api/reports/status/{job_id}").json()
    assert status["status"] == "pending"
    assert (status["device_id"], status["format"], status["size_bytes"]) == ("D1", "pdf", None)
    early = client.get(f"/api/reports/download/{job_id}")
    assert (early.status_code, early.json()["detail"]) == (409, f"{job_id} is pending and has no file")
    completed(session, objects, job_id)
    status = client.get(f"/api/reports/status/{job_id}").json()
    assert (status["status"], status["progress"], status["size_bytes"], status["sha256"]) == (
        "completed",
        100,
        18,
        "ab",
    )
    download = client.get(f"/api/reports/download/{job_id}").json()
    assert set(download) == {"job_id", "download_url", "file_name", "expires_at"}
    assert download["file_name"] == "D1_2026-02-01_2026-02-12.pdf"
    file = client.get(download["download_url"])
    assert (file.status_code, file.content, file.headers["content-type"]) == (200, CONTENT, "application/pdf")
    assert file.headers["content-disposition"] == 'attachment; filename="D1_2026-02-01_2026-02-12.pdf"'
    assert file.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("prefix", ["", "/backend/reporting"])
def test_a_link_leads_to_the_file_by_every_address(
    prefix: str, client: TestClient, session: Session, objects: ObjectStore
) -> None:
    job_id = ask(client, format="excel")
    completed(session, objects, job_id, "xlsx")
    link = client.get(f"{prefix}/api/reports/download/{job_id}").json()["download_url"]
    assert urlsplit(link).path.startswith(f"{prefix}/api/v1/files/reports/D1/")
    file = client.get(link)
    assert (file.status_code, file.content) == (200, CONTENT)
    assert file.headers["content-type"] == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def test_behind_a_path_of_a_proxy_a_link_begins_with_the_public_address(
    client: TestClient, session: Session, objects: ObjectStore
) -> None:
    job_id = ask(client)
    completed(session, objects, job_id)
    path, state = f"/api/reports/download/{job_id}", client.app.state  # type: ignore[attr-defined] # it is FastAPI's
    for public, base in (("https://plant.test/energy/", "https://plant.test/energy"), ("https://plant.test/", None)):
        state.settings = state.settings.model_copy(update={"api_public_url": public})
        link = client.get(path).json()["download_url"]
        assert link.startswith(f"{base or str(client.base_url).rstrip('/')}/api/v1/files/reports/D1/"), link


def test_a_link_that_is_forged_or_expired_is_refused(
    client: TestClient, session: Session, objects: ObjectStore
) -> None:
    key, other = (completed(session, objects, ask(client)) for _ in range(2))
    link = objects.download_url(key, timedelta(minutes=1))
    assert client.get(link).status_code == 200
    expires = link.partition("expires=")[2].partition("&")[0]
    for forged in (
        link.replace(key, other),
        link.replace(f"expires={expires}", f"expires={int(expires) + 3600}"),
        link[:-1] + ("0" if link[-1] != "0" else "1"),
        link.partition("signature=")[0] + "signature=",
    ):
        answer = client.get(forged)
        assert (answer.status_code, answer.json()["detail"]) == (
            403,
            "the link's signature is wrong; ask for a new one",
        )
    expired = client.get(objects.download_url(key, timedelta(seconds=-2)))
    assert (expired.status_code, expired.json()["detail"]) == (403, "the link has expired; ask for a new one")
    assert client.get(link.partition("?")[0]).status_code == 422


def test_a_file_that_is_gone_is_not_found(client: TestClient, session: Session, objects: ObjectStore) -> None:
    job_id = ask(client)
    objects.delete(completed(session, objects, job_id))
    assert client.get(client.get(f"/api/reports/download/{job_id}").json()["download_url"]).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"date_range_start": "2026-02-13T00:00:00Z"}, "date_range_start"),
        ({"date_range_end": ASKED["date_range_start"]}, "date_range_start"),
        ({"date_range_start": "2025-02-01T00:00:00Z"}, "date_range_end"),
        ({"date_range_start": "2026-02-01T00:00:00"}, "date_range_start"),
        ({"date_range_start": "2150-02-01T00:00:00Z", "date_range_end": "2150-02-02T00:00:00Z"}, "date_range_start"),
        ({"format": "docx"}, "format"),
        ({"format": ""}, "no format is given; choose pdf, excel, json, html"),
        ({"format": None}, "no format is given"),
        ({"analysis_types": ["weather"]}, "analysis_types.0"),
        ({"device_id": "../D1"}, "device_id"),
        ({"device_id": None, "scope": "fleet", "analysis_types": ["anomaly"]}, "analysis_types"),
        ({"device_id": None, "device_ids": ["D1"], "analysis_types": [], "compute_missing": True}, "compute_missing"),
    ],
)
def test_what_no_report_can_be_made_of_is_told(client: TestClient, wrong: dict[str, Any], field: str) -> None:
    answer = client.post("/api/reports/generate", json=ASKED | wrong)
    assert answer.status_code == 422, answer.text
    assert field in json.dumps(answer.json()["errors"])


@pytest.mark.parametrize("formats", [[], ["excel"]])
def test_formats_are_never_guessed(client: TestClient, formats: list[str]) -> None:
    asked = {name: value for name, value in ASKED.items() if name != "format"} | {"formats": formats}
    answer = client.post("/api/reports/generate", json=asked)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "formats")
    assert "a report has one format" in answer.json()["errors"][0]["message"]


def test_reports_of_nothing_are_not_found(client: TestClient) -> None:
    assert client.post("/api/reports/generate", json=ASKED | {"device_id": "D9"}).status_code == 404
    for path in ("status/report-0123456789ab", "download/report-0123456789ab"):
        assert client.get(f"/api/reports/{path}").status_code == 404
    assert client.post("/api/reports/report-0123456789ab/cancel").status_code == 404
    assert client.get("/api/reports/status/job-0123456789ab").status_code == 404


def test_a_failed_report_says_why(client: TestClient, session: Session) -> None:
    job_id = ask(client)
    jobs.fail(session, claimed(session, job_id), "the report has 120.0 MB")
    session.commit()
    assert client.get(f"/api/reports/status/{job_id}").json()["error_message"] == "the report has 120.0 MB"
    answer = client.get(f"/api/reports/download/{job_id}")
    assert (answer.status_code, answer.json()["detail"]) == (
        409, f"{job_id} is failed and has no file: the report has 120.0 MB"
    )  # fmt: skip


def test_a_report_is_taken_back(client: TestClient, session: Session, objects: ObjectStore) -> None:
    waiting, running, done = (ask(client) for _ in range(3))
    job = claimed(session, running)
    completed(session, objects, done)
    states = [client.post(f"/api/reports/{job_id}/cancel").json()["status"] for job_id in (waiting, running, done)]
    assert states == ["cancelled", "cancelled", "completed"]
    assert client.post(f"/api/reports/{waiting}/cancel").json()["status"] == "cancelled"
    with pytest.raises(jobs.JobCancelled):
        jobs.report_progress(session, job, 50, "Typesetting")
    assert jobs.claim(session, ReportJob, waiting, "run-2") is None


def test_reports_are_listed_newest_first(client: TestClient, session: Session) -> None:
    session.add(Device(device_id="D2", device_name="Fan", device_type="fan"))
    session.commit()
    asked = [ask(client), ask(client, device_id="D2"), ask(client)]
    found = client.get("/api/reports/jobs").json()
    assert [report["job_id"] for report in found["data"]] == asked[::-1]
    assert (found["total"], found["page"], found["success"]) == (3, 1, True)
    second = client.get("/api/reports/jobs", params={"device_id": "D1", "page": 2, "page_size": 1}).json()
    assert ([report["job_id"] for report in second["data"]], second["total"]) == ([asked[0]], 2)


def test_a_tenant_sees_its_own_reports(
    client: TestClient, session: Session, objects: ObjectStore, key: Callable[..., dict[str, str]]
) -> None:
    mine, theirs = key("operate", "acme"), key("operate", "other")
    job_id = client.post("/api/reports/generate", json=ASKED, headers=mine).json()["job_id"]
    link = objects.download_url(completed(session, objects, job_id), timedelta(minutes=1))
    assert client.get(f"/api/reports/download/{job_id}", headers=mine).status_code == 200
    assert client.post("/api/reports/generate", json=ASKED, headers=theirs).status_code == 404
    assert client.get("/api/reports/jobs", headers=theirs).json()["total"] == 0
    for method, path in (("GET", f"status/{job_id}"), ("GET", f"download/{job_id}"), ("POST", f"{job_id}/cancel")):
        assert client.request(method, f"/api/reports/{path}", headers=theirs).status_code == 404
    assert client.get(link, headers=theirs).status_code == 403
    assert client.get(link).status_code == 200


def test_the_schema_is_published(client: TestClient) -> None:
    schema = client.get("/api/reports/schema").json()
    jsonschema_rs.meta.validate(schema)
    assert "kpis" in schema["required"]


def test_a_link_says_until_when(client: TestClient, session: Session, objects: ObjectStore) -> None:
    job_id = ask(client)
    completed(session, objects, job_id)
    before = utc_now()
    until = client.get(f"/api/reports/download/{job_id}").json()["expires_at"]
    assert until.endswith("Z")
    hour = timedelta(hours=1)
    assert before + hour <= datetime.fromisoformat(until) <= utc_now() + hour
