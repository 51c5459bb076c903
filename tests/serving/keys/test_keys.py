"""Keys over REST."""

from collections.abc import Callable

from fastapi.testclient import TestClient
from sqlmodel import Session, select

from storage.access import AuditEntry

Key = Callable[..., dict[str, str]]


def test_an_admin_creates_lists_and_revokes_keys(client: TestClient, session: Session, key: Key) -> None:
    admin = key("admin", name="boss")
    made = client.post("/api/v1/keys", json={"name": "shift", "role": "operate", "days": 7}, headers=admin)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    shift = {"X-API-Key": made.json()["data"]["secret"]}
    assert client.get("/api/v1/session", headers=shift).json()["data"]["role"] == "operate"
    assert client.post("/api/v1/keys", json={"name": "shift"}, headers=admin).status_code == 409
    keys = client.get("/api/v1/keys", headers=admin)
    assert [(k["name"], k["status"]) for k in keys.json()["data"]] == [("boss", "valid"), ("shift", "valid")]
    assert "secret" not in keys.text
    assert "hash" not in keys.text
    assert client.get("/api/v1/keys", headers=shift).status_code == 403
    assert client.post("/api/v1/keys/revoke", json={"name": "boss"}, headers=admin).status_code == 409
    assert (
        client.post("/api/v1/keys/revoke", json={"name": "shift"}, headers=admin).json()["data"]["status"] == "revoked"
    )
    assert client.get("/api/v1/session", headers=shift).status_code == 401
    assert client.post("/api/v1/keys/revoke", json={"name": "nobody"}, headers=admin).status_code == 404
    entries = session.exec(select(AuditEntry).where(AuditEntry.entity == "api_keys")).all()
    assert [(e.actor, e.action, e.entity_id) for e in entries] == [
        ("boss", "create", "shift"),
        ("boss", "update", "shift"),
    ]


def test_a_tenants_admin_has_the_tenants_keys(client: TestClient, key: Key) -> None:
    key("admin", name="boss")
    acme = key("admin", "acme", name="acme-boss")
    made = client.post("/api/v1/keys", json={"name": "acme-eyes"}, headers=acme).json()["data"]
    assert made["tenant_id"] == "acme"
    assert client.post("/api/v1/keys", json={"name": "x", "tenant_id": "other"}, headers=acme).status_code == 403
    assert client.post("/api/v1/keys", json={"name": "boss"}, headers=acme).status_code == 409
    assert [k["name"] for k in client.get("/api/v1/keys", headers=acme).json()["data"]] == ["acme-boss", "acme-eyes"]
    assert client.post("/api/v1/keys/revoke", json={"name": "boss"}, headers=acme).status_code == 404


def test_the_first_key_is_made_on_the_server(client: TestClient) -> None:
    """Who reaches an open platform must not leave a key behind that outlasts its openness."""
    refused = client.post("/api/v1/keys", json={"name": "mine", "role": "admin"})
    assert refused.status_code == 403
    assert "energy keys create" in refused.json()["detail"]
    assert client.get("/api/v1/keys").json()["data"] == []
