from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from ingest.metrics import IngestMetrics
from ingest.notify.sender import Senders
from ingest.notify.settings import NotifySettings
from serving.app import create_app
from serving.rules.schemas import RuleUpdate
from serving.settings import ApiSettings
from storage.settings import Settings
from storage.times import utc_now

HOT: dict[str, Any] = {
    "rule_name": "High Temperature Alert",
    "description": "Alert when temperature exceeds threshold",
    "scope": "selected_devices",
    "device_ids": ["D1"],
    "property": "temperature",
    "condition": ">",
    "threshold": 60.0,
    "notification_channels": ["email", "whatsapp"],
    "cooldown_minutes": 15,
}
READING: dict[str, Any] = {
    "device_id": "D1",
    "timestamp": "2026-02-12T10:00:00Z",
    "voltage": 230.5,
    "current": 1.2,
    "power": 276.6,
    "temperature": 65.0,
    "schema_version": "v1",
}


def made(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/rules", json=HOT | changes)
    assert answer.status_code == 201
    rule: dict[str, Any] = answer.json()["data"]
    return rule


def test_create_read_update_pause_delete(client: TestClient, settings: Settings) -> None:
    rule = made(client)
    assert HOT.items() <= rule.items()
    assert (rule["status"], rule["last_triggered_at"]) == ("active", None)
    path = f"/api/v1/rules/{rule['rule_id']}"
    assert client.get(path).json()["data"] == rule
    assert client.put(path, json={"threshold": 70, "severity": "low"}).json()["data"]["threshold"] == 70
    assert client.patch(f"{path}/status", json={"status": "paused"}).json()["data"]["status"] == "paused"
    assert made(client, cooldown_minutes=None)["cooldown_minutes"] == ApiSettings.load().notification_cooldown_minutes
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404


def test_list_by_device_and_status(client: TestClient) -> None:
    one = made(client)
    everywhere = made(client, scope="all_devices", device_ids=[])
    other = made(client, device_ids=["D2"])
    client.patch(f"/api/v1/rules/{other['rule_id']}/status", json={"status": "archived"})
    ids = [rule["rule_id"] for rule in client.get("/api/v1/rules?device_id=D1").json()["data"]]
    assert ids == [everywhere["rule_id"], one["rule_id"]]
    assert client.get("/api/v1/rules?status=archived").json()["total"] == 1
    assert client.get("/api/v1/rules").json()["total"] == 3


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "some"},
        {"device_ids": []},
        {"device_ids": ["a b"]},
        {"property": "Temperature"},
        {"property": "hour"},
        {"condition": "=="},
        {"threshold": "NaN"},
        {"threshold": "60"},
        {"threshold": True},
        {"cooldown_minutes": False},
        {"cooldown_minutes": -1},
        {"cooldown_minutes": 10**10},
        {"severity": "fatal"},
        {"rule_name": "\0"},
        {"for_seconds": -1},
        {"for_seconds": 100_000},
        {"active_hours": {"from": "06:00", "to": "06:00"}},
        {"active_hours": {"from": "6", "to": "18:00"}},
        {"active_hours": {"from": "24:00", "to": "18:00"}},
        {"active_hours": {"days": [7], "from": "06:00", "to": "18:00"}},
        {"active_hours": {"days": [True], "from": "06:00", "to": "18:00"}},
        {"active_hours": {"days": [], "from": "06:00", "to": "18:00"}},
        {"condition": "no_data", "property": "power"},
        {"condition": "no_data", "property": "telemetry", "threshold": 0},
        {"condition": "no_data", "property": "telemetry", "for_seconds": 60},
        {"notification_channels": ["email__acme"]},
        {"notification_channels": ["E mail"]},
    ],
)
def test_refused(client: TestClient, change: dict[str, Any]) -> None:
    answer = client.post("/api/v1/rules", json=HOT | change)
    assert answer.status_code == 422
    assert answer.json()["errors"]
    rule = made(client)
    assert client.put(f"/api/v1/rules/{rule['rule_id']}", json=change).status_code == 422
    assert client.get(f"/api/v1/rules/{rule['rule_id']}").json()["data"] == rule


@pytest.mark.parametrize("field", sorted(RuleUpdate.model_fields.keys() - {"description", "active_hours", "severity"}))
def test_what_a_rule_cannot_be_without_is_not_emptied(client: TestClient, field: str) -> None:
    rule = made(client)
    refused = client.patch(f"/api/v1/rules/{rule['rule_id']}", json={field: None})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    assert client.get(f"/api/v1/rules/{rule['rule_id']}").json()["data"] == rule


def test_evaluate_raises_alerts_once_per_cooldown(client: TestClient) -> None:
    rule = made(client)
    made(client, property="vibration")
    made(client, device_ids=["D2"])
    first = client.post("/api/v1/rules/evaluate", json=READING).json()
    (result,) = first["data"]["results"]
    assert (first["success"], first["data"]["evaluated"], first["data"]["triggered"]) == (True, 2, 1)
    assert (result["rule_id"], result["triggered"]) == (rule["rule_id"], True)
    second = client.post("/api/v1/rules/evaluate", json=READING | {"timestamp": "2026-02-12T10:14:59Z"}).json()["data"]
    assert (second["triggered"], second["results"][0]["alert_id"]) == (0, None)
    assert "cooldown" in second["results"][0]["reason"]
    third = client.post("/api/v1/rules/evaluate", json=READING | {"timestamp": "2026-02-12T10:15:00Z"}).json()["data"]
    assert third["triggered"] == 1
    alerts = client.get("/api/v1/alerts?device_id=D1").json()
    assert alerts["total"] == 2
    alert = next(a for a in alerts["data"] if a["alert_id"] == result["alert_id"])
    assert alert["message"] == "Temperature exceeded threshold: 65.0 > 60.0"
    assert (alert["severity"], alert["status"], alert["reading_time"]) == ("high", "open", "2026-02-12T10:00:00Z")
    assert client.get(f"/api/v1/rules/{rule['rule_id']}").json()["data"]["last_triggered_at"] == "2026-02-12T10:15:00Z"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"timestamp": "2026-02-12T10:00:00"}, "offset"),
        ({"voltage": "high"}, "voltage: 'high' is not a number"),
        ({"temperature": 999}, "plausible limits"),
        ({"device_id": "a b"}, "use letters"),
    ],
)
def test_evaluate_refuses_what_ingestion_would(client: TestClient, change: dict[str, Any], says: str) -> None:
    answer = client.post("/api/v1/rules/evaluate", json=READING | change)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_acknowledge_and_resolve(client: TestClient) -> None:
    made(client)
    alert_id = client.post("/api/v1/rules/evaluate", json=READING).json()["data"]["results"][0]["alert_id"]
    path = f"/api/v1/alerts/{alert_id}"
    seen = client.patch(f"{path}/acknowledge", json={"acknowledged_by": "user@example.com"}).json()["data"]
    assert (seen["status"], seen["acknowledged_by"]) == ("acknowledged", "user@example.com")
    assert client.patch(f"{path}/acknowledge", json={"acknowledged_by": "other"}).json()["data"] == seen
    over = client.patch(f"{path}/resolve").json()["data"]
    assert over["status"] == "resolved"
    assert client.patch(f"{path}/resolve").json()["data"] == over
    assert client.patch(f"{path}/acknowledge", json={"acknowledged_by": "late"}).status_code == 409
    assert client.get(path).json()["data"] == over
    assert client.get(f"/api/v1/alerts/{UUID(int=0)}").status_code == 404
    assert client.get("/api/v1/alerts?status=open").json()["total"] == 0


def evaluated(client: TestClient, timestamp: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/api/v1/rules/evaluate", json=READING | {"timestamp": timestamp}).json()
    return dict(answer["data"])


def test_a_rule_says_all_that_it_may(client: TestClient) -> None:
    hours = {"days": [0, 4], "from": "22:00", "to": "06:00"}
    rule = made(client, for_seconds=60, active_hours=hours, severity="low")
    assert (rule["for_seconds"], rule["active_hours"], rule["severity"]) == (60, hours, "low")
    path = f"/api/v1/rules/{rule['rule_id']}"
    assert client.put(path, json={"active_hours": None}).json()["data"]["active_hours"] is None
    quiet = made(client, condition="no_data", property=None, threshold=10)
    assert (quiet["condition"], quiet["property"], quiet["threshold"]) == ("no_data", "telemetry", 10)
    assert client.put(path, json={"condition": "no_data", "threshold": 5, "for_seconds": 0}).status_code == 200
    back = client.put(path, json={"condition": ">"})
    assert back.status_code == 422
    assert back.json()["errors"][0]["field"] == "property"
    assert client.put(path, json={"condition": ">", "property": "power"}).json()["data"]["property"] == "power"


def test_evaluate_says_what_held_a_rule_back(client: TestClient) -> None:
    client.post("/api/v1/devices", json={"device_id": "D1", "device_name": "n", "device_type": "t",
                                         "metadata_json": {"timezone": "Europe/Paris"}})  # fmt: skip
    waiting = made(client, for_seconds=60)
    night = made(client, active_hours={"from": "22:00", "to": "06:00"})

    def reasons(timestamp: str) -> dict[str, Any]:
        return {result["rule_id"]: result["reason"] for result in evaluated(client, timestamp)["results"]}

    first = reasons("2026-02-12T10:00:00Z")
    assert "has not yet held for 60 s" in first[waiting["rule_id"]]
    assert "active hours" in first[night["rule_id"]]
    second = evaluated(client, "2026-02-12T10:01:00Z")
    assert [r["rule_id"] for r in second["results"] if r["triggered"]] == [waiting["rule_id"]]
    assert "cooldown" in reasons("2026-02-12T10:02:00Z")[waiting["rule_id"]]
    assert reasons("2026-02-12T21:30:00Z")[night["rule_id"]] is None  # 22:30 in Paris
    client.put("/api/v1/devices/D1", json={"status": "maintenance"})
    assert "maintenance" in reasons("2026-02-13T21:30:00Z")[night["rule_id"]]
    held = client.get(f"/api/v1/maintenance-windows/held-back?rule_id={night['rule_id']}").json()
    assert (held["total"], held["data"][0]["count"], held["data"][0]["device_id"]) == (1, 1, "D1")


def test_an_alerts_notifications(client: TestClient, settings: Settings, engine: Engine) -> None:
    made(client)
    old = evaluated(client, "2026-02-12T10:00:00Z")["results"][0]["alert_id"]
    new = evaluated(client, utc_now().isoformat())["results"][0]["alert_id"]
    senders = Senders(NotifySettings.load(), settings, engine, IngestMetrics())
    while senders.send_one():
        pass
    answer = client.get(f"/api/v1/alerts/{old}/notifications").json()
    assert [(n["channel"], n["status"], n["attempts"]) for n in answer["data"]] == [
        ("email", "expired", []),
        ("whatsapp", "expired", []),
    ]
    (email, _) = client.get(f"/api/v1/alerts/{new}/notifications").json()["data"]
    assert (email["status"], email["attempts"][0]["outcome"]) == ("unconfigured", "unconfigured")
    assert client.get(f"/api/v1/alerts/{UUID(int=0)}/notifications").status_code == 404


def test_channels_without_an_address_are_taken_and_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_EMAIL", "mailto://user:password@example.com")
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        answer = client.post("/api/v1/rules", json=HOT | {"notification_channels": ["email", "pager"]}).json()
        assert [warning.partition(" has no address")[0] for warning in answer["warnings"]] == [
            "device_ids: D1: not registered, and nothing was received; check the id, or register the device",
            "notification_channels: pager",
        ]
        device = {"device_id": "D1", "device_name": "Press", "device_type": "press", "location": "Hall 1"}
        assert client.post("/api/v1/devices", json=device).status_code == 201
        path = f"/api/v1/rules/{answer['data']['rule_id']}"
        assert client.patch(path, json={"notification_channels": ["email"]}).json()["warnings"] == []
        assert client.post("/api/v1/rules", json=HOT | {"rule_name": " "}).status_code == 422
