from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect
from typer.testing import CliRunner

from cli.main import app as command
from serving.__main__ import refuse_open_access
from serving.app import create_app
from storage import access
from storage.access import SESSION_COOKIE, AccessToken, ApiKey, AuditEntry
from storage.settings import Settings, SettingsError
from tests.serving.conftest import BASE
from web.rate_limits import Buckets, client_network

DEVICE = {"device_id": "D1", "device_name": "Pump", "device_type": "pump"}
Key = Callable[..., dict[str, str]]


def test_without_any_key_loopback_is_open_and_other_names_are_not(client: TestClient) -> None:
    assert client.get("/api/v1/devices").status_code == 200
    rebound = client.get("/api/v1/devices", headers={"Host": "attacker.example"})
    assert (rebound.status_code, rebound.headers["www-authenticate"]) == (401, "Bearer")
    elsewhere = client.post("/api/v1/devices", json=DEVICE, headers={"Origin": "https://attacker.example"})
    assert elsewhere.status_code == 403
    assert client.post("/api/v1/devices", json=DEVICE, headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    assert client.post("/api/v1/devices", json=DEVICE, headers={"Origin": BASE}).status_code == 201


def test_from_the_first_key_on_a_key_is_needed(client: TestClient, key: Key) -> None:
    admin = key("admin")
    for headers in ({}, {"X-API-Key": "ek_wrong"}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer "}):
        refused = client.get("/api/v1/devices", headers=headers)
        assert refused.status_code == 401, headers
        assert refused.json()["success"] is False
    assert client.get("/api/v1/devices", headers=admin).status_code == 200
    bearer = {"Authorization": f"Bearer {admin['X-API-Key']}"}
    assert client.get("/api/v1/session", headers=bearer).json()["data"] == {
        "name": "admin of None",
        "role": "admin",
        "tenant_id": None,
    }
    for path in ("/", "/health", "/health/live", "/api/v1/data/health", "/openapi.json"):
        assert client.get(path).status_code == 200, path


def test_roles(client: TestClient, key: Key) -> None:
    read, operate, admin = key("read"), key("operate"), key("admin")
    assert client.post("/api/v1/devices", json=DEVICE, headers=read).status_code == 403
    assert client.post("/api/v1/devices", json=DEVICE, headers=operate).status_code == 201
    question = {"device_id": "D1"}
    assert client.post("/api/v1/data/query", json=question, headers=read).status_code == 200
    assert client.delete("/api/v1/devices/D1", headers=read).status_code == 403
    assert client.get("/api/v1/audit", headers=operate).status_code == 403
    assert client.get("/api/v1/audit", headers=admin).status_code == 200
    assert client.get("/metrics", headers=admin).status_code == 200
    for other in (read, operate, key("admin", "acme")):
        assert client.get("/metrics", headers=other).status_code == 403


def test_keys_are_hashed_end_and_are_revoked(client: TestClient, session: Session, key: Key) -> None:
    mine = key("operate", name="mine")
    kept = session.get(ApiKey, "mine")
    assert kept is not None
    assert mine["X-API-Key"] not in kept.model_dump_json()
    signed_in = client.post("/api/v1/session", json={"key": mine["X-API-Key"]})
    assert client.get("/api/v1/session").json()["data"]["name"] == "mine"
    assert access.revoke_key(session, "mine")
    session.commit()
    assert client.get("/api/v1/session").status_code == 401
    assert client.get("/api/v1/session", headers=mine).status_code == 401
    assert signed_in.cookies[SESSION_COOKIE] not in str(session.exec(select(AccessToken)).all())
    kept.revoked_at, kept.expires_at = None, kept.created_at
    session.add(kept)
    session.commit()
    assert client.get("/api/v1/session", headers=mine).status_code == 401


def test_the_admin_key_of_the_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_ADMIN_KEY", "a-long-enough-secret")
    with TestClient(create_app(Settings.load()), base_url=BASE) as client:
        assert client.get("/api/v1/devices").status_code == 401
        who = client.get("/api/v1/session", headers={"X-API-Key": "a-long-enough-secret"}).json()["data"]
        assert (who["name"], who["role"]) == ("ENERGY_ADMIN_KEY", "admin")
        client.post("/api/v1/session", json={"key": "a-long-enough-secret"})
        assert client.get("/api/v1/session").status_code == 200
    monkeypatch.setenv("ENERGY_ADMIN_KEY", "another-long-secret")
    with TestClient(create_app(Settings.load()), base_url=BASE, cookies=client.cookies) as client:
        assert client.get("/api/v1/session").status_code == 401


def test_a_cookie_works_for_pages_of_this_site_only(client: TestClient, key: Key) -> None:
    secret = key("operate")["X-API-Key"]
    assert client.post("/api/v1/session", json={"key": "ek_wrong"}).status_code == 401
    answer = client.post("/api/v1/session", json={"key": secret})
    assert secret not in answer.text
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=lax" in said
    assert client.post("/api/v1/devices", json=DEVICE, headers={"Origin": "http://127.0.0.1:3000"}).status_code == 403
    assert client.post("/api/v1/devices", json=DEVICE).status_code == 403  # no browser leaves both headers out
    assert client.post("/api/v1/devices", json=DEVICE, headers={"Origin": BASE}).status_code == 201
    with_key = {"Origin": "http://other.example", "X-API-Key": secret}
    assert client.delete("/api/v1/devices/D1", headers=with_key).status_code == 204
    token = client.cookies[SESSION_COOKIE]
    assert client.delete("/api/v1/session", headers={"Origin": "http://attacker.example"}).status_code == 403
    assert client.get("/api/v1/session").status_code == 200
    assert client.delete("/api/v1/session", headers={"Origin": BASE}).status_code == 204
    assert client.get("/api/v1/session", cookies={SESSION_COOKIE: token}).status_code == 401


def test_websockets_take_a_header_a_cookie_or_a_ticket_once(
    client: TestClient, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is let in hears that there is no broker here (1013)."""
    monkeypatch.setattr("serving.live.hub.CONNECT_TIMEOUT_SECONDS", 0.1)
    secret = key("read", "acme", "mine")["X-API-Key"]
    client.post("/api/v1/devices", json=DEVICE, headers=key("operate", "acme"))
    client.post("/api/v1/devices", json=DEVICE | {"device_id": "D2"}, headers=key("operate", "other"))

    def closed_with(path: str, **headers: str) -> int:
        with client.websocket_connect(path, headers=headers) as socket, pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        return closed.value.code

    assert closed_with("/ws/telemetry/D1", **{"x-api-key": secret}) == 1013
    ticket = client.post("/api/v1/session/ticket", headers={"X-API-Key": secret}).json()["data"]["ticket"]
    assert closed_with(f"/backend/data/ws/telemetry/D1?ticket={ticket}") == 1013
    for path in (f"/ws/telemetry/D1?ticket={ticket}", "/ws/telemetry/D1", "/ws/telemetry/D1?ticket=x"):
        assert closed_with(path) == 4401
    assert closed_with("/ws/telemetry/D2", **{"x-api-key": secret}) == 4404
    client.post("/api/v1/session", json={"key": secret})
    cookie = f"{SESSION_COOKIE}={client.cookies[SESSION_COOKIE]}"
    client.cookies.clear()
    ours = BASE.replace("127.0.0.1", "testserver")
    assert closed_with("/ws/telemetry/D1", cookie=cookie, origin=ours, host="testserver") == 1013
    assert closed_with("/ws/telemetry/D1", cookie=cookie, origin="http://attacker.example") == 4403
    by_cookie = client.post("/api/v1/session/ticket", headers={"cookie": cookie, "origin": BASE})
    assert by_cookie.status_code == 200


def test_changes_are_in_the_book(client: TestClient, key: Key) -> None:
    operate, admin = key("operate", name="Ann"), key("admin")
    client.post("/api/v1/devices", json=DEVICE, headers=operate)
    client.put("/api/v1/devices/D1", json={"location": "Hall 2"}, headers=operate)
    client.get("/api/v1/devices/D1", headers=operate)
    last = client.delete("/api/v1/devices/D1?soft=false", headers=operate)
    book = client.get("/api/v1/audit?entity=devices&entity_id=D1&actor=Ann", headers=admin).json()
    assert [(e["action"], e["request"]) for e in book["data"]] == [
        ("delete", "DELETE /api/v1/devices/{device_id}"),
        ("update", "PUT /api/v1/devices/{device_id}"),
        ("create", "POST /api/v1/devices"),
    ]
    assert book["data"][1]["change"]["location"] == [None, "Hall 2"]
    assert book["data"][0]["request_id"] == last.headers["x-request-id"]
    assert book["total"] == 3


def test_what_is_not_kept_is_not_in_the_book(client: TestClient, session: Session) -> None:
    client.post("/api/v1/devices", json=DEVICE)
    client.post("/api/v1/devices", json=DEVICE)
    assert len(session.exec(select(AuditEntry)).all()) == 1


def test_too_much_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch, key: Key) -> None:
    monkeypatch.setenv("API_RATE_LIMIT", "0.5")
    one, other = key("read", name="one"), key("read", name="other")
    with TestClient(create_app(Settings.load()), base_url=BASE) as client:
        answers = [client.get("/api/v1/session", headers=one) for _ in range(6)]
        assert [a.status_code for a in answers] == [200] * 5 + [429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert client.get("/api/v1/session", headers=other).status_code == 200
        guesses = [client.get("/api/v1/session", headers={"X-API-Key": f"guess {i}"}).status_code for i in range(21)]
        assert guesses == [401] * 20 + [429]


@pytest.mark.parametrize(
    ("host", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("testclient", "testclient"),
    ],
)
def test_one_client_is_an_address_or_the_network_that_it_has_for_itself(host: str, counted_as: str) -> None:
    assert client_network(HTTPConnection({"type": "http", "client": (host, 5000)})) == counted_as


def test_buckets_are_bounded() -> None:
    buckets = Buckets(1, 1)
    for i in range(11_000):
        assert buckets.take(str(i)) == 0
    assert len(buckets._buckets) == 10_000
    assert buckets.take("10999") == 1


def test_bodies_that_are_too_large_or_no_json(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_MAX_BODY_MB", "0.01")
    json = {"Content-Type": "application/json"}
    with TestClient(create_app(Settings.load()), base_url=BASE, raise_server_exceptions=False) as client:
        declared = client.post("/api/v1/devices", content=b" " * 10_001, headers=json)
        streamed = client.post("/api/v1/devices", content=iter([b" " * 6000] * 2), headers=json)
        for answer in (declared, streamed):
            assert (answer.status_code, answer.json()["status"]) == (413, 413)
            assert answer.headers["content-type"] == "application/problem+json"
        assert client.post("/api/v1/devices", content=b"a=b").status_code == 415
        wrong = client.put("/api/v1/devices", json={})
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")


def test_the_commands(settings: Settings, client: TestClient, tmp_path: Path) -> None:
    run = CliRunner()
    made = run.invoke(command, ["keys", "create", "Ann", "--role", "operate", "--tenant", "acme", "--days", "30"])
    assert made.exit_code == 0
    secret = made.stdout.strip()
    who = client.get("/api/v1/session", headers={"X-API-Key": secret}).json()["data"]
    assert who == {"name": "Ann", "role": "operate", "tenant_id": "acme"}
    assert run.invoke(command, ["keys", "create", "Ann"]).exit_code == 2
    assert "acme" in run.invoke(command, ["keys", "list"]).stdout
    assert secret not in run.invoke(command, ["keys", "list"]).stdout
    assert run.invoke(command, ["keys", "revoke", "Ann"]).exit_code == 0
    assert run.invoke(command, ["keys", "revoke", "Bob"]).exit_code == 2
    assert "revoked" in run.invoke(command, ["keys", "list"]).stdout
    assert client.get("/api/v1/session", headers={"X-API-Key": secret}).status_code == 401


def test_who_may_listen_beyond_loopback(settings: Settings, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_open_access(Settings.load())
    monkeypatch.setenv("API_HOST", "0.0.0.0")
    with pytest.raises(SettingsError, match="energy keys create"):
        refuse_open_access(Settings.load())
    with monkeypatch.context() as patch:
        patch.setenv("ALLOW_ANONYMOUS", "true")
        refuse_open_access(Settings.load())
    with monkeypatch.context() as patch:
        patch.setenv("ENERGY_ADMIN_KEY", "a-long-enough-secret")
        refuse_open_access(Settings.load())
    access.create_key(session, "first", "admin")
    session.commit()
    refuse_open_access(Settings.load())
