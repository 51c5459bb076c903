"""A device that moves to another tenant, and alerts of a rule that watches all tenants: each sees what is its own."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, delete

from assets.reports.sources import gather
from ingest.mqtt import LiveBatch, LiveItem
from ingest.notify.channels import Channels
from ingest.notify.messages import of_alert
from ingest.notify.settings import NotifySettings
from serving.app import create_app
from serving.live.hub import Hub
from storage.access import Principal
from storage.alerts import Alert
from storage.catalogue import Dataset
from storage.corrections import Correction
from storage.jobs import ReportJob
from storage.notifications import Notification, NotificationAttempt
from storage.pending import RulePending
from storage.rules import Rule
from storage.settings import Settings
from storage.stores import Stores
from tests.serving.conftest import BASE
from tests.support.tenants import ALERT, DATASET, JOBS, NOON, RULE, WINDOW

Key = Callable[..., dict[str, str]]
SHOWN = {
    "rule_id": "", "rule_name": "Too hot", "property": "temperature", "condition": ">", "threshold": 75.0,
    "severity": "high", "device_ids": ["A1"],
}  # fmt: skip


def test_a_device_takes_its_files_along_and_leaves_nothing_behind(
    alpha: None, api: TestClient, session: Session, key: Key
) -> None:
    old, new, everybody = key("admin", "alpha"), key("admin", "beta"), key("admin")
    report = f"/api/reports/download/{JOBS[2]}"
    link = api.get(report, headers=old).json()["download_url"]
    paths = [
        "/api/v1/devices/A1", "/api/v1/data/telemetry/A1", f"/api/v1/analytics/status/{JOBS[0]}",
        f"/api/v1/analytics/results/{JOBS[0]}", f"/api/v1/exports/jobs/{JOBS[1]}", "/api/v1/exports/status/A1",
        f"/api/v1/maintenance-windows/{WINDOW}",
    ]  # fmt: skip
    for path in paths:
        assert (api.get(path, headers=old).status_code, api.get(path, headers=new).status_code) == (200, 404), path
    moved = api.put("/api/v1/devices/A1", json={"tenant_id": "beta", "location": "Hall 7"}, headers=everybody)
    assert moved.status_code == 200
    for path in paths:
        assert (api.get(path, headers=old).status_code, api.get(path, headers=new).status_code) == (404, 200), path
    datasets = "/api/v1/analytics/datasets?device_id=A1"
    assert api.get(datasets, headers=old).json()["datasets"] == []
    assert [d["key"] for d in api.get(datasets, headers=new).json()["datasets"]] == [DATASET]
    # Reports show alerts of the former owner, whose device it is no more: neither sees them.
    for headers, status in ((old, 404), (new, 404), (everybody, 200)):
        assert api.get(report, headers=headers).status_code == status
    assert [api.get(link, headers=headers).status_code for headers in (old, new, everybody)] == [403, 403, 200]
    # Alerts stay with whom they were raised for.
    assert api.get(f"/api/v1/alerts/{ALERT}", headers=old).status_code == 200
    assert api.get(f"/api/v1/alerts/{ALERT}", headers=new).status_code == 404
    assert session.get(RulePending, (RULE, "A1")) is None
    # What the device was before is told to no tenant, but to keys of all of them.
    for headers, seen in ((new, False), (everybody, True)):
        assert ("alpha" in api.get("/api/v1/audit", headers=headers).text) is seen


def test_the_new_owner_does_not_read_how_the_former_one_described_failures(
    alpha: None, api: TestClient, key: Key
) -> None:
    """What was written before the device had an owner stays."""
    everybody, path = key("admin"), "/api/v1/devices/A1/failures"

    def move(tenant_id: str | None) -> set[str]:
        assert api.put("/api/v1/devices/A1", json={"tenant_id": tenant_id}, headers=everybody).status_code == 200
        return {failure["description"] for failure in api.get(path, headers=everybody).json()["data"]} - {None}

    failure = {"failed_at": "2026-01-05T08:30:00Z", "description": "Alpha's secret"}
    assert api.post(path, json=failure, headers=key("admin", "alpha")).status_code == 201
    assert move(None) == set()
    failure = {"failed_at": "2026-01-04T08:30:00Z", "description": "Bearing worn"}
    assert api.post(path, json=failure, headers=everybody).status_code == 201
    assert move("beta") == {"Bearing worn"}
    assert move("alpha") == set()


def test_a_report_shows_the_alerts_of_the_present_owner(alpha: None, stores: Stores) -> None:
    session = stores.session
    session.exec(delete(Dataset))  # its file was never stored
    for tenant_id in ("beta", None):
        session.add(
            Alert(tenant_id=tenant_id, rule_id=RULE, device_id="A1", severity="high", message=str(tenant_id),
                  actual_value=1, threshold_value=1, reading_time=NOON.replace(minute=1 if tenant_id else 2), rule={})
        )  # fmt: skip
    session.flush()
    end = NOON.replace(hour=13)
    for tenant_id, message in (("beta", "beta"), ("alpha", "alpha-secret"), (None, "None")):
        job = ReportJob(job_id="r", tenant_id=tenant_id, device_id="A1", format="json", date_range_start=NOON,
                        date_range_end=end)  # fmt: skip
        data = gather(stores, job, "v")
        assert [alert["message"] for alert in data.alerts] == [message]


@pytest.fixture
def everybodys(alpha: None, session: Session) -> Alert:
    """An alert of alpha's device by a rule of all tenants that names devices of both."""
    rule = Rule(
        rule_name="Too hot", description="insider", scope="selected_devices", device_ids=["A1", "B1"], severity="high",
        property="temperature", condition=">", threshold=75, notification_channels=["webhook_operator"],
    )  # fmt: skip
    session.add(rule)
    session.commit()
    alert = Alert(
        tenant_id="alpha", rule_id=rule.rule_id, device_id="A1", severity="high", message="m", actual_value=80,
        threshold_value=75, reading_time=NOON.replace(hour=11), rule=rule.model_dump(mode="json"),
    )  # fmt: skip
    session.add(alert)
    session.commit()
    session.refresh(alert)
    return alert


def test_rest_shows_a_tenant_its_part_of_everybodys_rule(everybodys: Alert, api: TestClient, key: Key) -> None:
    shown = {**SHOWN, "rule_id": str(everybodys.rule_id)}
    path = f"/api/v1/alerts/{everybodys.alert_id}"
    tenant, everybody = key("operate", "alpha"), key("operate")
    alerts = api.get("/api/v1/alerts", headers=tenant).json()["data"]
    answers = [
        api.get(path, headers=tenant), api.patch(f"{path}/acknowledge", headers=tenant),
        api.patch(f"{path}/resolve", headers=tenant),
    ]  # fmt: skip
    alerts = [
        next(a for a in alerts if a["alert_id"] == str(everybodys.alert_id)),
        *(a.json()["data"] for a in answers),
    ]
    assert [alert["rule"] for alert in alerts] == [shown] * 4
    whole = api.get(path, headers=everybody).json()["data"]["rule"]
    assert (whole["device_ids"], whole["description"]) == (["A1", "B1"], "insider")
    assert set(api.get(f"/api/v1/alerts/{ALERT}", headers=tenant).json()["data"]["rule"]) == {"rule_name", "device_ids"}


def test_the_stream_shows_a_tenant_its_part_of_everybodys_rule(everybodys: Alert, settings: Settings) -> None:
    packed = msgspec.Raw(msgspec.msgpack.encode(everybodys.model_dump(mode="json")))
    item = LiveItem("A1", "alpha", "alert", packed)

    async def frames() -> list[list[dict[str, Any]]]:
        hub = Hub(settings)
        with ExitStack() as stack:
            readers = [
                stack.enter_context(hub.subscribe("A1", Principal("n", "read", tenant_id)))
                for tenant_id in ("alpha", None, "beta")
            ]
            hub._distribute(LiveBatch("publisher", 1, [item]))
            return [[msgspec.json.decode(frame) for frame in reader.take(10)] for reader in readers]

    tenant, everybody, beta = asyncio.run(frames())
    assert tenant[0]["data"]["rule"] == {**SHOWN, "rule_id": str(everybodys.rule_id)}
    assert everybody[0]["data"]["rule"]["device_ids"] == ["A1", "B1"]
    assert beta == []


def test_a_webhook_shows_a_tenant_its_part_of_everybodys_rule(
    everybodys: Alert, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_WEBHOOK", "https://example.com/alerts")
    bodies: list[bytes] = []
    monkeypatch.setattr("ingest.notify.webhook.post", lambda _, body, **__: bodies.append(body))
    channels = Channels(NotifySettings.load())
    channels.send("webhook", of_alert(everybodys, settings.zone), str(uuid4()))
    assert msgspec.json.decode(bodies[0])["alert"]["rule"] == {**SHOWN, "rule_id": str(everybodys.rule_id)}


@pytest.mark.parametrize("rule_tenant", ["alpha", None])
def test_a_tenant_does_not_learn_where_the_operators_channels_lead(
    alpha: None,
    settings: Settings,
    session: Session,
    key: Key,
    *,
    monkeypatch: pytest.MonkeyPatch,
    rule_tenant: str | None,
) -> None:
    monkeypatch.setenv("NOTIFY_PAGER__ALPHA", "mailto://user:password@example.com")
    alert = session.get_one(Alert, ALERT)
    alert.rule = {**alert.rule, "tenant_id": rule_tenant}
    session.add(alert)
    for channel, outcome in (("pager", "failed"), ("email", "unconfigured"), ("sms", "failed"), ("teams", "sent")):
        row = Notification(alert_id=ALERT, tenant_id="alpha", device_id="A1", channel=channel, status=outcome)
        session.add(row)
        session.flush()
        reason = f"{channel} host.internal resolves to 127.0.0.1"
        session.add(
            NotificationAttempt(notification_id=row.notification_id, tenant_id="alpha", outcome=outcome, detail=reason)
        )
    session.commit()
    path = f"/api/v1/alerts/{ALERT}/notifications"
    with TestClient(create_app(settings), base_url=BASE) as client:
        own = client.get(path, headers=key("read", "alpha"))
        everything = client.get(path, headers=key("read")).json()["data"]
    details = {row["channel"]: row["attempts"][0]["detail"] for row in own.json()["data"]}
    pager = "pager host.internal resolves to 127.0.0.1"
    others = {
        "email": "the channel has no address", "sms": "the channel did not take it", "teams": None,
        "webhook": "the channel did not take it",
    }  # fmt: skip
    assert details == {"pager": pager, **(others if rule_tenant else {})}
    assert own.text.count("host.internal") == 1
    assert all("host.internal" in row["attempts"][0]["detail"] for row in everything if row["channel"] != "webhook")


def test_the_new_owner_does_not_learn_who_corrected_the_device_before(
    alpha: None, api: TestClient, stores: Stores, key: Key
) -> None:
    session = stores.session
    session.exec(delete(Dataset))  # its file was never stored
    session.exec(delete(Correction))
    session.commit()
    headers = {
        name: key("operate", tenant, name) for name, tenant in (("meier", "alpha"), ("ops", None), ("b", "beta"))
    }
    path = "/api/v1/devices/A1/corrections"
    range_ = {
        "metric": "power",
        "from": NOON.isoformat(),
        "to": NOON.replace(minute=5).isoformat(),
        "action": "exclude",
    }

    def correct(name: str) -> int:
        answer = api.post(path, json=range_ | {"reason": f"{name} knows"}, headers=headers[name])
        return int(answer.json()["data"]["correction_id"])

    first, _, third = correct("meier"), correct("meier"), correct("ops")
    undo = f"{path}/{third}/undo"
    api.post(undo, json={"reason": "meier again"}, headers=headers["meier"])
    assert api.get(path, headers=headers["meier"]).text.count("meier") == 6
    assert api.put("/api/v1/devices/A1", json={"tenant_id": "beta"}, headers=headers["ops"]).status_code == 200
    correct("b")
    own, _, *others = api.get(path, headers=headers["b"]).json()["data"]
    assert (own["created_by"], own["reason"]) == ("b", "b knows")
    assert {row["created_by"] for row in others} == {"a former owner"}
    answers = [api.get(path, headers=headers["b"]), api.post(undo, headers=headers["b"]),
               api.post(f"{path}/{first}/undo", headers=headers["b"])]  # fmt: skip
    assert [("meier" in answer.text, "a former owner" in answer.text) for answer in answers] == [(False, True)] * 3
    assert "ops knows" in answers[0].text
    assert api.get(path, headers=headers["ops"]).text.count("meier") == 6
    for tenant_id, seen in (("beta", False), (None, True)):
        job = ReportJob(job_id="r", tenant_id=tenant_id, device_id="A1", format="json", date_range_start=NOON,
                        date_range_end=NOON.replace(hour=13))  # fmt: skip
        assert ("meier" in str(gather(stores, job, "v").corrections)) is seen
