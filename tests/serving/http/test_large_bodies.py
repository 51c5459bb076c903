"""Bodies of those who may send them: what is wrong with them is said briefly, and costs the others nothing."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.auth.identified import MAX_BODY_BYTES, MAX_KEYS, MAX_VALUES
from serving.http.errors import MAX_ERRORS
from tests.serving.conftest import BASE

DEVICE = {"device_id": "D1", "device_name": "n", "device_type": "t"}
RULE = {"rule_name": "r", "device_ids": ["D1"], "property": "power", "condition": ">", "threshold": 1}
ROUTES = {
    "/api/v1/data/query": {"device_id": "D1"},
    "/api/v1/devices/D1/corrections": {},
    "/api/v1/data/quarantine/replay": {},
    "/api/v1/rules": {},
}


def keys(count: int) -> dict[str, int]:
    return {f"k{i}": 1 for i in range(count)}


@pytest.mark.parametrize("path", ROUTES)
def test_many_wrong_fields_are_counted_and_the_first_ones_named(client: TestClient, path: str) -> None:
    assert client.post("/api/v1/devices", json=DEVICE).status_code == 201
    known = ROUTES[path]
    wrong = known | keys(500) if path != "/api/v1/rules" else RULE | {"active_hours": keys(500)}
    answer = client.post(path, json=wrong)
    problem = answer.json()
    assert (answer.status_code, len(problem["errors"])) == (422, MAX_ERRORS), problem["detail"]
    assert "; and 49" in problem["detail"] or "; and 50" in problem["detail"]
    assert len(answer.content) < 8_000


@pytest.mark.parametrize("path", ROUTES)
def test_objects_have_a_limit_of_keys(client: TestClient, path: str) -> None:
    for content, status in ((keys(MAX_VALUES + 101), 413), (keys(MAX_KEYS + 100), 422)):
        in_many = [{f"{i}.{j}": 1 for j in range(100)} for i in range(len(content) // 100)]
        for body in (content, ROUTES[path] | {"a": [{"b": content}]}, {"a": in_many}):
            answer = client.post(path, json=body)
            assert (answer.status_code, len(answer.json()["errors"])) == (status, 0)
            assert "keys" in answer.json()["detail"] or status == 413


def test_a_long_list_of_wrong_items_names_the_first(client: TestClient) -> None:
    for path, body, field in (
        ("/api/v1/rules", RULE | {"device_ids": [1] * 10_000}, "device_ids.0"),
        ("/api/v1/rules/preview", RULE | {"device_ids": [1] * 10_000}, "device_ids.0"),
        ("/api/v1/data/quarantine/replay", {"ids": ["1"] * 10_000}, "ids.0"),
    ):
        answer = client.post(path, json=body)
        assert field in [error["field"] for error in answer.json()["errors"]]
        assert len(answer.json()["errors"]) < 10


def test_a_long_name_of_a_field_is_cut(client: TestClient) -> None:
    answer = client.post("/api/v1/data/query", json={"k" * 100_000: 1})
    assert (answer.status_code, len(answer.content) < 2_000) == (422, True)


def test_most_routes_take_small_bodies_only(client: TestClient) -> None:
    large: dict[str, Any] = DEVICE | {"metadata_json": " " * MAX_BODY_BYTES + "{}"}
    refused = client.post("/api/v1/devices", json=large)
    assert (refused.status_code, str(MAX_BODY_BYTES) in refused.json()["detail"]) == (413, True)
    assert client.post("/api/v1/devices/bulk", json={"devices": [large]}).status_code == 200


def test_all_metadata_that_fits_is_taken(client: TestClient) -> None:
    """Numbers in a list have the most values in 64 kB, and short names the most keys."""
    for metadata in ({"a": [1] * 32_700}, {f"{i:x}": 1 for i in range(7_300)}):
        assert len(json.dumps(metadata, separators=(",", ":"))) > 60_000
        assert client.post("/api/v1/devices/bulk", json={"devices": [DEVICE | {"metadata_json": metadata}]}).is_success
        assert client.put("/api/v1/devices/D1", json={"metadata_json": metadata}).status_code == 200
    too_large = client.put("/api/v1/devices/D1", json={"metadata_json": {"a": [1] * 35_000}})
    assert (too_large.status_code, too_large.json()["detail"]) == (422, "metadata_json: is larger than 64 kB")


def test_a_redirect_names_no_host(client: TestClient) -> None:
    client.headers["X-API-Key"] = "any"
    for host in ("evil.example", "[::1", "127.0.0.1"):
        moved = client.get("/api/v1/devices/?page=2", headers={"Host": host}, follow_redirects=False)
        assert (moved.status_code, moved.headers["location"]) == (307, "/api/v1/devices?page=2")
    assert client.get(f"{BASE}//evil.example/", follow_redirects=False).status_code == 404
