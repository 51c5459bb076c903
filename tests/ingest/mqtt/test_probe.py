"""The probe through the production profile's broker: cut off, frozen, or not allowed. Also, a very long queue."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ingest.mqtt.subscription import Message, Subscription
from storage.settings import Settings
from tests.support.link import Link
from tests.support.publisher import Publisher, message
from tests.support.servers import wait_until
from tests.support.stack import PLATFORM, Server, mosquitto

DEVICE = ("M-0001", "its-password")
TOPIC = "devices/M-0001/telemetry"
NO_PROBES = "user platform\ntopic read devices/+/telemetry\n\npattern write devices/%u/telemetry\n"


class Broker:
    """A running Mosquitto whose access list can be changed."""

    def __init__(self, server: Server, process: "subprocess.Popen[bytes]", acl: Path) -> None:
        self.port = server.port
        self._process = process
        self._acl = acl
        self._allowed = acl.read_text()

    def forbid_probes(self) -> None:
        self._change(NO_PROBES)

    def allow_probes(self) -> None:
        self._change(self._allowed)

    def _change(self, acl: str) -> None:
        self._acl.write_text(acl)
        os.kill(self._process.pid, signal.SIGHUP)

    def publish(self, payloads: list[bytes]) -> None:
        with closing(Publisher(self.port, DEVICE)) as publisher:
            for start in range(0, len(payloads), 1_000):
                some = range(start, min(start + 1_000, len(payloads)))
                publisher.publish(some, b"".join(message(TOPIC, payloads[i], i) for i in some))
            assert publisher.settle()


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    server = mosquitto(tmp_path, dict([PLATFORM, DEVICE]))
    for name, value in {
        "MQTT_BROKER_HOST": "127.0.0.1",
        "MQTT_BROKER_PORT": str(server.port),
        "MQTT_USERNAME": PLATFORM[0],
        "MQTT_PASSWORD": PLATFORM[1],
    }.items():
        monkeypatch.setenv(name, value)
    with server.running() as process:
        yield Broker(server, process, tmp_path / "acl")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.mqtt.probe.INTERVAL_SECONDS", 0.2)
    monkeypatch.setattr("ingest.mqtt.probe.DEAD_SECONDS", 1.0)


def opened() -> Subscription:
    source = Subscription(Settings.load())
    source.start()
    wait_until(lambda: source.connected, "subscribed")
    return source


def idle_until(source: Subscription, condition: object, what: str) -> list[bytes]:
    """What intake does when nothing comes; returns what came."""
    came: list[bytes] = []

    def holds() -> bool:
        messages = source.take(1_000, 10**9, timeout=0.1)
        source.acknowledge(messages)
        came.extend(m.payload for m in messages)
        return bool(condition())  # type: ignore[operator]

    wait_until(holds, what, 30)
    return came


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_with_the_probes_topic_cut_off_the_session_is_renewed_until_it_comes_back(broker: Broker) -> None:
    source = opened()
    assert idle_until(source, lambda: source.probe.returned > 2, "probes come back") == []
    assert source.is_receiving
    connection = source._connection
    broker.forbid_probes()
    idle_until(source, lambda: not source.is_receiving, "it is noticed")
    idle_until(source, lambda: source._connection > connection and source.connected, "the session is renewed")
    assert source.probe.reconnects >= 1
    assert not source.is_receiving, "the new connection has brought nothing yet"
    broker.publish([b"1"])
    assert idle_until(source, lambda: source.is_receiving, "a message is a sign of life as well") == [b"1"]
    broker.allow_probes()
    returned = source.probe.returned
    idle_until(source, lambda: source.probe.returned > returned and source.is_receiving, "probes come back again")
    source.stop()


@pytest.mark.usefixtures("impatient")
def test_a_link_that_passes_nothing_is_left_long_before_the_keepalive(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Link(broker.port)) as link:
        monkeypatch.setenv("MQTT_BROKER_PORT", str(link.port))
        source = opened()
        idle_until(source, lambda: source.probe.returned, "a probe comes back")
        link.freeze()
        broker.publish([b"1", b"2"])
        idle_until(source, lambda: source.probe.reconnects, "the connection is given up")
        link.mend()
        came = idle_until(source, lambda: source.is_receiving, "the new connection works")
        came += idle_until(source, lambda: {b"1", b"2"} <= set(came) or not source._is_idle(), "all came")
        source.stop()
    assert {b"1", b"2"} <= set(came)


@pytest.mark.usefixtures("impatient")
def test_a_broker_whose_access_list_knows_no_probes_works_as_before(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.forbid_probes()
    source = opened()
    idle_until(source, lambda: source.probe.has_never_returned, "it is told")
    broker.publish([b"1"])
    wait_until(lambda: source._waiting, "the message is here")
    assert idle_until(source, lambda: True, "taken") == [b"1"]
    assert source.is_receiving
    assert source.probe.reconnects == source._connection == 0
    assert sum("Allow the platform's login" in record.message for record in caplog.records) == 1
    source.stop()


@pytest.mark.slow
def test_a_queue_longer_than_there_are_packet_ids_drains(broker: Broker) -> None:
    """At each acknowledgement Mosquitto sends up to a whole window more, until two messages have one packet id."""
    opened().stop()
    count = 80_000
    broker.publish([b"%d" % i for i in range(count)])
    source = opened()
    taken: list[Message] = []
    acknowledged = 0

    def drained() -> bool:
        nonlocal acknowledged
        taken.extend(source.take(5_000, 10**9, timeout=0.2))
        source.acknowledge(taken[acknowledged : acknowledged + 1])
        acknowledged += 1
        return len(taken) >= count

    wait_until(drained, "everything has come", 120)
    assert len({message.packet_id for message in taken[acknowledged:]}) < count - acknowledged, "none shares an id"
    source.acknowledge(taken[acknowledged:])
    assert {message.payload for message in taken} == {b"%d" % i for i in range(count)}
    assert (source._connection, source.probe.reconnects) == (0, 0)
    source._client.publish(source.probe.topic, b"", qos=1).wait_for_publish(60)  # the broker has read what came before
    broker.publish([b"afterwards"])
    came: list[bytes] = []

    def has_come() -> bool:
        came.extend(idle_until(source, lambda: True, "one look"))
        return bool(came)

    wait_until(has_come, "what is published afterwards comes", 30)
    assert came == [b"afterwards"]
    source.stop()
    again = opened()
    assert idle_until(again, lambda: again.probe.returned, "a probe comes") == [], "it was not acknowledged"
    again.stop()
