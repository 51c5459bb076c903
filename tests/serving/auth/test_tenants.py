"""Another tenant's key, tried on every operation that the API describes: it reads nothing and changes nothing."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from fastapi.routing import APIWebSocketRoute
from fastapi.testclient import TestClient
from sqlalchemy import Engine, inspect, text
from sqlmodel import Session
from starlette.websockets import WebSocketDisconnect

from serving.app import ROUTERS, create_app
from storage import dirty_days
from storage.alerts import Alert
from storage.catalogue import Dataset
from storage.checkpoints import ExportCheckpoint
from storage.devices import Device
from storage.jobs import AnalyticsJob, ExportJob, ReportJob
from storage.objects import LocalObjects, open_object_store
from storage.quarantine import QuarantinedReading
from storage.rules import Rule
from storage.settings import Settings
from storage.stores import open_telemetry_store
from storage.telemetry import Reading
from storage.times import microseconds, utc_now
from tests.serving.conftest import BASE

SECRET = "alpha-secret"
NUMBER = 98765.4321
DAY = date(2026, 2, 12)
NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)
DATASET = "datasets/A1/20260212_20260212.parquet"
REPORT = "reports/A1/report-aaaaaaaaaaaa.json"
RULE = UUID("11111111-1111-1111-1111-111111111111")
ALERT = UUID("22222222-2222-2222-2222-222222222222")
JOBS = ("job-aaaaaaaaaaaa", "export-aaaaaaaaaaaa", "report-aaaaaaaaaaaa")
# What a client of the other tenant would write, by the name of the parameter or of the body's field.
KNOWN: dict[str, Any] = {
    "device_id": "A1",
    "device_ids": ["A1"],
    "rule_id": str(RULE),
    "rule_ids": [str(RULE)],
    "alert_id": str(ALERT),
    "alert_ids": [str(ALERT)],
    "dataset_key": DATASET,
    "key": REPORT,
    "tenant_id": "alpha",
    "expires": 4_000_000_000,
    "signature": "0" * 64,
    "start_time": "2026-02-12T00:00:00Z",
    "end_time": "2026-02-13T00:00:00Z",
    "date_range_start": "2026-02-12T00:00:00Z",
    "date_range_end": "2026-02-13T00:00:00Z",
    "timestamp": "2026-02-12T12:00:00Z",
    "soft": False,
    "force": True,
    "devices": [{"device_id": "A1", "device_name": "taken", "device_type": "taken"}],
}


@pytest.fixture
def alpha(settings: Settings, session: Session) -> None:
    """A tenant that has one of everything; each row says `SECRET` or holds `NUMBER`."""
    session.add(Device(device_id="A1", tenant_id="alpha", device_name=SECRET, device_type="t", location=SECRET))
    session.add(Device(device_id="B1", tenant_id="beta", device_name="ours", device_type="t"))
    rule = Rule(
        rule_id=RULE, tenant_id="alpha", rule_name=SECRET, scope="all_devices", property="power", condition=">",
        threshold=NUMBER,
    )  # fmt: skip
    session.add(rule)
    session.commit()
    session.add(
        Alert(
            alert_id=ALERT, tenant_id="alpha", rule_id=RULE, device_id="A1", severity="high", message=SECRET,
            actual_value=NUMBER, threshold_value=NUMBER, reading_time=NOON, rule={"rule_name": SECRET},
        )
    )  # fmt: skip
    common: dict[str, Any] = {"tenant_id": "alpha", "device_id": "A1", "message": SECRET}
    dates: dict[str, Any] = {"date_range_start": NOON, "date_range_end": NOON}
    done: dict[str, Any] = {"status": "completed", "results": {"key": REPORT, "secret": SECRET}}
    analysis: dict[str, Any] = {"analysis_type": "anomaly", "model_name": "m", "accuracy_metrics": {}}
    session.add(AnalyticsJob(job_id=JOBS[0], **analysis, **common, **dates, **done))
    session.add(AnalyticsJob(job_id="job-bbbbbbbbbbbb", **analysis, **common, **dates))
    session.add(ExportJob(job_id=JOBS[1], **common))
    session.add(ReportJob(job_id=JOBS[2], format="json", **common, **dates, **done))
    session.add(
        Dataset(
            key=DATASET, kind="day", device_id="A1", tenant_id="alpha", start_date=DAY, end_date=DAY, rows=1, bytes=1,
            sha256=SECRET, metrics={},
        )
    )  # fmt: skip
    session.add(ExportCheckpoint(device_id="A1", last_exported_at=NOON, status="COMPLETED", s3_key=SECRET))
    session.add(QuarantinedReading(device_id="A1", topic=SECRET, payload=SECRET.encode(), reason=SECRET))
    session.commit()
    store = open_telemetry_store(settings)
    for device_id, power in (("A1", NUMBER), ("B1", 1.0)):
        store.write([Reading(device_id=device_id, time=microseconds(NOON), metrics={"power": power}, received_at=0)])
    store.close()
    dirty_days.mark_dirty(session, [("A1", microseconds(NOON)), ("B1", microseconds(NOON))])
    session.commit()
    open_object_store(settings).put(REPORT, SECRET.encode())


@pytest.fixture
def api(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("API_RATE_LIMIT", "0")
    app = create_app(Settings.load())
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        yield client


def belongings(engine: Engine) -> dict[str, list[str]]:
    """Every row of every table that is alpha's."""
    found = {}
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            if table not in ("audit_log", "access_tokens", "api_keys", "alembic_version"):
                rows = connection.execute(text(f'SELECT t::text FROM "{table}" t')).scalars()
                found[table] = sorted(row for row in rows if "A1" in row or "alpha" in row)
    return found


def sample(schema: dict[str, Any], document: dict[str, Any], name: str = "") -> Any:  # noqa: PLR0911 - a case each
    """A value that fits the schema, with alpha's own identifiers where their names stand."""
    if name in KNOWN:
        return KNOWN[name]
    if "$ref" in schema:
        return sample(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], document, name)
    for one_of in ("anyOf", "oneOf", "allOf"):
        if one_of in schema:
            return sample(schema[one_of][0], document, name)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("type") == "object":
        wanted = {*schema.get("required", ()), *(KNOWN.keys() & schema.get("properties", {}).keys())}
        return {key: sample(schema["properties"][key], document, key) for key in wanted}
    if schema.get("type") == "array":
        return [sample(schema.get("items", {}), document)] * max(1, schema.get("minItems", 1))
    return {"integer": 1, "number": 1.0, "boolean": True}.get(str(schema.get("type")), "x")


def attempts(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, arguments) of each operation, with and without what is optional."""
    for template, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = operation.get("parameters", [])
            for job_id in JOBS if "{job_id}" in template else JOBS[:1]:
                path = template
                for p in (p for p in parameters if p["in"] == "path"):
                    value = job_id if p["name"] == "job_id" else sample(p["schema"], document, p["name"])
                    path = path.replace(f"{{{p['name']}}}", str(value))
                queried = [p for p in parameters if p["in"] == "query"]
                body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
                json = {"json": sample(body, document)} if body else {}
                for chosen in ([p for p in queried if p.get("required")], [p for p in queried if p["name"] in KNOWN]):
                    yield method, path, {"params": {p["name"]: KNOWN[p["name"]] for p in chosen}, **json}


def leaks(content: bytes) -> bool:
    """Whether the tenant's text or number is in an answer; not as digits of another number, such as a metric's."""
    return SECRET.encode() in content or re.search(rb"(?<![\d.])98765(?!\d)", content) is not None


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
