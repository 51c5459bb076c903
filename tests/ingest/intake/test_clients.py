"""Clients as plants have them, at both brokers as they are shipped: each QoS and protocol, ids of every form, wills."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from sqlalchemy import Engine
from sqlmodel import Session, select

from storage.quarantine import QuarantinedReading
from storage.settings import Settings
from storage.times import MINUTE
from tests.support.machines import V311, connect, die, leave, send
from tests.support.running import Ingester, ingesting, nats_broker
from tests.support.servers import wait_until
from tests.support.stack import PLATFORM, mosquitto

GATEWAY = ("gateway", "its-password")


@dataclass
class Door:
    """Where devices connect, and how."""

    ingester: Ingester
    port: int
    login: tuple[str, str] | None

    def send(self, name: str, device_id: str, qos: int = 1, protocol: MQTTProtocolVersion = V311) -> bool:
        """A client connects, publishes one reading, and leaves. False if the broker refuses the client."""
        client = connect(self.port, name, protocol, self.login)
        if accepted := client.is_connected():
            send(client, device_id, qos)
        leave(client)
        return accepted

    def stored(self, device_id: str) -> int:
        now = time.time_ns() // 1000
        return self.ingester.store.statistics(device_id, now - MINUTE, now + MINUTE).readings


@pytest.fixture(params=["nats", "mosquitto"])
def door(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Door]:
    if request.param == "nats":
        with nats_broker(settings), ingesting(settings) as ingester:
            yield Door(ingester, settings.mqtt_broker_port, None)
        return
    acl = f"\nuser {GATEWAY[0]}\ntopic write devices/+/telemetry\n"
    server = mosquitto(tmp_path, dict([PLATFORM, GATEWAY]), acl)
    for name, value in (("BROKER_HOST", "127.0.0.1"), ("BROKER_PORT", str(server.port)),
                        ("USERNAME", PLATFORM[0]), ("PASSWORD", PLATFORM[1])):  # fmt: skip
        monkeypatch.setenv(f"MQTT_{name}", value)
    with server.running(), ingesting(Settings.load()) as ingester:
        yield Door(ingester, server.devices_port, GATEWAY)


def test_what_each_kind_of_client_sends_is_stored(door: Door, engine: Engine) -> None:
    expected: dict[str, int] = {}
    for qos in (0, 1, 2):
        assert door.send(f"client-{qos}", f"qos{qos}", qos)
        expected[f"qos{qos}"] = 1
    for device_id in ("plant.hall-1.pump_2", "CAPITALS"):
        assert door.send(f"client-of-{len(expected)}", device_id)
        expected[device_id] = 1
    for device_id in ("one", "other"):
        assert door.send("the-same", device_id)
        expected[device_id] = 1
    for protocol in (MQTTProtocolVersion.MQTTv31, MQTTProtocolVersion.MQTTv5):
        expected[protocol.name] = int(door.send("old-or-new", protocol.name, protocol=protocol))
    wait_until(lambda: {name: door.stored(name) for name in expected} == expected, "all are stored")

    client = die(door.port, door.login)
    wait_until(lambda: door.ingester.metrics.quarantined, "its will is quarantined")
    client.loop_stop()
    with Session(engine) as session:
        (row,) = session.exec(select(QuarantinedReading)).all()
    assert (row.topic, row.payload) == ("devices/dying/telemetry", b"offline")
