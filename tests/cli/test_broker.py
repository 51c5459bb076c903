"""The embedded broker's logins: what the platform, a device, a gateway and a stranger may do."""

import json
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from cli.local import broker_logins, home, nats
from cli.main import app
from ingest.mqtt import EMBEDDED_LOGIN, embedded_password
from ingest.mqtt.subscription import Message, Subscription
from storage.settings import Settings
from tests.support.publisher import Publisher, message
from tests.support.servers import can_connect, free_port, started, wait_until

TOPIC = "devices/D1/telemetry"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.setenv("ENERGY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MQTT_BROKER_PORT", str(free_port()))
    home.make(tmp_path / "home")
    return Settings.load()


@contextmanager
def running(settings: Settings, command: list[str] | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """The broker, and the state that `energy up` writes down."""
    port = settings.mqtt_broker_port
    command = command or nats.prepare(settings)
    with started(command, lambda: can_connect(port), settings.energy_home / "nats.log") as process:
        lock = home.lock(settings.energy_home)
        home.write_state(
            settings.energy_home, {"pid": os.getpid(), "services": [{"name": "broker", "pid": process.pid}]}
        )
        yield process
        os.close(lock)


class Client:
    """A client of the broker, as a device or a stranger is one."""

    def __init__(
        self, settings: Settings, login: tuple[str, str] | None = None, name: str = "", *, clean: bool = True
    ) -> None:
        self.received: list[bytes] = []
        self.granted: list[bool] = []
        self.answers: list[str] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, name, clean_session=clean, reconnect_on_failure=False)
        if login:
            self._client.username_pw_set(*login)
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self.answers.append(str(reason))
        self._client.on_disconnect = lambda *_: self.answers.append("closed")
        self._client.on_message = lambda _c, _u, m: self.received.append(bytes(m.payload))
        self._client.on_subscribe = lambda _c, _u, _m, codes, _p: self.granted.extend(not c.is_failure for c in codes)
        self._client.connect("127.0.0.1", settings.mqtt_broker_port)
        self._client.loop_start()
        wait_until(lambda: self.answers, "the broker answers")

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1).wait_for_publish(10)

    def subscribe(self, topic_filter: str) -> bool:
        self.granted.clear()
        self._client.subscribe(topic_filter, qos=1)
        wait_until(lambda: self.granted, "the broker answers")
        return self.granted[0]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def opened(settings: Settings) -> Subscription:
    source = Subscription(settings)
    source.start()
    wait_until(lambda: source.connected, "subscribed")
    return source


def take(source: Subscription, count: int) -> list[Message]:
    taken: list[Message] = []

    def came() -> bool:
        some = source.take(1_000, 10**9, timeout=0.2)
        source.acknowledge(some)
        taken.extend(some)
        return len(taken) >= count

    wait_until(came, f"{count} messages")
    return taken


def invoke(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["broker", *arguments])
    assert done.exit_code == 0, done.output
    return done.output.strip()


def test_a_stranger_who_names_the_ingesters_client_id_takes_nothing(settings: Settings) -> None:
    with running(settings):
        source = opened(settings)
        stranger = Client(settings, name=settings.mqtt_client_id)
        assert not stranger.subscribe("devices/+/telemetry")
        with closing(Publisher(settings.mqtt_broker_port)) as publisher:
            for i in range(600):
                publisher.publish([i], message(TOPIC, b"%d" % i, i))
                assert publisher.settle()
        stranger.close()
        assert [m.payload for m in take(source, 600)] == [b"%d" % i for i in range(600)]
        assert source._connection == 0
        assert stranger.received == []
        source.stop()


def test_who_has_no_login_publishes_telemetry_and_no_more(settings: Settings) -> None:
    with running(settings):
        source = opened(settings)
        stranger = Client(settings)
        platform = Client(settings, (EMBEDDED_LOGIN, embedded_password(settings) or ""))
        assert not any(stranger.subscribe(f) for f in ("#", TOPIC, "energy/live/batches", source.probe.topic))
        assert platform.subscribe("energy/#")
        for topic in ("energy/live/batches", source.probe.topic, "$SYS/REQ", "devices/D1/telemetry/more", "elsewhere"):
            stranger.publish(topic, b"forged")
        stranger.publish("devices/M.1_x-2/telemetry", b"own")
        assert [(m.topic, m.payload) for m in take(source, 1)] == [("devices/M.1_x-2/telemetry", b"own")]
        platform.publish("energy/last", b"the platform's")
        wait_until(lambda: b"the platform's" in platform.received, "what came before has come too")
        assert b"forged" not in platform.received
        for client in (stranger, platform):
            client.close()
        for login in ((EMBEDDED_LOGIN, "wrong"), ("nobody", "x")):
            refused = Client(settings, login)
            assert refused.answers[0] == "Not authorized"
            refused.close()
        source.stop()


def test_the_brokers_own_protocol_needs_a_login(settings: Settings) -> None:
    program, option, file = nats.prepare(settings)
    port = free_port()
    own = settings.energy_home / "own.conf"
    own.write_text(json.dumps({**json.loads(Path(file).read_text()), "listen": f"127.0.0.1:{port}"}))
    with (
        running(settings, [program, option, str(own)]),
        socket.create_connection(("127.0.0.1", port), 5) as one,
        one.makefile("rwb") as stream,
    ):
        stream.readline()
        stream.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
        stream.flush()
        assert b"Authorization Violation" in stream.readline()


def test_secrets_are_their_owners_alone(settings: Settings) -> None:
    invoke("add", "gateway", "--all-devices")
    nats.prepare(settings)
    names = ["broker-password", "broker-logins.json", "broker/nats.conf"]
    assert {stat.S_IMODE((settings.energy_home / name).stat().st_mode) for name in names} == {0o600}
    before = embedded_password(settings)
    nats.prepare(settings)
    assert embedded_password(settings) == before


def test_logins_of_devices_and_gateways(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_ANONYMOUS_DEVICES", "false")
    settings = Settings.load()
    first = invoke("add", "early.bird")  # the platform has never run
    with running(settings):
        stranger = Client(settings)
        assert stranger.answers[0] == "Not authorized"
        stranger.close()
        source = opened(settings)
        logins = {
            "early.bird": first,
            "gateway": invoke("add", "gateway", "--all-devices"),
            "cell": invoke("add", "cell", "--device", "D1", "--device", "D2"),
        }
        assert [line.split() for line in invoke("list").splitlines()[1:]] == [
            ["cell", "D1,", "D2"],
            ["early.bird", "early.bird"],
            ["gateway", "every", "device"],
        ]
        for name, password in logins.items():
            wait_until(lambda: can_log_in(settings, (name, password)), f"{name} is known")  # noqa: B023
            client = Client(settings, (name, password))
            for device in ("early.bird", "D1", "D3"):
                client.publish(f"devices/{device}/telemetry", name.encode())
            client.publish("energy/live/batches", b"forged")
            assert not client.subscribe("#")
            client.close()
        came = {(m.payload.decode(), m.topic.split("/")[1]) for m in take(source, 5)}
        assert came == {("early.bird", "early.bird"), ("cell", "D1")} | {
            ("gateway", device) for device in ("early.bird", "D1", "D3")
        }
        assert invoke("remove", "gateway") == "gateway is removed"
        wait_until(lambda: not can_log_in(settings, ("gateway", logins["gateway"])), "it is unknown")
        assert source._connection == 0, "the platform stays connected"
        source.stop()


def test_a_new_login_disconnects_nobody(settings: Settings) -> None:
    with running(settings):
        source, stranger = opened(settings), Client(settings)
        password = invoke("add", "gateway", "--all-devices")
        wait_until(lambda: can_log_in(settings, ("gateway", password)), "it is known")
        stranger.publish(TOPIC, b"1")
        assert [m.payload for m in take(source, 1)] == [b"1"]
        assert (stranger.answers, source._connection) == (["Success"], 0)
        stranger.close()
        source.stop()


@pytest.mark.slow
def test_a_queue_longer_than_there_are_packet_ids_drains(settings: Settings) -> None:
    count = 80_000
    with running(settings):
        opened(settings).stop()
        with closing(Publisher(settings.mqtt_broker_port)) as publisher:
            for start in range(0, count, 1_000):
                some = range(start, start + 1_000)
                publisher.publish(some, b"".join(message(TOPIC, b"%d" % i, i) for i in some))
            assert publisher.settle(60)
        source = opened(settings)
        assert {m.payload for m in take(source, count)} == {b"%d" % i for i in range(count)}
        assert (source._connection, source.probe.reconnects) == (0, 0)
        source.stop()


def can_log_in(settings: Settings, login: tuple[str, str]) -> bool:
    client = Client(settings, login)
    client.close()
    return client.answers[0] == "Success"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("add", EMBEDDED_LOGIN), "a login of the platform"),
        (("add", "a b"), "not a device's id"),
        (("add", "x", "--device", "#"), "not a device's id"),
        (("add", "x", "--device", "D1", "--all-devices"), "either --device or --all-devices"),
        (("remove", "x"), "there is no login 'x'"),
    ],
)
def test_what_cannot_be_made_is_told(settings: Settings, arguments: tuple[str, ...], reason: str) -> None:
    done = CliRunner().invoke(app, ["broker", *arguments])
    assert done.exit_code == 2
    assert reason in " ".join(done.output.replace("│", " ").split())
    assert broker_logins.read(settings) == []


def test_a_login_of_the_settings_closes_the_broker_to_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before: today's devices go on with the login that they share with the platform."""
    monkeypatch.setenv("MQTT_USERNAME", "plant")
    monkeypatch.setenv("MQTT_PASSWORD", "a password")
    settings = Settings.load()
    with running(settings):
        source = opened(settings)
        assert not can_log_in(settings, ("plant", "wrong"))
        stranger = Client(settings)
        assert stranger.answers[0] == "Not authorized"
        stranger.close()
        device = Client(settings, ("plant", "a password"))
        device.publish(TOPIC, b"1")
        assert [m.payload for m in take(source, 1)] == [b"1"]
        device.close()
        source.stop()


@pytest.mark.slow
def test_what_waited_in_an_earlier_releases_session_is_taken_after_the_upgrade(settings: Settings) -> None:
    """Earlier releases had neither logins nor a secret in the ingester's client id."""
    program = nats.prepare(settings)[0]
    file = settings.energy_home / "broker" / "nats.conf"
    old = {name: part for name, part in json.loads(file.read_text()).items() if name != "authorization"}
    del old["mqtt"]["no_auth_user"]
    file.write_text(json.dumps(old))
    with running(settings, [program, "--config", str(file)]):
        ingester = Client(settings, name="energy-ingest", clean=False)
        assert ingester.subscribe("devices/+/telemetry")
        ingester.close()
        client = Client(settings)
        for i in range(300):
            client.publish(TOPIC, b"%d" % i)
        client.close()
    for _ in range(2):
        with running(settings):
            source = opened(settings)
            assert not source.probe.topic.endswith("/energy-ingest")
            assert [m.payload for m in take(source, 300)] == [b"%d" % i for i in range(300)]
            device = Client(settings)
            device.publish(TOPIC, b"new")
            assert [m.payload for m in take(source, 1)] == [b"new"]
            for i in range(300):
                device.publish(TOPIC, b"%d" % i)  # for the next start, which moves nothing any more
            device.close()
            source.stop()
