from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from storage.settings import Settings

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
    assert made(client, cooldown_minutes=None)["cooldown_minutes"] == settings.notification_cooldown_minutes
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
        {"cooldown_minutes": -1},
        {"cooldown_minutes": 10**10},
        {"severity": "fatal"},
        {"rule_name": "\0"},
    ],
)
def test_refused(client: TestClient, change: dict[str, Any]) -> None:
    answer = client.post("/api/v1/rules", json=HOT | change)
    assert answer.status_code == 422
    assert answer.json()["errors"]
    rule = made(client)
    assert client.put(f"/api/v1/rules/{rule['rule_id']}", json=change).status_code == 422
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
        ({"voltage": "high"}, "voltage is no number"),
        ({"temperature": 999}, "plausible limits"),
        ({"device_id": "a b"}, "pattern"),
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
