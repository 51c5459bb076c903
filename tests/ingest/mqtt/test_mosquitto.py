"""The production profile's broker, with its own configuration file."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingest.mqtt.subscription import Message, Subscription
from storage.settings import Settings
from tests.support.link import Link
from tests.support.publisher import Publisher, message
from tests.support.servers import wait_until
from tests.support.stack import PLATFORM, Server, mosquitto

DEVICE, STRANGER = ("M-0001", "its-password"), ("M-0666", "another-password")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = mosquitto(tmp_path_factory.mktemp("mosquitto"), dict([PLATFORM, DEVICE, STRANGER]))
    with server.running():
        yield server


def subscription(broker: Server, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Subscription:
    given = {
        "MQTT_BROKER_HOST": "127.0.0.1",
        "MQTT_BROKER_PORT": str(broker.port),
        "MQTT_USERNAME": PLATFORM[0],
        "MQTT_PASSWORD": PLATFORM[1],
    }
    for name, value in {**given, **variables}.items():
        monkeypatch.setenv(name, value)
    opened = Subscription(Settings.load())
    opened.start()
    wait_until(lambda: opened.connected, "subscribed")
    return opened


def take_all(source: Subscription, count: int) -> list[Message]:
    taken: list[Message] = []

    def all_came() -> bool:
        taken.extend(source.take(1_000, 10**9, timeout=0.2))
        return len(taken) >= count

    wait_until(all_came, f"{count} messages")
    return taken


def publish(broker: Server, topic: str, payloads: list[bytes]) -> None:
    publisher = Publisher(broker.port, DEVICE)
    publisher.publish(range(len(payloads)), b"".join(message(topic, p, i) for i, p in enumerate(payloads)))
    assert publisher.settle()
    publisher.close()


def test_a_device_publishes_under_its_own_name_only(broker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mosquitto acknowledges what it does not let through, so as not to say which topics there are."""
    source = subscription(broker, monkeypatch, MQTT_CLIENT_ID="acl")
    publish(broker, "devices/M-0002/telemetry", [b"forged"])
    publish(broker, "energy/live", [b"forged"])
    publish(broker, "devices/M-0001/telemetry", [b"own"])
    assert [(m.topic, m.payload) for m in take_all(source, 1)] == [("devices/M-0001/telemetry", b"own")]
    source.stop()


def test_a_device_that_names_the_ingesters_client_id_takes_nothing(
    broker: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the devices' door a login is the client id, so a device can only take the place of itself."""
    source = subscription(broker, monkeypatch)
    stranger = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="energy-ingest", clean_session=True)
    stranger.username_pw_set(*STRANGER)
    stranger.connect("127.0.0.1", broker.devices_port)
    stranger.loop_start()
    wait_until(stranger.is_connected, "the stranger is connected")
    with closing(Publisher(broker.devices_port, DEVICE)) as publisher:
        for i in range(600):
            publisher.publish([i], message("devices/M-0001/telemetry", b"%d" % i, i))
            assert publisher.settle()
    assert stranger.is_connected()
    stranger.disconnect()
    stranger.loop_stop()
    taken = take_all(source, 600)
    source.acknowledge(taken)
    assert [m.payload for m in taken] == [b"%d" % i for i in range(600)]
    assert source._connection == 0
    source.stop()


def test_the_devices_door_with_tls(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "server.key"),
               "-out", str(tmp_path / "server.crt")]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    server = mosquitto(tmp_path, dict([PLATFORM, DEVICE]), door="tls")
    with server.running():
        device = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="any")
        device.username_pw_set(*DEVICE)
        device.tls_set(str(tmp_path / "server.crt"))
        device.connect("127.0.0.1", server.devices_port)
        device.loop_start()
        device.publish("devices/M-0001/telemetry", b"1", qos=1).wait_for_publish(10)
        device.disconnect()
        device.loop_stop()
        with pytest.raises(OSError):  # noqa: PT011 - it hangs up, in one way or another
            Publisher(server.devices_port, DEVICE)


def test_a_device_reads_nothing(broker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = subscription(broker, monkeypatch, MQTT_CLIENT_ID="spy", MQTT_USERNAME=DEVICE[0], MQTT_PASSWORD=DEVICE[1])
    source = subscription(broker, monkeypatch, MQTT_CLIENT_ID="reader", MQTT_USERNAME=PLATFORM[0],
                          MQTT_PASSWORD=PLATFORM[1])  # fmt: skip
    publish(broker, "devices/M-0001/telemetry", [b"own"])
    take_all(source, 1)
    assert spy.take(10, 10**9, timeout=0) == []
    spy.stop()
    source.stop()


@pytest.mark.parametrize("login", [None, (DEVICE[0], "wrong"), ("nobody", "x")])
def test_who_is_not_known_stays_outside(broker: Server, login: tuple[str, str] | None) -> None:
    with pytest.raises(ConnectionRefusedError):
        Publisher(broker.port, login)


def test_nothing_is_dropped_while_the_ingester_is_away(broker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription(broker, monkeypatch, MQTT_CLIENT_ID="away").stop()
    payloads = [str(i).encode() for i in range(5_000)]
    publish(broker, "devices/M-0001/telemetry", payloads)
    back = subscription(broker, monkeypatch, MQTT_CLIENT_ID="away")
    taken = take_all(back, 5_000)
    assert [m.payload for m in taken] == payloads
    assert back.dropped == 0
    back.acknowledge(taken)
    back.stop()


def test_what_was_not_acknowledged_comes_again_after_a_new_connection(
    broker: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = subscription(broker, monkeypatch, MQTT_CLIENT_ID="again")
    publish(broker, "devices/M-0001/telemetry", [b"a", b"b", b"c"])
    taken = take_all(first, 3)
    first.acknowledge(taken[:1])
    wait_until(lambda: not first._client.want_write(), "the acknowledgement is sent")
    first.stop()
    second = subscription(broker, monkeypatch, MQTT_CLIENT_ID="again")
    again = take_all(second, 2)
    assert [(m.payload, m.redelivered) for m in again] == [(b"b", True), (b"c", True)]
    second.acknowledge(taken)  # of the other connection: not the broker's affair any more
    second.acknowledge(again)
    publish(broker, "devices/M-0001/telemetry", [b"d"])
    take_all(second, 1)  # the broker has read what came before; of what comes last a hang-up may keep it
    second.stop()
    third = subscription(broker, monkeypatch, MQTT_CLIENT_ID="again")
    assert [m.payload for m in take_all(third, 1)] == [b"d"]
    third.stop()


def test_a_network_that_goes_silent_is_noticed_and_nothing_is_lost(
    broker: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No reset comes: the keepalive ends the connection, and what was not acknowledged comes over the next one."""
    monkeypatch.setattr("ingest.mqtt.client.KEEPALIVE_SECONDS", 1)
    with closing(Link(broker.port)) as link:
        source = subscription(broker, monkeypatch, MQTT_CLIENT_ID="stalled", MQTT_BROKER_PORT=str(link.port))
        publish(broker, "devices/M-0001/telemetry", [b"acknowledged", b"taken"])
        taken = take_all(source, 2)
        source.acknowledge(taken[:1])
        wait_until(lambda: not source._client.want_write(), "the acknowledgement is sent")
        link.freeze()
        publish(broker, "devices/M-0001/telemetry", [b"1", b"2", b"3"])
        wait_until(lambda: not source.connected, "the silence is noticed", 10)
        link.mend()
        again: set[bytes] = set()

        def everything_came() -> bool:
            messages = source.take(100, 10**9, timeout=0.2)
            source.acknowledge(messages)
            again.update(message.payload for message in messages)
            return {b"taken", b"1", b"2", b"3"} <= again

        wait_until(everything_came, "what was not acknowledged comes again")
        source.stop()


def test_two_side_by_side_share_the_messages(broker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [subscription(broker, monkeypatch, MQTT_SHARED_GROUP="plant", MQTT_CLIENT_ID=f"ingest-{i}") for i in (1, 2)]
    payloads = {str(i).encode() for i in range(200)}
    publish(broker, "devices/M-0001/telemetry", sorted(payloads))
    shares: list[list[bytes]] = [[], []]

    def everything_came() -> bool:
        for share, source in zip(shares, both, strict=True):
            taken = source.take(1_000, 10**9, timeout=0.05)
            source.acknowledge(taken)
            share += [m.payload for m in taken]
        return sum(map(len, shares)) >= len(payloads)

    wait_until(everything_came, "all are taken")
    assert set(shares[0]) | set(shares[1]) == payloads
    assert len(shares[0]) + len(shares[1]) == len(payloads)
    assert all(shares)
    for source in both:
        source.stop()


def test_large_messages_wait_at_the_broker(broker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits here is bounded in bytes, however many messages the broker would send."""
    monkeypatch.setattr("ingest.mqtt.subscription.MAX_WAITING_BYTES", 2_000_000)
    source = subscription(broker, monkeypatch, MQTT_CLIENT_ID="large")
    payloads = [bytes([i]) * 200_000 for i in range(50)]
    publish(broker, "devices/M-0001/telemetry", payloads)
    wait_until(lambda: source._waiting_bytes >= 2_000_000, "it is full")
    assert source._waiting_bytes < 2_500_000
    taken: list[Message] = []

    def take() -> bool:
        some = source.take(100, 500_000, timeout=0.1)
        assert sum(len(m.payload) for m in some) <= 700_000
        assert source._waiting_bytes < 2_500_000
        source.acknowledge(some)
        taken.extend(some)
        return len(taken) == 50

    wait_until(take, "all arrive")
    assert [m.payload for m in taken] == payloads
    source.stop()


@pytest.mark.slow
def test_the_connection_stands_while_there_is_no_room(broker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker's answers to pings are then among what is not read; a store may be away for hours."""
    monkeypatch.setattr("ingest.mqtt.client.KEEPALIVE_SECONDS", 1)
    monkeypatch.setattr("ingest.mqtt.subscription.MAX_WAITING_BYTES", 2_000_000)
    source = subscription(broker, monkeypatch, MQTT_CLIENT_ID="full")
    pings: list[int] = []
    ping = source._client._send_pingreq

    def counting() -> object:
        pings.append(1)
        return ping()

    monkeypatch.setattr(source._client, "_send_pingreq", counting)
    payloads = [bytes([i]) * 200_000 for i in range(100)]
    publish(broker, "devices/M-0001/telemetry", payloads)
    wait_until(lambda: source._waiting_bytes >= 2_000_000, "it is full")
    pings.clear()
    wait_until(lambda: len(pings) >= 4 or source._connection, "some pings go out")
    assert source._connection == 0, "the connection was lost"
    assert [m.payload for m in take_all(source, 100)] == payloads
    source.stop()


def test_a_message_beyond_the_brokers_limit_is_the_brokers_refusal(broker: Server) -> None:
    with closing(Publisher(broker.port, DEVICE)) as publisher:
        with suppress(ConnectionError):  # the broker may hang up before it has read everything
            publisher.publish([1], message("devices/M-0001/telemetry", b"x" * 1_100_000, 1))
        assert not publisher.settle(5)


def test_the_brokers_own_count_of_drops_is_read_and_told(
    broker: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []
    monkeypatch.setattr(Subscription, "_note_dropped", lambda _, payload: heard.append(payload))
    source = subscription(broker, monkeypatch, MQTT_CLIENT_ID="drops")
    wait_until(lambda: heard, "Mosquitto says how many it dropped")
    assert heard[0].isdigit()
    monkeypatch.undo()
    for payload in (b"3", b"3", b"nonsense"):
        source._note_dropped(payload)
    source.stop()
    assert [record.getMessage() for record in caplog.records if "dropped" in record.message] == [
        "the broker has dropped 3 messages; raise its queue limit (max_queued_messages)"
    ]
