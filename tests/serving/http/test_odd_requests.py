"""What nobody should send: each is answered, names what is wrong, and is no fault of the platform."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from storage.settings import Settings
from storage.stores import open_telemetry_store
from storage.telemetry import Reading
from storage.times import microseconds

AT = datetime(2026, 2, 12, 10, tzinfo=UTC)
DEVICE = {"device_id": "D1", "device_name": "n", "device_type": "t"}
RULE = {"rule_name": "r", "device_ids": ["D1"], "property": "power", "condition": ">", "threshold": 1}
READING = {"device_id": "D1", "timestamp": "2026-02-12T10:00:00Z", "power": 5}
WINDOW = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
ANALYSIS = {"device_id": "D1", "analysis_type": "anomaly", "model_name": "isolation_forest"}
HALF = "\ud800"  # of a surrogate pair
EARLY, LATE = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"
TELEMETRY = "/api/v1/data/telemetry/D1"


@pytest.fixture
def api(client: TestClient, settings: Settings) -> TestClient:
    """With a device that has sent."""
    assert client.post("/api/v1/devices", json=DEVICE).status_code == 201
    store = open_telemetry_store(settings)
    store.write([Reading(device_id="D1", time=microseconds(AT), metrics={"power": 7.0}, received_at=0)])
    store.close()
    return client


def bodies() -> Iterator[tuple[str, str, Any, str]]:
    """(method, path, body, the field that is named)."""
    for name, value in (("device_name", "\0"), ("device_name", HALF), ("location", "x" * 501), ("device_id", HALF)):
        yield "POST", "/api/v1/devices", DEVICE | {"device_id": "D2"} | {name: value}, name
    for metadata in ({"a": HALF}, {"a": float("nan")}, '{"a": "\\u0000"}', "[", {"timezone": "Mars"}):
        yield "PUT", "/api/v1/devices/D1", {"metadata_json": metadata}, "metadata_json"
    yield "POST", "/api/v1/rules", RULE | {"property": "time"}, "property"
    yield "POST", "/api/v1/rules", RULE | {"property": None}, "property"
    yield "POST", "/api/v1/rules", RULE | {"device_ids": []}, "device_ids"
    yield "POST", "/api/v1/rules", RULE | {"threshold": 10**400}, "threshold"
    yield "POST", "/api/v1/rules", RULE | {"condition": "no_data", "property": None, "threshold": 0}, "threshold"
    yield "POST", "/api/v1/rules/preview", {}, "rule_id"
    for stamp in (None, 10**400, HALF, {"a": HALF}, EARLY, LATE):
        yield "POST", "/api/v1/rules/evaluate", READING | {"timestamp": stamp}, "timestamp"
    yield "POST", "/api/v1/rules/evaluate", READING | {"power": HALF}, "power"
    for name, moment in (("from", EARLY), ("to", LATE), ("to", 1), ("from", "2026-01-01"), ("from", WINDOW["to"])):
        yield "POST", "/api/v1/maintenance-windows", WINDOW | {name: moment}, name
    yield "POST", "/api/v1/data/quarantine/replay", {"start_time": EARLY}, "start_time"
    for no_number in (True, "1"):
        yield "POST", "/api/v1/data/quarantine/replay", {"ids": [no_number]}, "ids.0"
        yield "POST", "/api/v1/data/quarantine/replay", {"after_id": no_number}, "after_id"
        yield "POST", "/api/v1/data/query", {"device_id": "D1", "limit": no_number}, "limit"
        yield "POST", "/api/v1/analytics/run", ANALYSIS | {"parameters": {"seed": no_number}}, "parameters.seed"
    yield "POST", "/api/v1/data/query", {"device_id": "D1", "agregate": "mean"}, "agregate"
    yield "POST", "/api/v1/data/query", {"device_id": "D1", "fields": ["hour"]}, "fields"
    yield (
        "POST", "/api/v1/data/query", {"device_id": "D1", "filters": [{"field": "time", "op": ">", "value": 1}]},
        "filters.0.field",
    )  # fmt: skip
    for name, day in (("end_date", "9999-12-31"), ("start_date", "0001-01-01"), ("start_date", 0)):
        range_ = {"start_date": "2026-01-01", "end_date": "2026-01-02", name: day}
        yield "POST", "/api/v1/analytics/run", ANALYSIS | range_, name
        yield "POST", "/api/v1/exports/run", {"device_id": "D1"} | range_, name


def test_bodies_that_are_wrong(api: TestClient) -> None:
    for method, path, body, field in bodies():
        sent = {"content": json.dumps(body), "headers": {"Content-Type": "application/json"}}
        refused(api.request(method, path, **sent), field)  # type: ignore[arg-type] # one is a text, one a dictionary


def refused(answer: httpx.Response, field: str) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["success"]) == (422, 422, False), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in [error["field"] for error in problem["errors"]], answer.text
    assert len(problem["detail"]) > len(field) + 5


def test_questions_that_are_wrong(api: TestClient) -> None:
    for query, field in {
        "fields=received_at": "fields", "fields=timestamp": "fields", "fields=": "fields",
        "fields=power,hour": "fields",
        f"end_time={LATE}": "end_time", "start_time=0": "start_time", "start_time=2026-01-01T00:00:00": "start_time",
        "limit=1e3": "limit", "interval=0s": "interval", "cursor=MTAwLjEwLjA=": "cursor", "order=up": "order",
    }.items():  # fmt: skip
        refused(api.get(f"{TELEMETRY}?{query}"), field)
    for query, field in {"page=-1": "page", "page=9e9": "page", "page_size=101": "page_size", "search=%00": "search",
                         "sort=x": "sort"}.items():  # fmt: skip
        refused(api.get(f"/api/v1/devices?{query}"), field)
    for path in (f"/api/v1/maintenance-windows?at={EARLY}".replace("+", "%2B"), "/api/v1/maintenance-windows?at=0"):
        refused(api.get(path), "at")


def test_a_plus_that_is_not_escaped_is_understood_in_every_parameter(api: TestClient) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    asked = [
        (path, parameter["name"])
        for path, operations in paths.items()
        for parameter in operations.get("get", {}).get("parameters", ())
        if "date-time" in json.dumps(parameter["schema"])
    ]
    assert len(asked) >= 15
    for path, name in asked:
        url = path.replace("{device_id}", "D1")
        until = "&end_time=2026-02-13T00:00:00Z" if (path, "end_time") in asked and name == "start_time" else ""
        for moment in ("2026-02-12T10:00:00.5+01:00", "2026-02-12T10:00:00+0100", "2026-02-12 10:00+01:00"):
            assert api.get(f"{url}?{name}={moment}{until}").status_code == 200, (url, name, moment)
    day = "start_time=2026-02-12T11:00:00+01:00&end_time=2026-02-12T11:00:01+01:00"
    assert len(api.get(f"{TELEMETRY}?{day}").json()["data"]["items"]) == 1


def test_fields_of_every_item_may_be_named_beside_metrics(api: TestClient) -> None:
    query = "fields=timestamp,device_id,power,enrichment_status&end_time=2026-02-13T00:00:00Z"
    (item,) = api.get(f"{TELEMETRY}?{query}").json()["data"]["items"]
    assert (item["timestamp"], item["device_id"], item["power"]) == ("2026-02-12T10:00:00Z", "D1", 7.0)


def test_what_is_no_json(api: TestClient) -> None:
    for body in (b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"):
        answer = api.post("/api/v1/devices", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, answer.text
        assert {error["field"] for error in answer.json()["errors"]} <= {"body"}
        assert "parsing" not in answer.json()["detail"]  # the framework's words


def test_a_row_of_many_that_no_answer_could_repeat(api: TestClient) -> None:
    body = json.dumps({"devices": [DEVICE | {"device_id": HALF}, DEVICE | {"device_id": "D2"}]})
    answer = api.post("/api/v1/devices/bulk", content=body, headers={"Content-Type": "application/json"})
    rows = answer.json()["data"]["results"]
    assert [(row["device_id"], row["status"]) for row in rows] == [("?", "failed"), ("D2", "created")]


def test_headers(api: TestClient) -> None:
    hosts = [{"Host": "[::1"}, {"Host": ""}, {"Host": "evil.example"}]
    for headers in (*hosts, {"X-API-Key": b"\xff"}, {"Authorization": ""}):
        assert api.get("/api/v1/devices", headers=headers).status_code == 401, headers
    assert api.post("/api/v1/devices", json=DEVICE, headers={"Origin": "http://[::1"}).status_code == 403
    for accept in ("", "*/*", "application/xml, */*;q=0.1"):
        assert api.get(TELEMETRY, headers={"Accept": accept}).status_code == 200, accept
    for accept in ("image/png", "a/b;q=x,,;", "application/json;q=0"):
        assert api.get(TELEMETRY, headers={"Accept": accept}).status_code == 406, accept


def test_head_and_paths_that_nothing_is_at(api: TestClient, server: str) -> None:
    for path in ("/health", "/api/v1/devices", "/api/v1/devices/D1", "/backend/device/api/v1/devices/D1"):
        head, get = httpx.head(server + path), httpx.get(server + path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"] != "0"
    assert api.head("/api/v1/devices/nosuch").status_code == 404
    assert "/docs" in api.get("/api/v1/nosuch").json()["detail"]
    answer = api.options("/api/v1/devices")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    moved = api.get("/backend/device/api/v1/devices/", follow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (307, "/backend/device/api/v1/devices")
