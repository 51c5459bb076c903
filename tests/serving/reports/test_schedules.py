"""Schedules of reports over REST: created, changed, run by hand, and what became of their runs."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from storage import jobs
from storage.devices import Device
from storage.jobs import ReportJob
from storage.notifications import Notification, NotificationAttempt
from storage.report_schedules import ReportSchedule, ReportScheduleRun
from storage.times import utc_now

SCHEDULES = "/api/reports/schedules"
WEEKLY: dict[str, Any] = {
    "device_id": "D1",
    "frequency": "weekly",
    "formats": ["pdf", "excel", "pdf"],
    "recipients": ["email", "webhook"],
}


@pytest.fixture(autouse=True)
def _devices(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for device_id, tenant_id in (("D1", "acme"), ("D2", "acme"), ("E1", "other")):
        session.add(Device(device_id=device_id, device_name="Pump", device_type="pump", tenant_id=tenant_id))
    session.commit()
    monkeypatch.setenv("SITE_TIMEZONE", "Europe/Paris")
    monkeypatch.setenv("NOTIFY_EMAIL__acme", "mailto://user:pass@localhost")
    monkeypatch.setenv("NOTIFY_WEBHOOK", "https://hooks.test/energy")


@pytest.fixture
def settings(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SITE_TIMEZONE", "Europe/Paris")
    monkeypatch.setenv("NOTIFY_EMAIL__acme", "mailto://user:pass@localhost")
    monkeypatch.setenv("NOTIFY_WEBHOOK", "https://hooks.test/energy")
    return type(settings).load()


def created(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = client.post(SCHEDULES, json=WEEKLY | changes)
    assert answer.status_code == 201, answer.text
    schedule: dict[str, Any] = answer.json()
    return schedule


def test_a_schedule_is_created_read_changed_and_deleted(client: TestClient) -> None:
    schedule = created(client, name="Pump, weekly")
    assert (schedule["tenant_id"], schedule["scope"], schedule["device_id"]) == ("acme", "device", "D1")
    assert (schedule["formats"], schedule["timezone"], schedule["send_at"]) == (
        ["pdf", "excel"],
        "Europe/Paris",
        "06:00",
    )
    due = datetime.fromisoformat(schedule["next_run_at"])
    assert due > utc_now()
    assert (due.weekday(), due.hour) in {(0, 4), (0, 5)}, "Monday, 06:00 in Paris"
    assert schedule["warnings"] == [], "email is the tenant's own, and the webhook is everybody's"
    path = f"{SCHEDULES}/{schedule['schedule_id']}"
    read = client.get(path)
    assert read.json() == schedule
    assert client.get(path, headers={"If-None-Match": read.headers["etag"]}).status_code == 304
    changed = client.put(path, json={"device_id": "D1", "frequency": "monthly", "status": "paused"}).json()
    assert (changed["frequency"], changed["formats"], changed["recipients"]) == ("monthly", ["pdf"], [])
    assert (changed["status"], changed["next_run_at"], changed["tenant_id"]) == ("paused", None, "acme")
    assert client.put(path, json=WEEKLY, headers={"If-Match": read.headers["etag"]}).status_code == 412
    assert [row["schedule_id"] for row in client.get(SCHEDULES).json()["data"]] == [schedule["schedule_id"]]
    assert client.get(f"{SCHEDULES}?device_id=D2").json()["total"] == 0
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({"device_id": None}, "device_id", "name one, or set scope to fleet"),
        ({"device_ids": ["D1"]}, "device_id", "one device or of a fleet"),
        ({"device_id": None, "device_ids": ["D1"], "scope": "device"}, "scope", "set scope to fleet"),
        (
            {"device_id": None, "scope": "fleet", "analysis_types": ["anomaly"]},
            "analysis_types",
            "a fleet report has no analyses; leave analysis_types out",
        ),
        ({"frequency": "hourly"}, "frequency", "choose daily, weekly or monthly"),
        ({"send_at": "6 o'clock"}, "send_at", "write a time of day as 06:00"),
        ({"formats": []}, "formats", "1"),
        ({"recipients": ["Not A Channel"]}, "recipients.0", "channel's name"),
        ({"recipients": ["email", "whatsapp"]}, "recipients.1", "whatsapp is not a configured channel"),
        ({"device_id": "E1", "recipients": ["email"]}, "recipients.0", "Set NOTIFY_EMAIL to an address"),
        ({"name": "weekly\r\nBcc: x@y.test"}, "name", "has a line break or another control character"),
    ],
)
def test_what_is_wrong_is_named(client: TestClient, body: dict[str, Any], field: str, detail: str) -> None:
    answer = client.post(SCHEDULES, json=WEEKLY | body)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert detail in error["message"]


def test_recipients_that_lost_their_address_may_stay(client: TestClient, session: Session) -> None:
    path = f"{SCHEDULES}/{created(client)['schedule_id']}"
    row = session.exec(select(ReportSchedule)).one()
    row.recipients = ["whatsapp"]
    session.commit()
    (warning,) = client.get(path).json()["warnings"]
    assert warning.startswith("recipients: whatsapp has no address here")
    paused = client.put(path, json=WEEKLY | {"recipients": ["whatsapp"], "status": "paused"})
    assert (paused.status_code, paused.json()["status"]) == (200, "paused")
    assert client.put(path, json=WEEKLY | {"recipients": ["sms"]}).status_code == 422


def test_a_fleet_of_named_devices_or_of_all(client: TestClient, key: Callable[..., dict[str, str]]) -> None:
    fleet = {"frequency": "daily", "scope": "fleet"}
    assert client.post(SCHEDULES, json={"frequency": "daily", "device_ids": ["D1", "nobody"]}).status_code == 404
    named = client.post(SCHEDULES, json={"frequency": "daily", "device_ids": ["D2", "D1", "D2"]}).json()
    assert (named["scope"], named["device_id"], named["device_ids"]) == ("fleet", None, ["D2", "D1"])
    everything = client.post(SCHEDULES, json=fleet).json()
    assert (everything["device_ids"], everything["tenant_id"]) == (None, None)
    own = client.post(SCHEDULES, json=fleet, headers=key("operate", "acme")).json()
    assert own["tenant_id"] == "acme"
    foreign = {"frequency": "daily", "device_ids": ["D1", "E1"]}
    assert client.post(SCHEDULES, json=foreign, headers=key("admin", "acme")).status_code == 404


def test_a_schedule_never_moves_to_another_tenant(client: TestClient) -> None:
    path = f"{SCHEDULES}/{created(client)['schedule_id']}"
    answer = client.put(path, json=WEEKLY | {"device_id": "E1"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "device_id")
    assert client.get(path).json()["device_id"] == "D1"


def test_roles_and_tenants(client: TestClient, key: Callable[..., dict[str, str]]) -> None:
    schedule = created(client)
    path = f"{SCHEDULES}/{schedule['schedule_id']}"
    reader, stranger = key("read", "acme"), key("admin", "other")
    assert client.get(path, headers=reader).status_code == 200
    for method, where in (("POST", SCHEDULES), ("PUT", path), ("DELETE", path), ("POST", f"{path}/run")):
        assert client.request(method, where, json=WEEKLY, headers=reader).status_code == 403
    assert client.get(SCHEDULES, headers=stranger).json()["total"] == 0
    for method, where in (("GET", path), ("DELETE", path), ("GET", f"{path}/runs"), ("POST", f"{path}/run")):
        assert client.request(method, where, headers=stranger).status_code == 404


def test_a_run_by_hand_and_the_record_of_what_was_sent(
    client: TestClient, session: Session, key: Callable[..., dict[str, str]]
) -> None:
    schedule = created(client, compute_missing=True, language="de", analysis_types=["anomaly"])
    path = f"{SCHEDULES}/{schedule['schedule_id']}"
    answer = client.post(f"{path}/run")
    assert answer.status_code == 202, answer.text
    run = answer.json()
    assert (run["status"], [report["format"] for report in run["reports"]]) == ("pending", ["pdf", "excel"])
    start, end = (datetime.fromisoformat(run[name]) for name in ("period_start", "period_end"))
    assert start < end <= utc_now()
    rows = session.exec(select(ReportJob)).all()
    assert {(row.tenant_id, row.device_id, row.date_range_start, row.date_range_end) for row in rows} == {
        ("acme", "D1", start, end)
    }
    assert rows[0].parameters == {"language": "de", "compute_missing": True}
    for row in rows:
        jobs.fail(session, row, "no readings")
    row_of_run = session.exec(select(ReportScheduleRun)).one()
    sent = Notification(
        report_run_id=row_of_run.run_id, tenant_id="acme", device_id="D1", channel="webhook", status="sent"
    )
    session.add(sent)
    session.commit()
    session.add(NotificationAttempt(notification_id=sent.notification_id, outcome="sent", detail="200 OK"))
    session.commit()
    (shown,) = client.get(f"{path}/runs").json()["data"]
    assert {report["error_message"] for report in shown["reports"]} == {"no readings"}
    (delivery,) = shown["deliveries"]
    assert (delivery["recipient"], delivery["status"], delivery["detail"]) == ("webhook", "sent", "200 OK")
    assert client.get(path).json()["last_run"] == shown
    (seen,) = client.get(f"{path}/runs", headers=key("read", "acme")).json()["data"]
    assert seen["deliveries"][0]["detail"] is None, "the address is everybody's, so a tenant does not see its answer"
    assert datetime.fromisoformat(shown["due_at"]).tzinfo == UTC
