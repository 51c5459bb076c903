"""The cases that are steps and not files: clients of the embedded broker, and lists that grow while they are read."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from paho.mqtt.enums import MQTTProtocolVersion
from sqlmodel import Session, func, select

from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.no_data import NoDataMonitor
from serving.app import create_app
from storage.alerts import Alert
from storage.devices import Device
from storage.last_seen import DeviceLastSeen, Listening
from storage.rules import Rule
from storage.settings import Settings
from storage.times import MINUTE, utc_now
from tests.cases.expectations import failures
from tests.cases.platform import CASES
from tests.support.machines import V311, connect, die, leave, send
from tests.support.running import Ingester, ingesting, nats_broker
from tests.support.servers import wait_until


def stored(ingester: Ingester, device_id: str) -> int:
    now = time.time_ns() // 1000
    return ingester.store.statistics(device_id, now - 10 * MINUTE, now + MINUTE).readings


def clients(settings: Settings, _: TestClient) -> dict[str, Any]:
    """Each sends one reading; what is refused says so."""
    sent = {
        "qos0": "q0",
        "qos1": "q1",
        "qos2": "q2",
        "dots": "hall-1.pump.2",
        "capitals": "PUMP",
        "v31": "a",
        "v5": "b",
    }
    with nats_broker(settings), ingesting(settings) as ingester:
        refused = set()
        for i, (name, device_id) in enumerate(sent.items()):
            protocols = {"v31": MQTTProtocolVersion.MQTTv31, "v5": MQTTProtocolVersion.MQTTv5}
            one = connect(settings.mqtt_broker_port, f"client-{i}", protocols.get(name, V311))
            if one.is_connected():
                send(one, device_id, int(name[3:]) if name.startswith("qos") else 1)
            else:
                refused.add(name)
            leave(one)
        for device_id in ("same-1", "same-2"):
            one = connect(settings.mqtt_broker_port, "the-same")
            send(one, device_id)
            leave(one)
        dying = die(settings.mqtt_broker_port)
        expected = len(sent) - len(refused) + 2
        wait_until(lambda: ingester.metrics.stored == expected, "the readings are stored")
        wait_until(lambda: ingester.metrics.quarantined, "the will is quarantined")
        dying.loop_stop()
        counts: dict[str, Any] = {name: stored(ingester, device_id) for name, device_id in sent.items()}
        counts |= dict.fromkeys(refused, "refused")
        counts["same-client"] = stored(ingester, "same-1") + stored(ingester, "same-2")
        return {"stored": counts, "quarantined": {"will": ingester.metrics.quarantined}}


def retained(settings: Settings, _: TestClient) -> dict[str, Any]:
    """Time passes by moving what is on record into the past."""

    def ends(ingester: Ingester, session: Session, seconds: int) -> int:
        monitor = NoDataMonitor(
            ingester.engine, ingester.registry, ingester.last_seen, Outbox(NotifySettings.load()),
            metrics=ingester.metrics, is_receiving=lambda: True,
        )  # fmt: skip
        monitor.tick()
        for row, columns in (
            (session.exec(select(DeviceLastSeen)).one(), ("last_seen_at",)),
            (session.exec(select(Listening)).one(), ("since",)),
            (session.get_one(Device, "D1"), ("created_at", "updated_at")),
            *((alert, ("reading_time", "created_at")) for alert in session.exec(select(Alert))),
        ):
            for column in columns:
                setattr(row, column, getattr(row, column) - timedelta(seconds=seconds))
        session.commit()
        ingester.registry.load()
        monitor.tick()
        session.expire_all()
        return session.exec(select(func.count()).select_from(Alert)).one()

    with nats_broker(settings):
        with ingesting(settings) as ingester, Session(ingester.engine) as session:
            session.add(Device(device_id="D1", device_name="D1", device_type="meter"))
            session.add(Rule(rule_name="Silent", scope="all_devices", property="telemetry", condition="no_data",
                             threshold=1.0, cooldown_minutes=0))  # fmt: skip
            session.commit()
            ingester.registry.load()
            one = connect(settings.mqtt_broker_port, "device")
            send(one, "D1", retain=True)
            leave(one)
            wait_until(lambda: ingester.metrics.stored, "the reading is stored")
            assert ends(ingester, session, 100) == 1
        with ingesting(settings) as ingester, Session(ingester.engine) as session:
            wait_until(lambda: ingester.metrics.retained_copies, "the broker sends it again")
            return {"alerts": ends(ingester, session, 100)}


def stranger(settings: Settings, _: TestClient) -> dict[str, Any]:
    with nats_broker(settings), ingesting(settings) as ingester:
        one = connect(settings.mqtt_broker_port, settings.mqtt_client_id)
        other = connect(settings.mqtt_broker_port, "device")
        acknowledged = 0
        for i in range(600):
            payload = json.dumps({"timestamp": int(time.time() * 1000) - i, "power": 1.0})
            message = other.publish("devices/D1/telemetry", payload, qos=1)
            message.wait_for_publish(10)
            acknowledged += message.is_published()
        leave(one)
        leave(other)
        wait_until(lambda: ingester.metrics.stored >= acknowledged, "what was acknowledged is stored")
        return {"acknowledged": acknowledged, "stored": ingester.metrics.stored}


def paged(_: Settings, api: TestClient) -> dict[str, Any]:
    rule = {"rule_name": "Much", "scope": "all_devices", "property": "power", "condition": ">", "threshold": 5,
            "cooldown_minutes": 0}  # fmt: skip
    assert api.post("/api/v1/rules", json=rule).status_code == 201
    first_time = utc_now()

    def breach(i: int) -> None:
        body = {"device_id": "D1", "timestamp": (first_time - timedelta(seconds=20 - i)).isoformat(), "power": 10}
        assert api.post("/api/v1/rules/evaluate", json=body).status_code == 200

    for i in range(8):
        breach(i)
    first = api.get("/api/v1/alerts?page_size=4").json()
    breach(8)
    second = api.get(f"/api/v1/alerts?page_size=4&cursor={first['next_cursor']}").json()
    pages = [{alert["alert_id"] for alert in page["data"]} for page in (first, second)]
    assert [len(page) for page in pages] == [4, 4]
    return {"on both pages": len(pages[0] & pages[1])}


STEPS: dict[str, Callable[[Settings, TestClient], dict[str, Any]]] = {
    "mqtt-clients": clients,
    "retained-message-of-a-dead-device": retained,
    "client-with-the-ingesters-id": stranger,
    "alerts-paged-while-new-ones-come": paged,
}


def test_every_case_of_steps_is_here() -> None:
    assert STEPS.keys() == {name for name, case in CASES.items() if case["feed"] == "steps"}


@pytest.mark.parametrize("name", STEPS)
def test_case(settings: Settings, name: str) -> None:
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as api:
        answers = STEPS[name](settings, api)
    assert failures(answers, CASES[name]["expect"]) == []
