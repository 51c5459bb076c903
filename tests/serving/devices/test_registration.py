"""Whose a device id is: grants by prefix, what has sent before, how many devices a tenant may have."""

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select
from typer.testing import CliRunner

from cli.main import app as command
from serving.app import create_app
from storage import dirty_days, grants
from storage.catalogue import Dataset
from storage.devices import Device
from storage.quarantine import QuarantinedReading
from storage.settings import Settings
from storage.times import microseconds, utc_now
from tests.serving.conftest import BASE

Key = Callable[..., dict[str, str]]
PATH = "/api/v1/devices"


def device(device_id: str, **fields: str | None) -> dict[str, str | None]:
    return {"device_id": device_id, "device_name": "n", "device_type": "t", **fields}


@pytest.fixture
def api(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("MAX_DEVICES_PER_TENANT", "3")
    with TestClient(create_app(settings), base_url=BASE) as client:
        yield client


def test_ids_that_are_granted_are_the_tenants_alone(client: TestClient, session: Session, key: Key) -> None:
    session.add(Device(device_id="acme-old", tenant_id="beta", device_name="n", device_type="t"))
    grants.grant(session, "acme", "acme-")
    today = utc_now().date()
    dirty_days.mark_dirty(session, [("acme-2", microseconds(utc_now()))])
    session.add(
        Dataset(key="k", kind="day", device_id="acme-2", start_date=today, end_date=today, rows=1, bytes=1, sha256="",
                metrics={})
    )  # fmt: skip
    session.commit()
    acme, beta, everybody = key("operate", "acme"), key("operate", "beta"), key("operate")
    refused = client.post(PATH, json=device("acme-1"), headers=beta)
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "acme-1 is reserved for another tenant; choose another id",
    )
    rows = client.post(f"{PATH}/bulk", json={"devices": [device("acme-1"), device("b-1")]}, headers=beta).json()
    assert [row["status"] for row in rows["data"]["results"]] == ["failed", "created"]
    assert client.put(f"{PATH}/acme-old", json={"location": "here"}, headers=beta).status_code == 200
    sent = client.post(f"{PATH}/bulk", json={"devices": [device("acme-2")]}, headers=acme)
    assert sent.json()["data"]["created"] == 1
    assert session.exec(select(Dataset.tenant_id)).all() == ["acme"]  # what it sent before is the tenant's too
    assert client.post(PATH, json=device("acme-3", tenant_id="beta"), headers=everybody).status_code == 201


@pytest.mark.parametrize("sent", ["reading", "rubbish"])
def test_what_has_ever_sent_is_not_for_the_taking(client: TestClient, session: Session, key: Key, sent: str) -> None:
    if sent == "reading":
        dirty_days.mark_dirty(session, [("N1", microseconds(utc_now()))])
    else:
        session.add(QuarantinedReading(device_id="N1", topic="t", payload=b"secret", reason="r"))
    session.commit()
    refused = client.post(PATH, json=device("N1"), headers=key("operate", "beta"))
    assert (refused.status_code, "energy tenants grant" in refused.json()["detail"]) == (409, True)
    assert client.post(PATH, json=device("N1"), headers=key("operate")).status_code == 201


def test_a_tenant_has_no_more_devices_than_the_limit(api: TestClient, key: Key) -> None:
    acme, everybody = key("operate", "acme"), key("operate")
    rows = [device(f"a-{i}") for i in range(4)] + [device("a-0", location="here")]
    data = api.post(f"{PATH}/bulk", json={"devices": rows}, headers=acme).json()["data"]
    assert [row["status"] for row in data["results"]] == ["created"] * 3 + ["failed", "updated"]
    assert "acme has 3 devices, deleted ones included, and MAX_DEVICES_PER_TENANT is 3" in data["results"][3]["detail"]
    api.delete(f"{PATH}/a-0", headers=acme)
    assert api.post(PATH, json=device("a-3"), headers=acme).status_code == 409
    assert api.post(PATH, json=device("a-3", tenant_id="acme"), headers=everybody).status_code == 409
    assert api.post(PATH, json=device("b-1", tenant_id="beta"), headers=everybody).status_code == 201
    assert api.put(f"{PATH}/b-1", json={"tenant_id": "acme"}, headers=everybody).status_code == 409
    api.delete(f"{PATH}/a-1?soft=false", headers=acme)
    assert api.put(f"{PATH}/b-1", json={"tenant_id": "acme"}, headers=everybody).status_code == 200
    for i in range(5):
        assert api.post(PATH, json=device(f"n-{i}"), headers=everybody).status_code == 201


def test_a_refused_row_leaves_no_trace_for_the_next_of_its_id(client: TestClient, session: Session, key: Key) -> None:
    rows = [
        device("B1", tenant_id="alpha"),  # refused
        device("B1", location="hall"),
        device("B1", tenant_id="alpha", location="elsewhere"),  # refused
        device("B1", tenant_id="beta", location="hall"),
    ]
    answer = client.post(f"{PATH}/bulk", json={"devices": rows}, headers=key("operate", "beta")).json()["data"]
    assert [row["status"] for row in answer["results"]] == ["failed", "created", "failed", "unchanged"]
    made = session.get_one(Device, "B1")
    assert (made.tenant_id, made.location) == ("beta", "hall")


def test_the_commands(settings: Settings, session: Session) -> None:
    run = CliRunner()

    def invoke(*arguments: str) -> tuple[int, str]:
        result = run.invoke(command, ["tenants", *arguments], env={"COLUMNS": "200"})
        return result.exit_code, result.output

    assert invoke("grant", "acme", "acme-") == (0, "acme- is granted to acme\n")
    assert invoke("grant", "acme", "acme-") == (0, "acme- is granted to acme already\n")
    assert invoke("grant", "acme", "acme-press-")[0] == 0
    for prefix in ("acme-", "acme-press-1", "a"):
        code, output = invoke("grant", "beta", prefix)
        assert (code, "is granted to acme; revoke that first" in output) == (2, True)
    for wrong in (("a b", "x"), ("acme", ""), ("acme", "-x"), ("acme", "x" * 51), ("acme\n", "x")):
        assert invoke("grant", *wrong)[0] == 2, wrong
    assert invoke("list")[1].splitlines()[1].split()[:2] == ["acme", "acme-"]
    assert invoke("revoke", "acme-press-")[0] == 0
    assert invoke("revoke", "acme-press-")[0] == 2
    for tenant in ("a b", "", "é", "-a", "x" * 51, "a\n"):
        assert run.invoke(command, ["keys", "create", "n", "--tenant", tenant]).exit_code == 2, tenant
