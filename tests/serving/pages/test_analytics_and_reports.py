"""The pages of analyses and reports."""

import re
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from assets.datasets import export_day
from storage import jobs
from storage.jobs import AnalyticsJob, ReportJob
from storage.objects import open_object_store
from storage.settings import Settings
from storage.stores import Stores
from storage.times import midnight, rfc3339, utc_now
from tests.serving.pages.test_machines import register, send
from tests.support.browsing import Browser
from tests.support.plant import DAY, reading as plant_reading, store

TODAY = midnight(utc_now().date())
EVENT = {
    "start": rfc3339(TODAY - timedelta(hours=5)), "end": rfc3339(TODAY - timedelta(hours=3)), "score": 0.8,
    "metric": "power", "why": "Current was 40 % above <what> this voltage explains.", "points": 3,
}  # fmt: skip
PROVENANCE = {"rows": 10, "datasets": [{"key": "datasets/D1/a.parquet", "sha256": "ab"}], "code_version": "1"}
RESULTS: dict[str, dict[str, Any]] = {
    "anomaly": {"events": [EVENT], "anomalies": [], "summary": {"rows": 10}, "warning": "It runs otherwise now."},
    "forecast": {
        "metric": "energy", "unit": "kWh", "horizon_hours": 2, "warning": None,
        "history": [{"timestamp": rfc3339(TODAY), "value": 1.0}],
        "forecast": [{"timestamp": rfc3339(TODAY + timedelta(hours=1)), "value": 1.2, "lower": 1.0, "upper": 1.5}],
        "models": [{"model": "arima", "weight": 1.0, "mae": 0.1, "mase": 0.5}],
    },
    "prediction": {"failure_probability": 0.25, "horizon_hours": 24, "drivers": [{"metric": "power", "share": 1.0}]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _machine(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    send(stores, "D1")


def add_job(session: Session, kind: str, **values: Any) -> str:
    fields: dict[str, Any] = {
        "job_id": jobs.new_job_id(AnalyticsJob), "device_id": "D1", "analysis_type": kind, "model_name": "auto",
        "date_range_start": TODAY - timedelta(days=2), "date_range_end": TODAY, "accuracy_metrics": {}, **values,
    }  # fmt: skip
    job = AnalyticsJob(**fields)
    session.add(job)
    session.commit()
    return job.job_id


def test_an_analysis_is_asked_for_followed_and_cancelled(client: TestClient, session: Session) -> None:
    browser = Browser(client)
    options = browser.part("/analytics/options?device_id=D1&analysis_type=forecast")
    assert "gradient boosting" in options
    assert "Hours ahead" in options
    assert "D1 has no dataset yet" in options
    day = str((TODAY - timedelta(days=1)).date())
    fields: dict[str, Any] = {
        "device_id": "D1",
        "analysis_type": "anomaly",
        "start_date": day,
        "end_date": day,
        "strictness": "1.5",
    }
    refused = browser.send("/analytics", **fields)
    assert refused.status_code == 404
    assert 'data/exports">Exports</a> makes datasets' in refused.text
    wrong = browser.send("/analytics", **fields | {"strictness": "99"})
    assert wrong.status_code == 422
    job_id = add_job(session, "anomaly", status="running", progress=42.0, message="Fitting")
    for text in (browser.page("/analytics"), browser.page(f"/analytics/{job_id}")):
        assert 'hx-trigger="every' in text
        assert 'value="42.0"' in text
    cancelled = browser.send(f"/analytics/{job_id}/cancel").text
    assert "cancelled" in cancelled
    assert "hx-trigger" not in cancelled


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_is_shown_with_its_chart(client: TestClient, session: Session, kind: str) -> None:
    browser = Browser(client)
    job_id = add_job(session, kind, status="completed", results=RESULTS[kind] | {"provenance": PROVENANCE})
    page = browser.page(f"/analytics/{job_id}")
    assert "datasets/D1/a.parquet" in page
    if kind == "anomaly":
        assert "&lt;what&gt;" in page
        assert "It runs otherwise now." in page
        drawn = browser.json(f"/analytics/{job_id}/events-chart?metric=power")
        assert [span["kind"] for span in drawn["spans"]] == ["anomaly"]
    if kind == "forecast":
        assert [s["label"] for s in browser.json(f"/analytics/{job_id}/forecast-chart")["series"]][1] == "forecast"
        assert "error beside the best simple guess" in page
    if kind == "prediction":
        assert "25\N{NO-BREAK SPACE}%" in page


def test_people_say_whether_an_event_was_a_fault(client: TestClient, session: Session) -> None:
    browser = Browser(client)
    job_id = add_job(session, "anomaly", status="completed", results=RESULTS["anomaly"])
    path = f"/analytics/{job_id}/events/1/feedback"
    said = browser.send(path, verdict="none", note="The belt was being cleaned").text
    assert "was none" in said
    assert "The belt was being cleaned" in said
    (feedback,) = client.get("/api/v1/analytics/feedback").json()["data"]
    taken_back = browser.send(path, verdict="nothing", feedback_id=feedback["feedback_id"]).text
    assert "Was a fault" in taken_back
    assert client.get("/api/v1/analytics/feedback").json()["total"] == 0


def test_a_report_is_asked_for_and_shown_in_place(client: TestClient, session: Session, settings: Settings) -> None:
    browser = Browser(client)
    fields: dict[str, Any] = {
        "device_ids": "D1",
        "start_date": "2026-02-01",
        "end_date": "2026-02-07",
        "formats": ["pdf", "json"],
    }
    asked = browser.send("/reports", **fields)
    assert asked.status_code == 204, asked.text
    made = client.get("/api/reports/jobs").json()["data"]
    assert {job["format"] for job in made} == {"pdf", "json"}
    assert made[0]["date_range_end"] == "2026-02-08T00:00:00Z"
    job_id = next(job["job_id"] for job in made if job["format"] == "pdf")
    assert asked.headers["HX-Redirect"].endswith(job_id)
    shown = "".join(browser.page(f"/reports/{job['job_id']}") for job in made)
    assert "Waits to be started; no other job comes before it." in shown
    assert "Waits for its turn: 1 job waits before it." in shown
    job = jobs.claim(session, ReportJob, job_id, "run")
    assert job
    key = f"reports/D1/{job_id}/D1.pdf"
    open_object_store(settings).put(key, b"%PDF-1.7")
    jobs.complete(session, job, "Completed", results={"key": key, "size_bytes": 8, "sha256": "ab"})
    session.commit()
    page = browser.part(f"/reports/{job_id}")
    assert f'src="../reports/{job_id}/file"' in page
    file = client.get(f"/reports/{job_id}/file")
    assert (file.content, file.headers["content-type"]) == (b"%PDF-1.7", "application/pdf")
    assert file.headers["content-security-policy"] == "frame-ancestors 'self'"
    assert client.get(f"/reports/{job_id}/download").content == b"%PDF-1.7"
    other = next(job["job_id"] for job in made if job["format"] == "json")
    assert "cancelled" in browser.send(f"/reports/{other}/cancel").text
    assert browser.send("/reports", **fields | {"start_date": "soon"}).status_code == 422


def test_a_report_of_several_machines_and_a_new_edition(client: TestClient, session: Session) -> None:
    browser = Browser(client)
    days = {"start_date": "2026-02-01", "end_date": "2026-02-07"}
    of_all = browser.send("/reports", scope="fleet", formats="pdf", analysis_types="anomaly", **days)
    assert of_all.status_code == 204, of_all.text
    assert "all machines" in browser.page("/reports")
    (job,) = client.get("/api/reports/jobs").json()["data"]
    assert (job["scope"], job["device_ids"]) == ("fleet", None)
    assert browser.send(f"/reports/{job['job_id']}/editions").status_code == 409
    claimed = jobs.claim(session, ReportJob, job["job_id"], "run")
    assert claimed
    jobs.complete(session, claimed, "Completed", results={"key": "k", "size_bytes": 1, "sha256": "ab"})
    session.commit()
    again = browser.send(f"/reports/{job['job_id']}/editions")
    newest = again.headers["HX-Redirect"].rpartition("/")[2]
    assert f'Edition 2 of <a href="../reports/{job["job_id"]}"' in browser.page(f"/reports/{newest}")
    assert newest in browser.page(f"/reports/{job['job_id']}")


def test_a_report_in_html_runs_no_script(client: TestClient, session: Session, settings: Settings) -> None:
    key = "reports/D1/report-aaaaaaaaaaaa/D1.html"
    open_object_store(settings).put(key, b"<script>alert(1)</script>")
    session.add(
        ReportJob(
            job_id="report-aaaaaaaaaaaa", device_id="D1", format="html", status="completed", date_range_start=TODAY,
            date_range_end=TODAY, results={"key": key},
        )
    )  # fmt: skip
    session.commit()
    policy = client.get("/reports/report-aaaaaaaaaaaa/file").headers["content-security-policy"]
    assert {"default-src 'none'", "sandbox"} <= {part.strip() for part in policy.split(";")}


def test_a_schedule_is_created_paused_run_and_deleted(client: TestClient) -> None:
    browser = Browser(client)
    assert "No schedule yet" in browser.page("/reports/schedules")
    fields: dict[str, Any] = {
        "device_ids": "D1",
        "name": "Weekly",
        "frequency": "weekly",
        "send_at": "06:00",
        "formats": "pdf",
    }
    assert browser.send("/reports/schedules", **fields).status_code == 204
    (schedule,) = client.get("/api/reports/schedules").json()["data"]
    path = f"/reports/schedules/{schedule['schedule_id']}"
    assert "The schedule is created." in browser.page("/reports/schedules")
    shown = browser.page(f"{path}/edit")
    assert re.search(r'name="device_ids" value="D1".*name="send_at" type="time" value="06:00"', shown, re.DOTALL)
    version = re.search(r'name="version" value="&#34;(\w+)&#34;"', shown)
    assert version
    other = fields | {"send_at": "07:30", "formats": ["pdf", "excel"], "version": f'"{version[1]}"'}
    assert browser.send(path, **other).status_code == 204
    (changed,) = client.get("/api/reports/schedules").json()["data"]
    assert (changed["send_at"], changed["formats"], changed["name"]) == ("07:30", ["pdf", "excel"], "Weekly")
    stale = browser.send(path, **other | {"send_at": "08:00"})
    assert (stale.status_code, "it has changed since you read it" in stale.text) == (412, True)
    assert "Resume" in browser.send(f"{path}/status", status="paused").text
    assert "pending" in browser.send(f"{path}/run").text
    assert "pending" in browser.part(path)
    assert "No schedule yet" in browser.send(f"{path}/delete").text
    assert browser.send("/reports/schedules", **fields | {"send_at": "late"}).status_code == 422


def test_a_result_says_that_its_data_changed(client: TestClient, session: Session, stores: Stores) -> None:
    store(stores, plant_reading(0))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    file = {"key": exported.dataset.key, "sha256": exported.dataset.sha256, "rows": 1}
    results = RESULTS["anomaly"] | {"provenance": {"datasets": [file]}}
    days = {"date_range_start": midnight(DAY), "date_range_end": midnight(DAY + timedelta(days=1))}
    job_id = add_job(session, "anomaly", status="completed", results=results, **days)
    browser = Browser(client)
    assert "were made again" not in browser.page(f"/analytics/{job_id}")
    store(stores, plant_reading(1))
    export_day(stores, "D1", DAY)
    for path in (f"/analytics/{job_id}", "/machines/D1/analyses"):
        assert "were made again since: 1 file differs" in browser.page(path)
    assert client.get(f"/api/v1/analytics/results/{job_id}").json()["changed_files"] == 1


@pytest.mark.parametrize("path", ["/reports", "/reports/schedules"])
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"device_ids": " ", "formats": "pdf"}, "no machine is given"),
        ({"device_ids": "D1 D2", "formats": "pdf"}, "2 machines are given"),
    ],
)
def test_nothing_is_left_out_of_what_is_asked_for(
    client: TestClient, path: str, fields: dict[str, str], says: str
) -> None:
    days = {"start_date": "2026-02-01", "end_date": "2026-02-07", "frequency": "weekly"}
    refused = Browser(client).send(path, **days, **fields)
    assert (refused.status_code, says in refused.text) == (422, True)
