"""How many rules may watch a device, and which devices a rule may name."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from serving.app import create_app
from storage.devices import Device
from storage.rules import Rule, most_watched_device
from storage.settings import Settings
from tests.serving.conftest import BASE
from tests.serving.rules.test_rules import HOT, made

PATH = "/api/v1/rules"


def test_a_device_has_no_more_rules_than_the_limit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RULES_PER_DEVICE", "3")
    with TestClient(create_app(settings), base_url=BASE) as client:
        body = {"device_id": "D1", "device_name": "n", "device_type": "t", "tenant_id": "a"}
        assert client.post("/api/v1/devices", json=body).status_code == 201
        made(client, scope="all_devices", device_ids=[])
        made(client, scope="all_devices", device_ids=[], tenant_id="a")
        one = made(client, device_ids=["D1", "D1"])
        refused = client.post("/api/v1/rules", json=HOT | {"tenant_id": "a"})
        assert refused.status_code == 409
        assert "3 active rules watch D1" in refused.json()["detail"]
        assert "MAX_RULES_PER_DEVICE" in refused.json()["detail"]
        assert client.post("/api/v1/rules", json=HOT | {"scope": "all_devices"}).status_code == 409
        other = made(client, device_ids=["D2"])
        path = f"/api/v1/rules/{other['rule_id']}"
        assert client.put(path, json={"device_ids": ["D2", "D1"], "severity": "low"}).status_code == 409
        assert client.get(path).json()["data"] == other
        client.patch(f"/api/v1/rules/{one['rule_id']}/status", json={"status": "paused"})
        assert client.put(path, json={"device_ids": ["D2", "D1"]}).status_code == 200
        resumed = client.patch(f"/api/v1/rules/{one['rule_id']}/status", json={"status": "active"})
        assert resumed.status_code == 409


@pytest.fixture
def two_tenants(session: Session) -> None:
    session.add(Device(device_id="A1", tenant_id="alpha", device_name="n", device_type="t"))
    session.add(Device(device_id="B1", tenant_id="beta", device_name="n", device_type="t"))
    session.add(Device(device_id="C1", device_name="n", device_type="t"))
    session.commit()


def rule(tenant_id: str | None, *device_ids: str) -> Rule:
    scope = "selected_devices" if device_ids else "all_devices"
    return Rule(
        rule_name="r", tenant_id=tenant_id, scope=scope, device_ids=list(device_ids), property="power", condition=">",
        threshold=1,
    )  # fmt: skip


def test_a_tenants_rule_names_its_own_devices_and_the_answer_tells_nothing_of_others(
    two_tenants: None, client: TestClient, session: Session, key: Callable[..., dict[str, str]]
) -> None:
    beta, everybody = key("operate", "beta"), key("operate")
    for foreign in ("A1", "C1", "never"):
        for headers, body in ((beta, HOT), (everybody, HOT | {"tenant_id": "beta"})):
            refused = client.post(PATH, json=body | {"device_ids": ["B1", foreign]}, headers=headers)
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "device_ids")
            assert refused.json()["detail"] == f"beta has no device {foreign}; register the device first"
    own = client.post(PATH, json=HOT | {"device_ids": ["B1"]}, headers=beta).json()["data"]
    path = f"{PATH}/{own['rule_id']}"
    assert client.put(path, json={"device_ids": ["B1", "A1"]}, headers=beta).status_code == 422
    old = rule("beta", "A1", "B1")  # as earlier releases took it
    session.add(old)
    session.commit()
    assert client.patch(f"{PATH}/{old.rule_id}", json={"severity": "low"}, headers=beta).status_code == 200
    assert client.post(PATH, json=HOT | {"device_ids": ["never", "A1"]}, headers=everybody).status_code == 201


def test_only_rules_that_watch_a_device_count(two_tenants: None, session: Session) -> None:
    def most(new: Rule) -> tuple[str | None, int]:
        counted = most_watched_device(session, new)
        session.rollback()
        return counted

    assert most(rule("alpha")) == (None, 0)
    # Three rules of beta that name alpha's device, and two of all of beta's devices, watch nothing of alpha's.
    session.add_all([*(rule("beta", "A1") for _ in range(3)), rule("beta"), rule("beta"), rule(None, "C1")])
    session.commit()
    assert most(rule("alpha", "A1")) == ("A1", 0)
    assert most(rule("alpha")) == (None, 0)
    assert most(rule(None, "A1")) == ("A1", 0)
    assert most(rule(None, "A1", "B1", "C1")) == ("B1", 2)
    assert most(rule("beta", "B1")) == ("B1", 2)
    session.add_all([rule("alpha", "A1"), rule(None), rule(None, "A1"), rule("beta", "B1")])
    session.commit()
    assert most(rule("alpha", "A1")) == ("A1", 3)
    assert most(rule("beta")) == ("B1", 4)
    assert most(rule(None)) == ("B1", 4)
    assert most(rule(None, "C1", "unregistered")) == ("C1", 2)
    assert most(rule(None, "unregistered")) == ("unregistered", 1)
