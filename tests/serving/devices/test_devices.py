import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from storage import dirty_days
from storage.device_metrics import add_dropped, add_metrics
from storage.devices import Device
from storage.times import microseconds, utc_now

D2: dict[str, Any] = {
    "device_id": "D2",
    "device_name": "Motor B",
    "device_type": "motor",
    "status": "active",
    "location": "Building B",
    "manufacturer": "Industrial Co",
    "model": "M-2000",
}


def test_create_read_update_delete_restore(client: TestClient) -> None:
    created = client.post("/api/v1/devices", json=D2 | {"metadata_json": {"timezone": "Europe/Paris", "mine": [1]}})
    assert created.status_code == 201
    device = client.get("/api/v1/devices/D2").json()
    assert device == created.json()
    assert D2.items() <= device["data"].items()
    assert device["data"]["metadata_json"] == '{"timezone":"Europe/Paris","mine":[1]}'
    assert device["data"]["created_at"].endswith("Z")
    changed = client.put("/api/v1/devices/D2", json={"location": None, "status": "maintenance"}).json()["data"]
    assert (changed["location"], changed["status"], changed["model"]) == (None, "maintenance", "M-2000")
    assert changed["updated_at"] > device["data"]["updated_at"]
    assert client.delete("/api/v1/devices/D2").status_code == 204
    assert client.get("/api/v1/devices/D2").status_code == 404
    assert client.delete("/api/v1/devices/D2").status_code == 404
    again = client.post("/api/v1/devices", json=D2)
    assert again.status_code == 409
    assert "/api/v1/devices/D2/restore" in again.json()["detail"]
    assert client.post("/api/v1/devices/D2/restore").json()["data"]["status"] == "maintenance"
    assert client.post("/api/v1/devices", json=D2).status_code == 409
    assert client.delete("/api/v1/devices/D2?soft=false").status_code == 204
    assert client.post("/api/v1/devices", json=D2).status_code == 201


def test_a_device_with_telemetry_is_not_removed_by_accident(client: TestClient, session: Session) -> None:
    client.post("/api/v1/devices", json=D2)
    dirty_days.mark_dirty(session, [("D2", microseconds(utc_now()))])
    session.commit()
    assert client.delete("/api/v1/devices/D2?soft=false").status_code == 409
    assert client.delete("/api/v1/devices/D2?soft=false&force=true").status_code == 204


def test_list_filters_and_pages(client: TestClient) -> None:
    for i in range(25):
        kind = "motor" if i % 2 else "pump"
        body = {"device_id": f"D{i:02}", "device_name": "n", "device_type": kind, "tenant_id": "a" if i < 5 else None}
        assert client.post("/api/v1/devices", json=body).status_code == 201
    client.delete("/api/v1/devices/D00")
    answer = client.get("/api/v1/devices").json()
    assert (answer["success"], answer["total"], answer["page"], answer["page_size"]) == (True, 24, 1, 20)
    assert [d["device_id"] for d in answer["data"]] == [f"D{i:02}" for i in range(1, 21)]
    assert len(client.get("/api/v1/devices?page=2").json()["data"]) == 4
    assert client.get("/api/v1/devices?page=3").json()["data"] == []
    assert client.get("/api/v1/devices?device_type=motor").json()["total"] == 12
    assert client.get("/api/v1/devices?tenant_id=a").json()["total"] == 4
    assert client.get("/api/v1/devices?status=error").json()["total"] == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"device_id": "a b"}, "device_id"),
        ({"device_id": "a..b"}, "device_id"),
        ({"device_id": "x" * 51}, "device_id"),
        ({"device_name": ""}, "device_name"),
        ({"device_name": "a\0b"}, "device_name"),
        ({"device_name": None}, "device_name"),
        ({"status": "broken"}, "status"),
        ({"location": "x" * 501}, "location"),
        ({"metadata_json": "[1]"}, "metadata_json"),
        ({"metadata_json": "{"}, "metadata_json"),
        ({"metadata_json": "x" * 70_000}, "metadata_json"),
        ({"metadata_json": {"timezone": "Mars/Olympus"}}, "metadata_json"),
        ({"metadata_json": {"bands": {"voltage": [5, 1]}}}, "metadata_json"),
        ({"metadata_json": {"bands": {"Voltage": [1, 5]}}}, "metadata_json"),
        ({"metadata_json": {"limits": {"hour": [1, 5]}}}, "metadata_json"),
        ({"metadata_json": {"counters": {"kwh": {"unit": ""}}}}, "metadata_json"),
        ({"metadata_json": {"cadence_seconds": 0}}, "metadata_json"),
        ({"metadata_json": {"text": "\0"}}, "metadata_json"),
    ],
)
def test_refused_with_the_field_named(client: TestClient, change: dict[str, Any], field: str) -> None:
    answer = client.post("/api/v1/devices", json=D2 | change)
    body = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert (body["success"], body["status"], body["errors"][0]["field"]) == (False, 422, field)
    assert body["request_id"] == answer.headers["x-request-id"]


def test_bodies_that_are_none(client: TestClient) -> None:
    for content in (b"", b"{", b"\xff\xfe", b"null", b"[]", b'{"device_id": "\\ud800"}'):
        answer = client.post("/api/v1/devices", content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), content
        assert answer.json()["success"] is False
    client.post("/api/v1/devices", json=D2)
    for body in ({"device_id": "D3"}, {"device_name": None}, {"metadata_json": 5}):
        assert client.put("/api/v1/devices/D2", json=body).status_code == 422


def test_patch_is_put_and_neither_loses_an_update(client: TestClient) -> None:
    client.post("/api/v1/devices", json=D2)
    first = client.get("/api/v1/devices/D2")
    tag = first.headers["etag"]
    assert "last-modified" in first.headers
    assert client.get("/api/v1/devices/D2", headers={"If-None-Match": tag}).status_code == 304
    changed = client.patch("/api/v1/devices/D2", json={"location": "Hall 3"}, headers={"If-Match": tag})
    assert (changed.json()["data"]["location"], changed.json()["data"]["model"]) == ("Hall 3", "M-2000")
    late = client.put("/api/v1/devices/D2", json={"location": "Hall 4"}, headers={"If-Match": tag})
    assert (late.status_code, late.json()["status"]) == (412, 412)
    assert client.get("/api/v1/devices/D2", headers={"If-None-Match": tag}).status_code == 200


def test_list_searches_and_sorts(client: TestClient) -> None:
    for device_id, name, place in (("a", "Zeta", "Hall_1"), ("b", "alpha", "Hall 2"), ("c", "beta", None)):
        body = {"device_id": device_id, "device_name": name, "device_type": "t", "location": place}
        client.post("/api/v1/devices", json=body)

    def ids(query: str) -> list[str]:
        return [device["device_id"] for device in client.get(f"/api/v1/devices?{query}").json()["data"]]

    assert ids("search=HALL") == ["a", "b"]
    assert ids("search=hall_") == ["a"]
    assert ids("sort=-device_id") == ["c", "b", "a"]
    assert ids("sort=-created_at&page_size=1&page=3") == ["a"]
    assert client.get("/api/v1/devices?sort=model").status_code == 422


def test_many_at_once_row_by_row(client: TestClient) -> None:
    client.post("/api/v1/devices", json=D2)
    client.post("/api/v1/devices", json=D2 | {"device_id": "gone"})
    client.delete("/api/v1/devices/gone")
    rows: list[dict[str, Any]] = [
        D2 | {"device_id": "D3", "metadata_json": {"timezone": "Europe/Paris"}},
        {"device_id": "D2", "location": "Hall 9"},
        {"device_id": "D2", "location": "Hall 9"},
        {"device_id": "D4"},
        {"device_id": "no good", "device_name": "n", "device_type": "t"},
        {"device_name": "n"},
        {"device_id": "D2", "status": "broken"},
        D2 | {"device_id": "gone"},
        D2 | {"device_id": "D3", "metadata_json": {"timezone": "Mars"}},
    ]
    answer = client.post("/api/v1/devices/bulk", json={"devices": rows}).json()
    results = answer["data"]["results"]
    assert answer["success"] is False
    assert [r["status"] for r in results] == ["created", "updated", "unchanged", *["failed"] * 6]
    assert [r["errors"][0]["field"] for r in results[3:]] == [
        "device_name", "device_id", "device_id", "status", "device_id", "metadata_json"
    ]  # fmt: skip
    assert (answer["data"]["created"], answer["data"]["updated"], answer["data"]["failed"]) == (1, 1, 6)
    assert client.get("/api/v1/devices").json()["total"] == 2
    assert client.post("/api/v1/devices/bulk", json={"devices": [D2] * 1001}).status_code == 422
    many = [D2 | {"device_id": f"M{i}"} for i in range(1000)]
    assert client.post("/api/v1/devices/bulk", json={"devices": many}).json()["data"]["created"] == 1000


def test_the_same_device_twice_at_the_same_time(client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/api/v1/devices", json=D2).status_code, range(8)))
    assert sorted(answers) == [201, *[409] * 7]


def test_metrics_beyond_the_limit_are_shown_at_the_device(client: TestClient, session: Session) -> None:
    client.post("/api/v1/devices", json=D2)
    first = client.get("/api/v1/devices/D2")
    assert first.json()["data"]["metrics"] == {
        "count": 0, "limit": 256, "dropped_values": 0, "dropped_names": [], "last_dropped_at": None
    }  # fmt: skip
    unchanged = {"If-None-Match": first.headers["ETag"]}
    assert client.get("/api/v1/devices/D2", headers=unchanged).status_code == 304
    add_metrics(session, {"D2": [f"m{i}" for i in range(300)]}, 256)
    add_dropped(session, {"D2": {"m256": 2, "m257": 1}})
    session.commit()
    metrics = client.get("/api/v1/devices/D2", headers=unchanged).json()["data"]["metrics"]
    assert (metrics["count"], metrics["dropped_values"], metrics["dropped_names"]) == (256, 3, ["m256", "m257"])
    assert metrics["last_dropped_at"]


def test_a_blank_name_is_refused(client: TestClient) -> None:
    for name in ("device_name", "device_type"):
        answer = client.post("/api/v1/devices", json=D2 | {"device_id": "B1", name: " \t"})
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"{name}: is blank; give at least one character that can be seen"
    client.post("/api/v1/devices", json=D2)
    assert client.patch("/api/v1/devices/D2", json={"device_name": " "}).status_code == 422
    for name in ("Pump\r\nBcc: x@y.test", "Pump\t1", "Pump\u2028"):
        answer = client.patch("/api/v1/devices/D2", json={"device_name": name})
        assert (answer.status_code, "has a line break or another control character" in answer.text) == (422, True)


def test_metadata_are_taken_under_the_shorter_name_too(client: TestClient) -> None:
    made = client.post("/api/v1/devices", json=D2 | {"metadata": {"cadence_seconds": 10}}).json()["data"]
    assert json.loads(made["metadata_json"]) == {"cadence_seconds": 10}
    changed = client.patch("/api/v1/devices/D2", json={"metadata": {"cadence_seconds": 20}}).json()["data"]
    assert json.loads(changed["metadata_json"]) == {"cadence_seconds": 20}
    both = {"metadata": {"cadence_seconds": 1}, "metadata_json": {"cadence_seconds": 30}}
    assert json.loads(client.patch("/api/v1/devices/D2", json=both).json()["data"]["metadata_json"]) == {
        "cadence_seconds": 30
    }
    wrong = client.patch("/api/v1/devices/D2", json={"metadata": {"cadence_seconds": "x"}})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "metadata")


@pytest.mark.parametrize(
    ("counters", "says"),
    [
        (
            {"energy": {"unit": "kWh", "role": "total"}, "all": {"unit": "kWh", "role": "total"}},
            "energy and all both have",
        ),
    ],
)
def test_two_declared_totals_are_refused(client: TestClient, counters: dict[str, Any], says: str) -> None:
    answer = client.post("/api/v1/devices", json=D2 | {"metadata_json": {"counters": counters}})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "metadata_json")
    assert says in answer.json()["detail"]
    assert client.post("/api/v1/devices", json=D2).status_code == 201
    assert client.patch("/api/v1/devices/D2", json={"metadata_json": {"counters": counters}}).status_code == 422


@pytest.mark.parametrize(
    ("counter", "says"),
    [
        *(({"unit": unit}, "unit such as kWh") for unit in ("kW", "°C", "K", "%", "m³/h", "l/min", "bar", "Hz")),
        ({"unit": "pulses"}, "kWh of one pulse as its factor"),
    ],
)
def test_a_counter_whose_unit_cannot_be_meant(
    client: TestClient, session: Session, counter: dict[str, Any], says: str
) -> None:
    metadata = {"counters": {"energy": counter}}
    answer = client.post("/api/v1/devices", json=D2 | {"metadata_json": metadata})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "metadata_json")
    assert says in answer.json()["detail"]
    row = client.post("/api/v1/devices/bulk", json={"devices": [D2 | {"metadata_json": metadata}]}).json()
    assert says in row["data"]["results"][0]["detail"]
    old = Device(**D2 | {"metadata_json": json.dumps(metadata, separators=(",", ":"), ensure_ascii=False)})
    session.add(old)
    session.commit()
    # A home of an earlier release may have it. Clients send back what they have read.
    kept = client.put("/api/v1/devices/D2", json={"device_name": "new", "metadata_json": metadata})
    assert (kept.status_code, kept.json()["data"]["device_name"]) == (200, "new")
    changed = {"counters": {"energy": counter}, "cadence_seconds": 5}
    assert client.patch("/api/v1/devices/D2", json={"metadata_json": changed}).status_code == 422
