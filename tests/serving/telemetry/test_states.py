"""States of machines and sums over devices, as clients get them."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from assets.datasets import export_day
from storage.maintenance import MaintenanceWindow
from storage.stores import Stores
from storage.times import HOUR, moment
from tests.support.plant import DAY, START, reading, store

RANGE = {"start_time": "2026-02-12T00:00:00Z", "end_time": "2026-02-13T00:00:00Z"}
HOLD: dict[str, Any] = {"reporting": {"power": "on_change"}, "cadence_seconds": 3600}


def register(client: TestClient, device_id: str, headers: dict[str, str] | None = None, **metadata: Any) -> None:
    body = {"device_id": device_id, "device_name": device_id, "device_type": "t", "metadata_json": metadata}
    answer = client.post("/api/v1/devices", json=body, headers=headers)
    assert answer.status_code == 201, answer.text


def get(client: TestClient, path: str, headers: dict[str, str] | None = None, **query: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/data/{path}", params=RANGE | query, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


@pytest.mark.parametrize("is_exported", [False, True])
def test_states_of_a_day(client: TestClient, stores: Stores, *, is_exported: bool) -> None:
    register(client, "D1", off_below_w=10, idle_below_w=200, **HOLD)
    powers = [0.0] * 6 + [100.0] * 2 + [2000.0] * 8 + [100.0] * 4
    store(stores, *(reading(60 * hour, "D1", power=watts) for hour, watts in enumerate(powers)))
    planned = [("D1", 10, 11), ("D2", 12, 13), (None, 15, 16)]
    stores.session.add_all(
        MaintenanceWindow(device_id=name, starts_at=moment(START + a * HOUR), ends_at=moment(START + b * HOUR))
        for name, a, b in planned
    )
    stores.session.commit()
    if is_exported:
        assert export_day(stores, "D1", DAY)
    found = get(client, "states/D1")
    hours = {total["state"]: total["seconds"] / 3600 for total in found["states"]}
    assert hours == {"off": 6, "idle": 8, "running": 6, "unknown": 0, "silent": 2, "maintenance": 2}
    kwh = {total["state"]: total["energy_kwh"] for total in found["states"]}
    assert kwh == {"off": 0, "idle": 0.8, "running": 12, "unknown": 0, "silent": 0, "maintenance": 4}
    assert found["energy_kwh"] == get(client, "energy/D1")["energy_kwh"] == 16.8
    assert found["working_seconds"] == 16 * 3600
    assert [span["state"] for span in found["timeline"]] == [
        "off", "idle", "running", "maintenance", "running", "maintenance", "idle", "silent",
    ]  # fmt: skip
    assert found["timeline"][-1] == {
        "state": "silent", "start_time": "2026-02-12T22:00:00Z", "end_time": "2026-02-13T00:00:00Z",
    }  # fmt: skip


def test_states_of_a_register_and_of_a_device_without_power(client: TestClient, stores: Stores) -> None:
    register(client, "D1", counters={"kwh": {"unit": "kWh"}}, off_below_w=10)
    store(stores, *(reading(10 * i, "D1", kwh=i / 6) for i in range(145)))
    store(stores, reading(0, "D2", temperature=20))
    found = get(client, "states/D1")
    assert (found["source"], found["energy_kwh"]) == ("counter:kwh", 24)
    assert [(span["state"], span["end_time"]) for span in found["timeline"]] == [("running", "2026-02-13T00:00:00Z")]
    assert [span["state"] for span in get(client, "states/D2")["timeline"]] == ["silent"]
    assert client.get("/api/v1/data/states/D3", params=RANGE).status_code == 404
    wide = RANGE | {"start_time": "2026-01-01T00:00:00Z"}
    month: dict[str, Any] = {"start_time": "2025-10-01T00:00:00+02:00", "end_time": "2025-11-01T00:00:00+01:00"}
    assert get(client, "states/D1", **month)["energy_kwh"] == 0
    assert "32 days" in client.get("/api/v1/data/states/D1", params=wide).json()["detail"]


def test_base_load_beside_the_energy(client: TestClient, stores: Stores) -> None:
    register(client, "D1")
    store(stores, *(reading(10 * i, "D1", power=1000.0 if 36 <= i < 132 else 100.0) for i in range(145)))
    found = get(client, "energy/D1")
    assert found["base_load"] == 100
    assert found["outside_working_hours_kwh"] == pytest.approx(0.8, abs=0.15)
    assert found["outside_working_hours_share"] == pytest.approx(0.8 / 16.8, abs=0.01)


def test_a_sum_counts_a_parent_or_its_children(client: TestClient, stores: Stores) -> None:
    register(client, "hall")
    register(client, "press", parent_device="hall")
    register(client, "oven", parent_device="hall")
    register(client, "pump", parent_device="nowhere")
    for name in ("press", "oven", "pump"):
        store(stores, *(reading(10 * i, name, power=1000.0) for i in range(145)))
    found = get(client, "energy")
    assert (found["energy_kwh"], found["circular"]) == (72, [])
    assert [d["device_id"] for d in found["devices"] if d["counted"]] == ["oven", "press", "pump"]
    assert {d["device_id"]: d["stands_in_for"] for d in found["devices"]} == {
        "hall": None, "oven": "hall", "press": "hall", "pump": None,
    }  # fmt: skip
    store(stores, *(reading(10 * i, "hall", power=2500.0) for i in range(145)))
    assert get(client, "energy")["energy_kwh"] == 84
    assert get(client, "energy", device_ids="press,oven")["energy_kwh"] == 48
    found = get(client, "energy", device_ids="press,hall")
    assert [(d["device_id"], d["counted_by"]) for d in found["devices"]] == [("hall", None), ("press", "hall")]
    unknown = client.get("/api/v1/data/energy", params=RANGE | {"device_ids": "press,none"})
    assert (unknown.status_code, "none" in unknown.text) == (404, True)


def test_a_sum_sees_devices_of_its_tenant_only(
    client: TestClient, stores: Stores, key: Callable[..., dict[str, str]]
) -> None:
    acme, other = key("operate", "acme"), key("operate", "other")
    register(client, "A1", acme, parent_device="B1")
    register(client, "B1", other)
    for name in ("A1", "B1"):
        store(stores, *(reading(10 * i, name, power=1000.0) for i in range(145)))
    found = get(client, "energy", acme)
    assert [(d["device_id"], d["counted"]) for d in found["devices"]] == [("A1", True)]
    assert client.get("/api/v1/data/energy", params=RANGE | {"device_ids": "A1,B1"}, headers=acme).status_code == 404
    assert client.get("/api/v1/data/states/B1", params=RANGE, headers=acme).status_code == 404
