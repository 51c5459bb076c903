from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from storage.failures import Failure
from storage.times import rfc3339, utc_now

DEVICES = "/api/v1/devices"
PATH = f"{DEVICES}/D1/failures"
DEVICE = {"device_id": "D1", "device_name": "n", "device_type": "pump"}
FAILURE: dict[str, Any] = {"failed_at": "2026-02-12T10:00:00+01:00", "description": "Bearing seized"}


@pytest.fixture(autouse=True)
def device(client: TestClient) -> None:
    assert client.post(DEVICES, json=DEVICE).status_code == 201


def rows_of(client: TestClient, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"{PATH}?{query}").json()["data"]
    return found


def test_create_read_update_delete(client: TestClient) -> None:
    made = client.post(PATH, json=FAILURE)
    assert made.status_code == 201
    failure = made.json()["data"]
    assert (failure["failed_at"], failure["repaired_at"]) == ("2026-02-12T09:00:00Z", None)
    assert (failure["device_id"], failure["description"], failure["source"]) == ("D1", "Bearing seized", "api")
    path = f"{PATH}/{failure['failure_id']}"
    read = client.get(path)
    assert read.json()["data"] == failure
    assert client.get(path, headers={"If-None-Match": read.headers["etag"]}).status_code == 304
    change = {"failed_at": "2026-02-12T09:00:00Z", "repaired_at": "2026-02-13T09:00:00Z"}
    changed = client.put(path, json=change, headers={"If-Match": read.headers["etag"]}).json()["data"]
    assert (changed["repaired_at"], changed["description"]) == ("2026-02-13T09:00:00Z", None)
    assert client.put(path, json=change, headers={"If-Match": read.headers["etag"]}).status_code == 412
    assert client.get(f"{DEVICES}/D2/failures/{failure['failure_id']}").status_code == 404
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == client.delete(path).status_code == 404
    assert client.put(f"{PATH}/{UUID(int=0)}", json=FAILURE).status_code == 404


def test_lists_are_filtered_sorted_and_paged(client: TestClient) -> None:
    for day in (11, 13, 12):
        assert client.post(PATH, json={"failed_at": f"2026-02-{day}T00:00:00Z"}).status_code == 201
    assert [row["failed_at"][8:10] for row in rows_of(client)] == ["13", "12", "11"]
    within = rows_of(client, "start_time=2026-02-12T00:00:00Z&end_time=2026-02-13T00:00:00Z")
    assert [row["failed_at"][8:10] for row in within] == ["12"]
    assert rows_of(client, "source=import") == []
    first = client.get(f"{PATH}?page_size=2&sort=failed_at").json()
    rest = client.get(f"{PATH}?page_size=2&sort=failed_at&cursor={first['next_cursor']}").json()
    assert [row["failed_at"][8:10] for row in first["data"] + rest["data"]] == ["11", "12", "13"]
    assert (first["total"], rest["next_cursor"]) == (3, None)


def test_one_moment_has_one_failure(client: TestClient) -> None:
    assert client.post(PATH, json=FAILURE).status_code == 201
    again = client.post(PATH, json=FAILURE)
    assert (again.status_code, again.json()["errors"][0]["field"]) == (409, "failed_at")
    other = client.post(PATH, json=FAILURE | {"failed_at": "2026-02-12T11:00:00Z"}).json()["data"]
    assert client.put(f"{PATH}/{other['failure_id']}", json=FAILURE).status_code == 409


@pytest.mark.parametrize(
    "change",
    [
        {"failed_at": None},
        {"failed_at": "2026-02-12T10:00:00"},
        {"failed_at": "1999-12-31T00:00:00Z"},
        {"failed_at": rfc3339(utc_now() + timedelta(days=1))},
        {"repaired_at": "2026-02-12T09:00:00Z"},
        {"description": "\0"},
        {"description": "x" * 2001},
    ],
)
def test_refused(client: TestClient, change: dict[str, Any]) -> None:
    assert client.post(PATH, json=FAILURE | change).status_code == 422


def test_a_device_that_never_was_has_no_failures(client: TestClient) -> None:
    assert client.get(f"{DEVICES}/D9/failures").status_code == 404
    assert client.post(f"{DEVICES}/D9/failures", json=FAILURE).status_code == 404


def test_a_status_that_turns_error_is_a_failure_once_a_turn(client: TestClient) -> None:
    def put(status: str) -> None:
        assert client.put(f"{DEVICES}/D1", json={"status": status}).status_code == 200

    put("error")
    put("error")
    bulk = {"devices": [DEVICE | {"status": "error"}]}
    assert client.post(f"{DEVICES}/bulk", json=bulk).json()["data"]["unchanged"] == 1
    (first,) = rows_of(client)
    assert (first["source"], first["repaired_at"]) == ("status", None)
    put("maintenance")
    put("active")
    (first,) = rows_of(client)
    assert first["repaired_at"] > first["failed_at"]
    bulk = {"devices": [DEVICE | {"status": "error"}]}
    assert client.post(f"{DEVICES}/bulk", json=bulk).json()["data"]["updated"] == 1
    newest, oldest = rows_of(client)
    assert (newest["source"], newest["repaired_at"], oldest) == ("status", None, first)


def test_a_tenant_has_its_own_devices_failures(
    client: TestClient, key: Callable[..., dict[str, str]], session: Session
) -> None:
    admin, acme, other, reader = key("admin"), key("operate", "acme"), key("operate", "other"), key("read", "acme")
    assert client.post(DEVICES, json=DEVICE | {"device_id": "A1"}, headers=acme).status_code == 201
    path = f"{DEVICES}/A1/failures"
    assert client.post(path, json=FAILURE, headers=reader).status_code == 403
    made = client.post(path, json=FAILURE, headers=acme).json()["data"]
    assert client.get(path, headers=reader).json()["data"] == [made]
    one = f"{path}/{made['failure_id']}"
    for answer in (
        client.get(path, headers=other),
        client.post(path, json=FAILURE, headers=other),
        client.get(one, headers=other),
        client.put(one, json=FAILURE, headers=other),
        client.delete(one, headers=other),
    ):
        assert answer.status_code == 404
    assert client.put(f"{DEVICES}/A1", json={"tenant_id": "other"}, headers=admin).status_code == 200
    assert client.get(path, headers=other).json()["data"] == [made | {"description": None}]
    assert client.get(one, headers=acme).status_code == 404
    assert len(session.exec(select(Failure)).all()) == 1
