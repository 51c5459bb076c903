"""What people do with alerts, the counts of alerts, and what an alert rests on."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from assets.datasets import export_day
from storage import dirty_days, jobs
from storage.alerts import Alert
from storage.devices import Device
from storage.jobs import AnalyticsJob
from storage.notifications import Notification
from storage.rules import Rule
from storage.stores import Stores
from storage.telemetry import Reading
from storage.times import microseconds, midnight, utc_now

Key = Callable[..., dict[str, str]]


def add_rule(session: Session, name: str = "Motor runs hot", tenant_id: str | None = None) -> Rule:
    rule = Rule(
        rule_name=name, tenant_id=tenant_id, scope="all_devices", property="temperature", condition=">", threshold=75
    )
    session.add(rule)
    session.commit()
    return rule


def add_alert(session: Session, rule: Rule, **values: Any) -> UUID:
    """An alert of the rule, of D1, raised now."""
    alert = Alert(
        **{
            "tenant_id": rule.tenant_id, "rule_id": rule.rule_id, "device_id": "D1", "severity": "high",
            "message": "hot", "actual_value": 80, "threshold_value": 75, "reading_time": utc_now(),
            "rule": rule.model_dump(mode="json", exclude={"last_triggered_at", "deleted_at"}),
        }
        | values
    )  # fmt: skip
    session.add(alert)
    session.commit()
    return alert.alert_id


def test_notes_and_names_are_kept(client: TestClient, session: Session, key: Key) -> None:
    ids = [add_alert(session, add_rule(session)) for _ in range(2)]
    body = {"acknowledged_by": "Ann", "note": "I look at it"}
    seen = client.patch(f"/api/v1/alerts/{ids[0]}/acknowledge", json=body).json()["data"]
    assert (seen["acknowledged_by"], seen["acknowledgement_note"]) == ("Ann", "I look at it")
    again = client.patch(f"/api/v1/alerts/{ids[0]}/acknowledge", json={"acknowledged_by": "Bob", "note": "me"})
    assert again.json()["data"]["acknowledgement_note"] == "I look at it"
    done = client.patch(f"/api/v1/alerts/{ids[0]}/resolve", json={"resolved_by": "Ann", "note": "New fan"})
    assert (done.json()["data"]["resolved_by"], done.json()["data"]["resolution_note"]) == ("Ann", "New fan")
    operator = key("operate", name="shift")
    by_key = client.patch(f"/api/v1/alerts/{ids[1]}/resolve", json={"resolved_by": "Eve"}, headers=operator)
    assert by_key.json()["data"]["resolved_by"] == "shift"
    long = client.patch(f"/api/v1/alerts/{ids[1]}/resolve", json={"note": "x" * 2001}, headers=operator)
    assert long.status_code == 422


def test_many_alerts_at_once(client: TestClient, session: Session) -> None:
    rule, unknown = add_rule(session), uuid4()
    new, seen, done = (add_alert(session, rule, status=s) for s in ("open", "acknowledged", "resolved"))
    body = {"alert_ids": [str(i) for i in (new, seen, done, unknown, new)], "acknowledged_by": "Ann", "note": "all"}
    answer = client.post("/api/v1/alerts/acknowledge", json=body).json()
    assert answer == {
        "success": False,
        "data": {
            "changed": 1,
            "unchanged": 1,
            "failed": [
                {"alert_id": str(done), "detail": "the alert is already resolved and cannot be acknowledged"},
                {"alert_id": str(unknown), "detail": f"there is no alert {unknown}"},
            ],
        },
    }
    answer = client.post("/api/v1/alerts/resolve", json={"alert_ids": body["alert_ids"][:3], "note": "done"}).json()
    assert answer == {"success": True, "data": {"changed": 2, "unchanged": 1, "failed": []}}
    notes = {a["alert_id"]: a["resolution_note"] for a in client.get("/api/v1/alerts").json()["data"]}
    assert notes == {str(new): "done", str(seen): "done", str(done): None}
    without_name = {"alert_ids": [str(new)]}
    assert (
        client.post("/api/v1/alerts/acknowledge", json=without_name).json()["errors"][0]["field"] == "acknowledged_by"
    )


def test_counts_by_severity_rule_and_day(client: TestClient, session: Session) -> None:
    hot, old = add_rule(session), add_rule(session, "Old")
    now = utc_now()
    earlier = now - timedelta(days=2)
    add_alert(session, hot, created_at=now)
    add_alert(
        session, hot, device_id="D2", severity="critical", status="acknowledged", created_at=now, acknowledged_at=now
    )
    add_alert(
        session, hot, status="resolved", created_at=earlier, acknowledged_at=earlier + timedelta(minutes=5),
        resolved_at=earlier + timedelta(hours=1),
    )  # fmt: skip
    add_alert(session, old, created_at=now - timedelta(days=40))
    data = client.get("/api/v1/alerts/summary").json()["data"]
    assert (data["open"], data["acknowledged"], data["alerts"], data["days"]) == (2, 1, 3, 30)
    by_severity = {c["severity"]: (c["open"], c["acknowledged"]) for c in data["by_severity"]}
    assert by_severity == {"critical": (0, 1), "high": (2, 0), "medium": (0, 0), "low": (0, 0)}
    first, second = data["by_rule"]
    assert (first["rule_name"], first["alerts"], first["devices"], first["open"]) == ("Motor runs hot", 3, 2, 1)
    first_day = date.fromisoformat(data["first_day"])
    assert first_day + timedelta(days=29) in (now.date(), utc_now().date())  # midnight may have passed
    assert first["days"][(now.date() - first_day).days] == 2
    assert first["days"][(earlier.date() - first_day).days] == 1
    assert (second["rule_name"], second["alerts"], second["open"]) == (None, 0, 1)
    assert data["seconds_to_resolve"] == pytest.approx(3600, abs=1)
    of_device = client.get("/api/v1/alerts/summary", params={"device_id": "D2", "days": 1}).json()["data"]
    assert (of_device["open"], of_device["alerts"], len(of_device["by_rule"][0]["days"])) == (0, 1, 1)


def test_a_tenant_counts_its_own_alerts(client: TestClient, session: Session, key: Key) -> None:
    acme, other, everybody = (add_rule(session, t or "All", t) for t in ("acme", "other", None))
    add_alert(session, acme)
    add_alert(session, other)
    add_alert(session, everybody, tenant_id="acme")
    data = client.get("/api/v1/alerts/summary", headers=key("read", "acme")).json()["data"]
    assert (data["open"], {r["rule_name"] for r in data["by_rule"]}) == (2, {"acme", "All"})


def evidence(client: TestClient, alert_id: UUID, headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = client.get(f"/api/v1/alerts/{alert_id}/evidence", headers=headers)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def test_the_evidence_of_an_alert_is_one_answer(client: TestClient, session: Session) -> None:
    session.add(Device(device_id="D1", device_name="Motor", device_type="motor"))
    rule = add_rule(session)
    now = utc_now()
    yesterday = midnight(now.date() - timedelta(days=1))
    alert_id = add_alert(session, rule, reading_time=yesterday + timedelta(hours=1))
    session.add(Notification(alert_id=alert_id, device_id="D1", channel="email"))
    found = evidence(client, alert_id)
    assert (found["reading"]["metrics"], found["dataset"], found["rule_changed"]) == (None, None, False)
    assert "No reading of this time is stored" in found["reading"]["missing"]

    state = client.app.state  # type: ignore[attr-defined] # a FastAPI
    stores = Stores(session, state.telemetry, state.objects, ZoneInfo("UTC"), run_id="run-7")
    time = microseconds(yesterday + timedelta(hours=1))
    readings = [
        Reading(device_id="D1", time=time + i, metrics={"temperature": 80.0 - i, "power": 500.0}, received_at=time)
        for i in range(2)
    ]
    stores.telemetry.write(readings)
    dirty_days.mark_dirty(session, (("D1", reading.time) for reading in readings))
    session.commit()
    export_day(stores, "D1", yesterday.date())
    sha256 = evidence(client, alert_id)["dataset"]["sha256"]
    session.add(
        AnalyticsJob(
            job_id=jobs.new_job_id(AnalyticsJob), device_id="D1", analysis_type="anomaly", model_name="m",
            date_range_start=yesterday, date_range_end=now, status="completed",
            results={"provenance": {"datasets": [{"sha256": sha256, "key": "k"}]}},
        )
    )  # fmt: skip
    session.commit()
    client.patch(f"/api/v1/rules/{rule.rule_id}", json={"threshold": 90})
    found = evidence(client, alert_id)
    assert found["reading"]["metrics"] == {"temperature": 80.0, "power": 500.0}
    assert (found["dataset"]["run_id"], found["dataset"]["rows"]) == ("run-7", 2)
    assert [job["kind"] for job in found["jobs"]] == ["analysis"]
    assert (found["alert"]["rule"]["threshold"], found["rule_now"]["threshold"], found["rule_changed"]) == (
        75,
        90,
        True,
    )
    assert [n["channel"] for n in found["notifications"]] == ["email"]
    client.delete(f"/api/v1/rules/{rule.rule_id}")
    assert (evidence(client, alert_id)["rule_now"], evidence(client, alert_id)["rule_changed"]) == (None, None)


def test_evidence_stays_with_the_tenant(client: TestClient, session: Session, key: Key) -> None:
    session.add(Device(device_id="D1", device_name="Motor", device_type="motor", tenant_id="other"))
    mine, others = (add_alert(session, add_rule(session, t, t)) for t in ("acme", "other"))
    acme = key("read", "acme")
    assert client.get(f"/api/v1/alerts/{others}/evidence", headers=acme).status_code == 404
    found = evidence(client, mine, acme)
    assert "belongs to somebody else now" in found["reading"]["missing"]
    assert found["dataset"] is None
