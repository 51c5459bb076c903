from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from ingest.metrics import IngestMetrics
from ingest.notify.sender import Senders
from ingest.notify.settings import NotifySettings
from storage.settings import Settings
from storage.times import utc_now

PATH = "/api/v1/maintenance-windows"
WINDOW: dict[str, Any] = {
    "device_id": "D1",
    "from": "2026-02-12T10:00:00Z",
    "to": "2026-02-12T12:00:00+01:00",
    "reason": "Bearing change",
}


def test_create_read_update_delete(client: TestClient) -> None:
    made = client.post(PATH, json=WINDOW)
    assert made.status_code == 201
    window = made.json()["data"]
    assert (window["from"], window["to"]) == ("2026-02-12T10:00:00Z", "2026-02-12T11:00:00Z")
    assert (window["device_id"], window["reason"]) == ("D1", "Bearing change")
    path = f"{PATH}/{window['window_id']}"
    assert client.get(path).json()["data"] == window
    changed = client.put(path, json=WINDOW | {"device_id": None, "to": "2026-02-13T00:00:00Z"}).json()["data"]
    assert (changed["device_id"], changed["to"]) == (None, "2026-02-13T00:00:00Z")
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == client.delete(path).status_code == 404
    assert client.put(f"{PATH}/{UUID(int=0)}", json=WINDOW).status_code == 404


def test_list_by_device_and_moment(client: TestClient) -> None:
    for change in ({}, {"device_id": "D2"}, {"device_id": None, "from": "2026-02-12T10:30:00Z"}):
        assert client.post(PATH, json=WINDOW | change).status_code == 201

    def found(query: str) -> list[str | None]:
        return [w["device_id"] for w in client.get(f"{PATH}?{query}").json()["data"]]

    assert found("device_id=D1") == [None, "D1"]
    assert sorted(map(str, found("at=2026-02-12T10:00:00Z"))) == ["D1", "D2"]
    assert found("at=2026-02-12T11:00:00Z") == []
    assert client.get(PATH).json()["total"] == 3


@pytest.mark.parametrize(
    "change",
    [{"to": "2026-02-12T10:00:00Z"}, {"from": "2026-02-12T10:00:00"}, {"to": None}, {"device_id": "a b"},
     {"reason": "\0"}],
)  # fmt: skip
def test_refused(client: TestClient, change: dict[str, Any]) -> None:
    assert client.post(PATH, json=WINDOW | change).status_code == 422


def test_a_tenants_window_covers_its_own_devices(client: TestClient) -> None:
    client.post("/api/v1/devices", json={"device_id": "D1", "device_name": "n", "device_type": "t", "tenant_id": "a"})
    assert client.post(PATH, json=WINDOW | {"tenant_id": "b"}).status_code == 422
    assert client.post(PATH, json=WINDOW | {"tenant_id": "a"}).status_code == 201


def test_no_alert_within_a_window_and_one_after_it(client: TestClient) -> None:
    client.post(PATH, json=WINDOW)
    client.post("/api/v1/rules", json={"rule_name": "r", "scope": "all_devices", "property": "temperature",
                                       "condition": ">", "threshold": 60})  # fmt: skip

    def triggered(time: str) -> int:
        body = {"device_id": "D1", "timestamp": f"2026-02-12T{time}Z", "temperature": 70}
        return int(client.post("/api/v1/rules/evaluate", json=body).json()["data"]["triggered"])

    # 11:00:00 is the first moment after the window: what was held back began no cooldown.
    assert [triggered(time) for time in ("10:30:00", "10:59:59", "11:00:00", "11:14:59")] == [0, 0, 1, 0]
    (held,) = client.get(f"{PATH}/held-back?device_id=D1").json()["data"]
    assert (held["count"], held["first_reading_time"], held["last_reading_time"]) == (
        2, "2026-02-12T10:30:00Z", "2026-02-12T10:59:59Z",
    )  # fmt: skip


def test_a_tenant_sees_its_own_and_is_covered_by_everybodys(
    client: TestClient, key: Callable[..., dict[str, str]], settings: Settings, engine: Engine
) -> None:
    admin, acme, other = key("admin"), key("operate", "acme"), key("operate", "other")
    for name, tenant_id in (("D1", "acme"), ("D2", "other")):
        body = {"device_id": name, "device_name": "n", "device_type": "t", "tenant_id": tenant_id}
        assert client.post("/api/v1/devices", json=body, headers=admin).status_code == 201
    plant_wide = client.post(PATH, json=WINDOW | {"device_id": None}, headers=admin)
    assert plant_wide.status_code == 201
    own = client.post(PATH, json=WINDOW, headers=acme).json()["data"]
    assert own["tenant_id"] == "acme"
    assert client.get(PATH, headers=acme).json()["total"] == 1
    assert client.get(PATH, headers=other).json()["total"] == 0
    assert client.delete(f"{PATH}/{own['window_id']}", headers=other).status_code == 404

    rule = {"rule_name": "r", "scope": "all_devices", "property": "temperature", "condition": ">", "threshold": 60,
            "notification_channels": ["email"]}  # fmt: skip
    for principal in (acme, other):
        assert client.post("/api/v1/rules", json=rule, headers=principal).status_code == 201

    def triggered(device_id: str, time: str, principal: dict[str, str], day: str = "2026-02-12") -> list[Any]:
        reading = {"device_id": device_id, "timestamp": f"{day}T{time}Z", "temperature": 70}
        data = client.post("/api/v1/rules/evaluate", json=reading, headers=principal).json()["data"]
        return [result["alert_id"] for result in data["results"] if result["triggered"]]

    assert triggered("D2", "10:30:00", other) == []  # the window of the whole plant, which it does not list
    (alert,) = triggered("D2", "11:30:00", other)
    assert client.get(f"{PATH}/held-back", headers=other).json()["total"] == 1
    assert client.get(f"{PATH}/held-back", headers=acme).json()["total"] == 0
    assert client.get(f"/api/v1/alerts/{alert}/notifications", headers=acme).status_code == 404
    (notification,) = client.get(f"/api/v1/alerts/{alert}/notifications", headers=other).json()["data"]
    assert notification["status"] == "expired"
    now = utc_now()
    (fresh,) = triggered("D2", f"{now:%H:%M:%S}", other, f"{now:%Y-%m-%d}")
    assert Senders(NotifySettings.load(), settings, engine, IngestMetrics()).send_one()
    (notification,) = client.get(f"/api/v1/alerts/{fresh}/notifications", headers=other).json()["data"]
    assert [attempt["outcome"] for attempt in notification["attempts"]] == ["unconfigured"]
