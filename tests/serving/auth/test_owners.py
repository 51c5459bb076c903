"""Whose a row is: nobody changes that but a key of all tenants, and only by naming another tenant."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text, update
from sqlmodel import Session, SQLModel, select

from serving.auth.tenancy import RequestSession
from serving.http.errors import Refused
from storage.access import Principal
from tests.support.tenants import attempts

Key = Callable[..., dict[str, str]]
Owners = dict[tuple[str, str], str | None]
BETA = Principal("b", "admin", "beta", "hash")


def mapped_classes() -> list[type[Any]]:
    return [mapper.class_ for mapper in SQLModel._sa_registry.mappers]


def owned_classes() -> list[type[Any]]:
    """Every mapped table with a tenant."""
    return [class_ for class_ in mapped_classes() if "tenant_id" in class_.model_fields]


def owners(engine: Engine) -> Owners:
    """The tenant of every row of every table that has tenants, by table and primary key."""
    found: Owners = {}
    with engine.connect() as connection:
        for table in {class_.__table__ for class_ in owned_classes()} - {SQLModel.metadata.tables["audit_log"]}:
            key = ", ".join(f'"{column.name}"' for column in table.primary_key)
            for *parts, tenant in connection.execute(text(f"SELECT {key}, tenant_id FROM {table.name}")):
                found[table.name, str(parts)] = tenant
    return found


def test_alpha_has_a_row_in_every_table_that_has_owners(alpha: None, engine: Engine, key: Key) -> None:
    """Without this the next tests could pass by finding nothing."""
    key("read", "alpha")
    assert {class_.__tablename__ for class_ in owned_classes()} - {table for table, _ in owners(engine)} == {
        "audit_log"
    }
    of_devices = [class_ for class_ in mapped_classes() if "device_id" in class_.model_fields]
    with Session(engine) as session:
        empty = [class_ for class_ in of_devices if session.exec(select(class_)).first() is None]
    assert empty == []


@pytest.mark.parametrize("named", ["alpha", None])
def test_no_row_of_any_table_leaves_its_tenant(alpha: None, engine: Engine, key: Key, named: str | None) -> None:
    key("read", "alpha")
    before = owners(engine)
    tried = 0
    for class_ in owned_classes():
        with Session(engine) as session:
            session.execute(text(f"UPDATE {class_.__tablename__} SET tenant_id = 'beta'"))
            with RequestSession(engine, BETA) as scoped:
                session.commit()
                row = scoped.exec(select(class_)).first()
                if row is None:
                    continue
                row.tenant_id = named
                if named is None:
                    scoped.flush()
                    assert row.tenant_id == "beta"
                else:
                    with pytest.raises(Refused, match="bound to the tenant beta"):
                        scoped.flush()
                    scoped.rollback()
                    with pytest.raises(Refused, match="bound to the tenant beta"):
                        scoped.exec(update(class_).values(tenant_id=named))
                tried += 1
    assert tried == len({table for table, _ in before})


def variants(arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The request without a tenant, with null, and with beta."""
    body = {name: value for name, value in arguments["json"].items() if name != "tenant_id"}
    for named in ({}, {"tenant_id": None}, {"tenant_id": "beta"}):
        devices = [device | named for device in body["devices"]] if "devices" in body else None
        yield {**arguments, "json": {**body, **named, **({"devices": devices} if devices else {})}}


@pytest.mark.parametrize("tenant_id", ["alpha", "beta", None])
def test_no_change_by_any_route_moves_a_row(
    alpha: None, api: TestClient, engine: Engine, key: Key, tenant_id: str | None
) -> None:
    headers = key("admin", tenant_id)
    before = owners(engine)
    accepted = set()
    for method, path, arguments in attempts(api.get("/openapi.json").json()):
        if method not in ("post", "put", "patch") or "json" not in arguments:
            continue
        chosen = list(variants(arguments))
        for request in chosen if tenant_id is not None else chosen[:1]:
            answer = api.request(method, path, headers=headers, **request)
            if answer.is_success:
                accepted.add(f"{method} {path.split('/')[3]}")
            now = owners(engine)
            moved = {row: now.get(row) for row, owner in before.items() if now.get(row, owner) != owner}
            assert moved == {}, f"{method} {path} {request}: {answer.text[:200]}"
    if tenant_id != "beta":
        assert accepted >= {"put devices", "patch devices", "post devices", "put rules", "patch rules",
                            "put maintenance-windows", "patch alerts"}  # fmt: skip


def test_a_key_of_all_tenants_moves_a_row_by_naming_its_tenant(alpha: None, api: TestClient, key: Key) -> None:
    everybody = key("operate")
    path = "/api/v1/maintenance-windows"
    window = api.get(path, headers=everybody).json()["data"][0]
    body = {"from": window["from"], "to": window["to"]}
    refused = api.put(
        f"{path}/{window['window_id']}", json={"device_id": "A1", **body, "tenant_id": "beta"}, headers=everybody
    )
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "device_id")
    moved = api.put(f"{path}/{window['window_id']}", json={**body, "tenant_id": "beta"}, headers=everybody)
    assert moved.json()["data"]["tenant_id"] == "beta"
    own = {"device_id": "A1", **body}
    for tenant, device_id, status in (
        ("beta", "A1", 422),
        ("beta", "never", 422),
        ("beta", "B1", 201),
        ("alpha", "A1", 201),
    ):
        headers = key("operate", tenant, name=f"{tenant} {device_id}")
        answer = api.post(path, json=own | {"device_id": device_id}, headers=headers)
        assert answer.status_code == status, answer.text
        if status == 422:
            assert answer.json()["detail"] == f"beta has no device {device_id}; register the device first"
