"""Every list that the API describes is asked alike."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from serving.app import create_app
from storage import dirty_days
from storage.access import AuditEntry
from storage.alerts import Alert
from storage.devices import Device
from storage.jobs import AnalyticsJob, ExportJob, ReportJob
from storage.maintenance import MaintenanceWindow, SuppressedAlerts
from storage.quarantine import QuarantinedReading
from storage.report_schedules import ReportSchedule
from storage.rules import Rule
from storage.settings import Settings
from storage.times import microseconds

AT = datetime(2026, 2, 12, 10, tzinfo=UTC)
DAY = timedelta(days=1)
NUMBERS = (2, 0, 1)
WORKED_OUT = ("/api/v1/analytics/feedback", "/api/v1/analytics/fleet", "/api/v1/data/completeness")


def lists() -> dict[str, dict[str, dict[str, Any]]]:
    """Path of each list, with the schemas of what it is asked."""
    document = create_app(Settings()).openapi()
    gets = {path: operations["get"] for path, operations in document["paths"].items() if "get" in operations}
    asked = {path: {p["name"]: p["schema"] for p in get.get("parameters", ())} for path, get in gets.items()}
    # Lists of one device, and those that are worked out, are filled and asked by tests of their own.
    paged = {path: schemas for path, schemas in asked.items() if "page" in schemas or "offset" in schemas}
    return {path: schemas for path, schemas in paged.items() if "{" not in path and path not in WORKED_OUT}


@pytest.fixture
def filled(session: Session) -> None:
    """Three of everything, made in no order."""
    for i in NUMBERS:
        at = AT + timedelta(hours=i)
        made: dict[str, Any] = {"created_at": at, "updated_at": at}
        device: dict[str, Any] = {"device_id": f"D{i}", "tenant_id": f"t{i}"}
        session.add(Device(**device, device_name=f"n{i}", device_type="t", **made))
        rule = Rule(
            tenant_id=f"t{i}", rule_name=f"r{i}", scope="all_devices", property="power", condition=">", threshold=i,
            last_triggered_at=at if i else None, **made,
        )  # fmt: skip
        session.add(rule)
        session.commit()
        values: dict[str, Any] = {"severity": "high", "message": "m", "actual_value": 1, "threshold_value": 0}
        times: dict[str, Any] = {"reading_time": at, "created_at": at}
        session.add(Alert(**device, **values, **times, rule_id=rule.rule_id, rule={}))
        session.add(MaintenanceWindow(**device, starts_at=at, ends_at=at + timedelta(hours=1), **made))
        counted: dict[str, Any] = {"count": i + 1, "first_reading_time": at, "last_reading_time": at}
        session.add(SuppressedAlerts(**device, rule_id=rule.rule_id, **counted))
        session.add(QuarantinedReading(device_id=f"D{i}", topic="t", payload=b"{}", reason="r", received_at=at))
        dates: dict[str, Any] = {"date_range_start": at, "date_range_end": at, "completed_at": at if i else None}
        session.add(AnalyticsJob(job_id=f"job-{i}", analysis_type="anomaly", model_name="m", **device, **dates, **made))
        session.add(ExportJob(job_id=f"export-{i}", **device, **dates, **made))
        session.add(ReportJob(job_id=f"report-{i}", format="pdf", **device, **dates, **made))
        schedule: dict[str, Any] = {"frequency": "daily", "send_at": "06:00", "delivery": "link", "status": "active"}
        schedule |= {"formats": ["pdf"], "recipients": [], "compute_missing": False, "next_run_at": at if i else None}
        session.add(ReportSchedule(**device, **schedule, **made))
        session.add(
            AuditEntry(at=at, actor=f"a{i}", request="r", action="create", entity="e", entity_id="i", change={})
        )
        dirty_days.mark_dirty(session, [(f"U{i}", microseconds(AT))])
        session.commit()


def items(client: TestClient, path: str, **params: Any) -> list[dict[str, Any]]:
    answer = client.get(path, params=params)
    assert answer.status_code == 200, f"{path} {params}: {answer.text}"
    body = answer.json()
    found: list[dict[str, Any]] = body.get("jobs", body.get("data"))
    assert body["total"] >= len(found)
    return found


def test_lists_are_sorted_and_paged_alike(filled: None, client: TestClient) -> None:
    assert len(lists()) == 13
    for path, schemas in lists().items():
        first, rest = ("limit", "offset") if "offset" in schemas else ("page_size", "page")
        begin = 0 if rest == "offset" else 1
        assert {*schemas} >= {"sort", first, rest}, path
        for sort in schemas["sort"]["enum"]:
            every = items(client, path, sort=sort)
            assert len(every) >= 3, path
            one_by_one = [items(client, path, sort=sort, **{first: 1, rest: begin + i}) for i in range(len(every))]
            assert [item for page in one_by_one for item in page] == every, f"{path} {sort}"
            values = [item.get(sort.removeprefix("-")) for item in every]
            present = [value for value in values if value is not None]
            assert present == sorted(present, reverse=sort.startswith("-")), f"{path} {sort}"
            assert values[: len(present)] == present, f"{path} {sort}: what has none comes last"
        assert items(client, path) == items(client, path, sort=schemas["sort"]["default"]), path


def test_a_cursor_leads_through_every_list_once(filled: None, client: TestClient) -> None:
    followed = 0
    for path, schemas in lists().items():
        if "cursor" not in schemas:
            continue
        for sort in schemas["sort"]["enum"]:
            found: list[Any] = []
            cursor = None
            while cursor or not found:
                page = client.get(path, params={"sort": sort, "page_size": 1} | ({"cursor": cursor} if cursor else {}))
                assert page.status_code == 200, page.text
                found += page.json()["data"]
                cursor = page.json()["next_cursor"]
            assert found == items(client, path, sort=sort), f"{path} {sort}"
            followed += 1
    assert followed >= 20


@pytest.mark.parametrize("sort", ["-created_at", "reading_time", "-reading_time"])
def test_no_alert_comes_twice_while_new_ones_arrive(
    sort: str, filled: None, client: TestClient, session: Session
) -> None:
    def page(**more: str) -> tuple[list[str], str | None]:
        body = client.get("/api/v1/alerts", params={"page_size": 2, "sort": sort} | more).json()
        return [alert["alert_id"] for alert in body["data"]], body["next_cursor"]

    first, cursor = page()
    (rule, *_) = session.exec(select(Rule)).all()
    for hours in (-1, 0, 1, 5):
        at = AT + timedelta(hours=hours)
        alert: dict[str, Any] = {"severity": "high", "message": "m", "actual_value": 1, "threshold_value": 0}
        alert |= {"rule_id": rule.rule_id, "rule": {}, "device_id": f"D{hours + 20}", "created_at": at + DAY}
        session.add(Alert(**alert, reading_time=at))
    session.commit()
    found = list(first)
    while cursor:
        more, cursor = page(cursor=cursor)
        found += more
    assert len(found) == len(set(found))
    assert len(found) >= 3


def test_a_cursor_of_another_list_or_order_is_refused(filled: None, client: TestClient) -> None:
    alerts, devices = "/api/v1/alerts", "/api/v1/devices"
    cursor = client.get(alerts, params={"page_size": 1}).json()["next_cursor"]
    other = client.get(devices, params={"page_size": 1, "sort": "-created_at"}).json()["next_cursor"]
    odd = [["-created_at", "2026-01-01T00:00:00", "x"], ["-created_at", None, None], {"a": 1}, "x"]
    made = [base64.urlsafe_b64encode(json.dumps(value).encode()).decode() for value in odd]
    zero = base64.urlsafe_b64encode(json.dumps(["device_id", "\0", "\0"]).encode()).decode()
    for path, sort, wrong in [
        (alerts, "created_at", cursor),
        *((alerts, "-created_at", cursor) for cursor in (other, "x", "é", *made)),
        (devices, "device_id", zero),
    ]:
        answer = client.get(path, params={"sort": sort, "cursor": wrong})
        assert answer.status_code == 422, (wrong, answer.text)
        assert "leave it out" in answer.json()["detail"]


def test_filters(filled: None, client: TestClient) -> None:
    known = {"tenant_id": "t1", "device_id": "D1", "actor": "a1", "search": "r1"}
    others = {("/api/v1/devices", "search"): "n1", ("/api/v1/exports/waiting", "device_id"): "U1"}
    tried = 0
    for path, schemas in lists().items():
        for name in schemas.keys() & known.keys():
            found = items(client, path, **{name: others.get((path, name), known[name])})
            if path.endswith("/rules") and name == "device_id":
                assert len(found) == 3, "those of all devices are among them"
            elif not path.endswith("/audit") or name == "actor":
                assert len(found) == 1, f"{path} {name}"
            tried += 1
        if "start_time" in schemas:
            hour = {"start_time": "2026-02-12T11:00:00Z", "end_time": "2026-02-12T12:00:00Z"}
            assert len(items(client, path, **hour)) == 1, path
            tried += 1
    assert tried >= 20
    assert len(items(client, "/api/v1/data/quarantine", reason="R", replayed=False)) == 3
    assert items(client, "/api/v1/alerts", status="resolved") == items(client, "/api/v1/alerts", severity="low") == []
    assert items(client, "/api/v1/rules", property="voltage") == []
    assert (
        items(client, "/api/reports/jobs", status="completed")
        == items(client, "/api/reports/jobs", format="json")
        == []
    )
