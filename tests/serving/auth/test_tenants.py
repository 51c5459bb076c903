"""Another tenant's key, tried on every operation that the API describes: it reads nothing and changes nothing."""

from collections.abc import Callable

import pytest
from fastapi.routing import APIWebSocketRoute
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import Session
from starlette.websockets import WebSocketDisconnect

from serving.app import ROUTERS
from storage import dirty_days
from storage.objects import LocalObjects, open_object_store
from storage.settings import Settings
from storage.times import microseconds, utc_now
from tests.support.tenants import DATASET, JOBS, NOON, REPORT, SECRET, attempts, belongings, leaks


def test_the_owner_sees_what_is_looked_for(alpha: None, api: TestClient, key: Callable[..., dict[str, str]]) -> None:
    """Without this the next test could pass by finding nothing at all."""
    owner = key("admin", "alpha")
    seen = {
        f"{method} {path}"
        for method, path, arguments in attempts(api.get("/openapi.json").json())
        if method == "get" and leaks(api.get(path, headers=owner, **arguments).content)
    }
    assert len(seen) >= 15, seen


def test_another_tenant_reads_and_changes_nothing(
    alpha: None, api: TestClient, engine: Engine, key: Callable[..., dict[str, str]]
) -> None:
    other = key("admin", "beta")
    before = belongings(engine)
    assert len([table for table, rows in before.items() if rows]) >= 10
    tried = 0
    for method, path, arguments in attempts(api.get("/openapi.json").json()):
        for accept in ("application/json", "text/csv") if method == "get" else ("application/json",):
            answer = api.request(method, path, headers=other | {"Accept": accept}, **arguments)
            assert not leaks(answer.content), f"{method} {path} {arguments}: {answer.text[:300]}"
            assert not leaks(str(answer.headers).encode()), f"{method} {path}"
            assert answer.status_code < 500 or path.endswith("ready"), f"{method} {path}: {answer.text[:300]}"
            tried += 1
    for route in (route for router in ROUTERS for route in router.routes if isinstance(route, APIWebSocketRoute)):
        if "{device_id}" in route.path:
            path = route.path.format(device_id="A1")
            with api.websocket_connect(path, headers=other) as stream, pytest.raises(WebSocketDisconnect) as closed:
                stream.receive_text()
            assert closed.value.code == 4404
            tried += 1
    assert tried > 100
    assert belongings(engine) == before
    assert api.get("/api/v1/devices", headers=other).json()["total"] == 1


def test_a_key_of_all_tenants_sees_both_and_a_tenants_rows_are_its_own(
    alpha: None, api: TestClient, key: Callable[..., dict[str, str]]
) -> None:
    everything, other = key("admin"), key("operate", "beta")
    assert api.get("/api/v1/devices", headers=everything).json()["total"] == 2
    assert api.get("/api/v1/devices?tenant_id=alpha", headers=other).json()["total"] == 0
    made = {"device_id": "B2", "device_name": "n", "device_type": "t"}
    assert api.post("/api/v1/devices", json=made, headers=other).json()["data"]["tenant_id"] == "beta"
    taken = api.post("/api/v1/devices", json=made | {"device_id": "B3", "tenant_id": "alpha"}, headers=other)
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (403, "tenant_id")
    assert api.post("/api/v1/devices", json=made | {"device_id": "A1"}, headers=other).status_code == 409
    assert api.put("/api/v1/devices/B2", json={"tenant_id": "alpha"}, headers=other).status_code == 403
    moved = api.put("/api/v1/devices/A1", json={"tenant_id": "beta"}, headers=everything)
    assert moved.json()["data"]["tenant_id"] == "beta"
    paginate = api.get("/api/v1/analytics/datasets?device_id=A1", headers=other).json()
    assert [dataset["key"] for dataset in paginate["datasets"]] == [DATASET]


def test_what_a_device_sent_before_it_was_registered_is_not_for_the_taking(
    alpha: None, api: TestClient, session: Session, key: Callable[..., dict[str, str]]
) -> None:
    dirty_days.mark_dirty(session, [("N1", microseconds(NOON))])
    session.commit()
    new = {"device_id": "N1", "device_name": "n", "device_type": "t"}
    refused = api.post("/api/v1/devices", json=new, headers=key("operate", "beta"))
    assert (refused.status_code, "a key without a tenant" in refused.json()["detail"]) == (409, True)
    assert api.post("/api/v1/devices", json=new | {"tenant_id": "beta"}, headers=key("operate")).status_code == 201


def test_links_that_are_forged_expired_or_another_tenants(
    alpha: None, api: TestClient, settings: Settings, key: Callable[..., dict[str, str]]
) -> None:
    owner, other = key("read", "alpha"), key("read", "beta")
    link = api.get(f"/api/reports/download/{JOBS[2]}", headers=owner).json()["download_url"]
    assert api.get(link).content == SECRET.encode()
    assert api.get(link, headers=owner).status_code == 200
    assert api.get(link, headers=other).status_code == 403
    assert api.get(f"/api/reports/download/{JOBS[2]}", headers=other).status_code == 404
    assert api.get(link.replace("report-aaaaaaaaaaaa", "report-bbbbbbbbbbbb")).status_code == 403
    assert api.get(link[:-1] + ("0" if link[-1] != "0" else "1")).status_code == 403
    assert api.get(link.replace("expires=", "expires=1")).status_code == 403
    objects = open_object_store(settings)
    assert isinstance(objects, LocalObjects)
    past = int(utc_now().timestamp()) - 1
    expired = api.get(f"/api/v1/files/{REPORT}?expires={past}&signature={objects._signature(REPORT, past)}")
    assert (expired.status_code, "expired" in expired.json()["detail"]) == (403, True)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("bytes=0-0", (0, 1)), ("bytes=2-", (2, 12)), ("bytes=-2", (10, 12)), ("bytes=-99", (0, 12)),
        ("bytes=1-99", (1, 12)), ("bytes=0-1,3-4", None), ("bytes=-", None), ("bytes=3-2", None), ("lines=1-2", None),
        ("bytes=12-", 416), ("bytes=-0", 416),
    ],
)  # fmt: skip
def test_a_part_of_a_file(
    alpha: None, api: TestClient, key: Callable[..., dict[str, str]], wanted: str, found: tuple[int, int] | int | None
) -> None:
    link = api.get(f"/api/reports/download/{JOBS[2]}", headers=key("read", "alpha")).json()["download_url"]
    content = SECRET.encode()
    size = len(content)
    whole = api.get(link)
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    part = api.get(link, headers={"Range": wanted, "If-Range": whole.headers["etag"]})
    if found == 416:
        assert (part.status_code, part.headers["content-range"]) == (416, f"bytes */{size}")
    elif isinstance(found, tuple):
        start, end = found
        assert (part.status_code, part.content) == (206, content[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    else:
        assert (part.status_code, part.content) == (200, content)
    assert api.get(link, headers={"Range": wanted, "If-Range": '"another"'}).content == content
