"""What caches on the way may keep: nothing that is not one client's own, and no key at all."""

from collections.abc import Callable

from fastapi.testclient import TestClient

DEVICE = {"device_id": "D1", "device_name": "Pump", "device_type": "pump"}


def test_answers_are_one_clients_own_and_are_asked_for_again(client: TestClient) -> None:
    client.post("/api/v1/devices", json=DEVICE)
    read = client.get("/api/v1/devices/D1")
    again = client.get("/api/v1/devices/D1", headers={"If-None-Match": read.headers["etag"]})
    assert again.status_code == 304
    for answer in (read, again, client.get("/api/v1/devices"), client.get("/api/v1/devices/D2"), client.get("/health")):
        assert answer.headers["cache-control"] == "private, no-cache", answer.url
        assert answer.headers["vary"] == "Authorization, X-API-Key, Cookie", answer.url


def test_keys_sessions_and_tickets_are_kept_nowhere(client: TestClient, key: Callable[..., dict[str, str]]) -> None:
    mine = key("read")
    answers = [
        client.post("/api/v1/session", json={"key": mine["X-API-Key"]}),
        client.get("/api/v1/session"),
        client.post("/api/v1/session/ticket", headers=mine),
        client.delete("/api/v1/session"),
    ]
    assert [answer.is_success for answer in answers] == [True] * 4
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
