"""Feedback about anomalies over REST."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from storage.anomaly_feedback import newest_labels
from storage.devices import Device
from storage.jobs import AnalyticsJob

JOB = "job-0123456789ab"
OTHER_JOB = "job-0123456789cd"
AT = datetime(2026, 2, 12, tzinfo=UTC)
Key = Callable[..., dict[str, str]]


def event(hour: int, **fields: Any) -> dict[str, Any]:
    times = {"start": f"2026-02-12T{hour:02}:00:00Z", "end": f"2026-02-12T{hour:02}:30:00Z"}
    return {**times, "kind": "unusual", "score": 0.7, "exceeds": 1.8, **fields}


def add_job(session: Session, job_id: str, events: list[dict[str, Any]], **fields: Any) -> None:
    values: dict[str, Any] = {
        "tenant_id": "alpha", "device_id": "D1", "analysis_type": "anomaly", "model_name": "isolation_forest",
        "status": "completed", "date_range_start": AT, "date_range_end": AT, "accuracy_metrics": {},
        "results": {"events": events},
    }  # fmt: skip
    session.add(AnalyticsJob(job_id=job_id, **(values | fields)))
    session.commit()


@pytest.fixture
def job(session: Session) -> str:
    session.add(Device(device_id="D1", tenant_id="alpha", device_name="n", device_type="t"))
    add_job(session, JOB, [event(8), event(12, kind="frozen", exceeds=None)])
    return JOB


def path(number: int, job_id: str = JOB) -> str:
    return f"/api/v1/analytics/results/{job_id}/events/{number}/feedback"


def events(client: TestClient, headers: dict[str, str], job_id: str = JOB) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/api/v1/analytics/results/{job_id}", headers=headers).json()["results"][
        "events"
    ]
    return found


def test_an_event_is_judged_judged_again_and_taken_back(
    job: str, client: TestClient, session: Session, key: Key
) -> None:
    operator = key("operate", "alpha", "anna")
    assert [(e["number"], e["feedback"]) for e in events(client, operator)] == [(1, None), (2, None)]
    given = client.put(path(1), json={"verdict": "none", "note": "cleaning"}, headers=operator).json()
    assert (given["from"], given["to"], given["given_by"]) == ("2026-02-12T08:00:00Z", "2026-02-12T08:30:00Z", "anna")
    client.put(path(1), json={"verdict": "fault"}, headers=operator).raise_for_status()
    shown = events(client, operator)
    assert (shown[0]["feedback"]["verdict"], shown[0]["feedback"]["note"], shown[1]["feedback"]) == (
        "fault",
        None,
        None,
    )
    (label,) = newest_labels(session, "D1")
    assert (label.kind, label.exceeds, label.model_name, label.event) == ("unusual", 1.8, "isolation_forest", 1)
    assert client.delete(path(1), headers=operator).status_code == 204
    assert client.delete(path(1), headers=operator).status_code == 404
    assert events(client, operator)[0]["feedback"] is None


def test_the_same_event_of_another_job_shows_what_was_said(
    job: str, client: TestClient, session: Session, key: Key
) -> None:
    operator = key("operate", "alpha")
    client.put(path(1), json={"verdict": "none"}, headers=operator).raise_for_status()
    client.put(path(2), json={"verdict": "fault"}, headers=operator).raise_for_status()
    add_job(session, OTHER_JOB, [event(8), event(10), event(12), event(7, end="2026-02-12T13:00:00Z")])
    verdicts = [e["feedback"] and e["feedback"]["verdict"] for e in events(client, operator, OTHER_JOB)]
    assert verdicts == ["none", None, "fault", "fault"]


def test_a_missed_fault_is_reported_answer_and_deleted(job: str, client: TestClient, key: Key) -> None:
    operator = key("operate", "alpha")
    fault = {"device_id": "D1", "from": "2026-02-12T20:00:00Z", "to": "2026-02-12T21:00:00Z", "note": "the belt tore"}
    made = client.post("/api/v1/analytics/feedback", json=fault, headers=operator)
    assert (made.status_code, made.json()["verdict"], made.json()["event"]) == (201, "fault", None)
    client.put(path(1), json={"verdict": "none"}, headers=operator).raise_for_status()
    answer = client.get("/api/v1/analytics/feedback?device_id=D1", headers=operator).json()
    assert [(row["verdict"], row["job_id"]) for row in answer["data"]] == [("none", JOB), ("fault", None)]
    assert client.get("/api/v1/analytics/feedback?verdict=fault", headers=operator).json()["total"] == 1
    deleted = f"/api/v1/analytics/feedback/{made.json()['feedback_id']}"
    assert [client.delete(deleted, headers=operator).status_code for _ in range(2)] == [204, 404]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"to": "2026-02-12T20:00:00Z"}, "from"),
        ({"to": "2026-04-12T20:00:00Z"}, "to"),
        ({"from": "2999-01-01T00:00:00Z"}, "from"),
        ({"verdict": "none"}, "verdict"),
    ],
)
def test_a_missed_fault_that_cannot_be(job: str, client: TestClient, changes: dict[str, str], field: str) -> None:
    fault = {"device_id": "D1", "from": "2026-02-12T20:00:00Z", "to": "2026-02-12T21:00:00Z"}
    refused = client.post("/api/v1/analytics/feedback", json=fault | changes)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


def test_what_cannot_be_judged(job: str, client: TestClient, session: Session) -> None:
    add_job(session, OTHER_JOB, [], analysis_type="forecast")
    body = {"verdict": "fault"}
    assert client.put(path(3), json=body).status_code == 404
    assert client.put(path(1, "job-ffffffffffff"), json=body).status_code == 404
    assert client.put(path(1, OTHER_JOB), json=body).status_code == 409
    assert client.put(path(1), json={"verdict": "maybe"}).status_code == 422


def test_only_who_may_change_gives_feedback_and_only_about_its_own(job: str, client: TestClient, key: Key) -> None:
    body = {"verdict": "none", "note": "ours"}
    assert client.put(path(1), json=body, headers=key("read", "alpha")).status_code == 403
    assert client.put(path(1), json=body, headers=key("operate", "beta")).status_code == 404
    client.put(path(1), json=body, headers=key("operate", "alpha")).raise_for_status()
    assert client.get("/api/v1/analytics/feedback", headers=key("read", "beta")).json()["total"] == 0
    # The device moves: the verdict goes along, the words of its former owner do not.
    everybody = key("operate")
    client.put("/api/v1/devices/D1", json={"tenant_id": "beta"}, headers=everybody).raise_for_status()
    (row,) = client.get("/api/v1/analytics/feedback", headers=key("read", "beta", "b2")).json()["data"]
    assert (row["verdict"], row["note"], row["given_by"]) == ("none", None, "a former owner")
