import gc
import json
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import msgspec
import psutil
import pytest
from sqlmodel import Session
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from serving.live import hub as hub_module, routes as live_module, subscriber as subscriber_module
from serving.live.broker import check_broker, open_client
from storage import access
from storage.access import ApiKey
from storage.devices import Device
from storage.rules import Rule
from storage.settings import Settings
from tests.support.running import BROKERS, Ingester, device, ingesting, nats_broker, serving
from tests.support.servers import wait_until

both_brokers = pytest.mark.parametrize("platform", BROKERS, indirect=True)


@pytest.fixture(params=["nats"])
def platform(request: pytest.FixtureRequest, settings: Settings) -> Iterator[tuple[Settings, Ingester, Any]]:
    with BROKERS[request.param](settings), ingesting(settings) as ingester, serving(settings) as app:
        register(ingester, "D1", "D2")
        yield settings, ingester, app


def register(ingester: Ingester, *devices: str, tenant: str | None = None) -> None:
    with Session(ingester.engine) as session:
        for device_id in devices:
            session.add(Device(device_id=device_id, device_name="n", device_type="motor", tenant_id=tenant))
        session.commit()
    wait_until(lambda: ingester.registry.profile(devices[-1]).enrichment_status == "success", "the registry followed")


@contextmanager
def watching(settings: Settings, device_id: str, **options: Any) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{settings.api_port}/ws/telemetry/{device_id}", **options) as client:
        yield client


def frame(client: ClientConnection) -> dict[str, Any]:
    received: dict[str, Any] = json.loads(client.recv(timeout=10))
    return received


def reading(power: float, **more: Any) -> dict[str, Any]:
    return {"timestamp": datetime.now(UTC).isoformat(), "power": power, **more}


@both_brokers
def test_readings_and_alerts_of_the_device_arrive_as_rest_gives_them(platform: tuple[Settings, Ingester, Any]) -> None:
    settings, ingester, _ = platform
    with Session(ingester.engine) as session:
        session.add(Rule(rule_name="Much", scope="all_devices", property="power", condition=">", threshold=400))
        session.commit()
    wait_until(lambda: ingester.registry.rules, "the rule is known")
    with watching(settings, "D1") as client, watching(settings, "D2") as other, device(settings) as machine:
        wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
        machine.send("D1", reading(450.5, vibration_rms=0.4))
        machine.send("D1", reading(600.0))
        machine.send("D2", reading(1.0))
        frames = [frame(client) for _ in range(3)]
        assert sorted(f["type"] for f in frames) == ["alert", "telemetry", "telemetry"]
        seen = frame(other)
        assert (seen["type"], seen["data"]["device_id"], seen["data"]["power"]) == ("telemetry", "D2", 1.0)
        base = f"http://127.0.0.1:{settings.api_port}/api/v1"
        stored = httpx.get(f"{base}/data/telemetry/D1").json()["data"]["items"]
        live = [f["data"] for f in frames if f["type"] == "telemetry"]
        assert live[0] == {name: value for name, value in stored[0].items() if value is not None or name in live[0]}
        assert live[1]["out_of_band"] == stored[1]["out_of_band"] == ["power"]
        (alert,) = httpx.get(f"{base}/alerts").json()["data"]
        assert [f["data"] for f in frames if f["type"] == "alert"] == [alert]


def test_nobody_watches_nothing_is_published(platform: tuple[Settings, Ingester, Any], monkeypatch: Any) -> None:
    settings, ingester, app = platform
    monkeypatch.setattr("ingest.mqtt.live._encode", lambda _: pytest.fail("a batch was encoded for nobody"))
    with device(settings) as machine:
        machine.send("D1", reading(1.0))
        wait_until(lambda: ingester.metrics.stored == 1, "the reading is stored")
    assert not ingester.live.has_subscribers
    assert app.state.hub.clients == 0


@both_brokers
def test_an_api_process_that_is_gone_watches_no_more(
    platform: tuple[Settings, Ingester, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, ingester, _ = platform
    clients = []

    def open_and_note(*args: Any, **options: Any) -> Any:
        clients.append(open_client(*args, **options))
        return clients[-1]

    monkeypatch.setattr(hub_module, "open_client", open_and_note)
    with watching(settings, "D1"):
        wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
        # As a kill would leave it: no goodbye, so the broker publishes the last will.
        end = clients[0]._client.socket()
        assert isinstance(end, socket.socket)
        end.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: not ingester.live.has_subscribers, "the last will cleared the message")
    with watching(settings, "D1"):
        wait_until(lambda: ingester.live.has_subscribers, "it came back, with its clients")


def test_a_client_that_does_not_read_loses_the_oldest_and_is_told(
    platform: tuple[Settings, Ingester, Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr(subscriber_module, "MAX_FRAMES", 50)
    settings, ingester, app = platform
    padding = {f"extra_metric_with_a_long_name_{i}": i for i in range(20)}
    sent = 4000
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    door.connect(("127.0.0.1", settings.api_port))
    with (
        watching(settings, "D1") as fast,
        watching(settings, "D1", max_queue=1, sock=door) as slow,
        device(settings) as machine,
    ):
        wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
        base = int(time.time() * 1000)
        seen: list[float] = []
        for start in range(0, sent, 40):
            machine.send("D1", [{"timestamp": base - start - i, "power": start + i, **padding} for i in range(40)])
            while len(seen) < start + 40:
                seen.append(frame(fast)["data"]["power"])
        assert seen == list(range(sent))
        got: list[float] = []
        lost = 0
        while len(got) + lost < sent:
            received = frame(slow)
            if received["type"] == "dropped":
                lost += received["count"]
            else:
                got.append(received["data"]["power"])
                assert got[-1] == len(got) + lost - 1  # the count stands where the frames are missing
    assert lost > 0
    wait_until(lambda: app.state.hub.clients == 0, "both have left")
    assert app.state.hub.dropped == lost


def test_the_broker_is_reached_from_a_process_with_many_sockets(settings: Settings) -> None:
    """select(), which paho's own loop uses, cannot wait for sockets above number 1,023."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_048), most))
    with nats_broker(settings), ingesting(settings) as ingester, ExitStack() as stack:
        register(ingester, "D1")
        machine = stack.enter_context(device(settings))
        gc.collect()  # sockets of earlier tests would free low numbers later
        number = 0
        while number < 1_030:
            number = os.open(os.devnull, os.O_RDONLY)
            stack.callback(os.close, number)
        stack.enter_context(serving(settings))
        client = stack.enter_context(watching(settings, "D1"))
        wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
        port = settings.mqtt_broker_port
        wait_until(
            lambda: any(c.fd > 1_023 for c in psutil.Process().net_connections() if c.raddr and c.raddr.port == port),
            "a connection to the broker has a high number",
        )
        machine.send("D1", reading(5.0))
        assert frame(client)["data"]["power"] == 5.0
        check_broker(settings, 3)


def test_a_batch_with_a_wrong_item_closes_streams_and_the_next_one_arrives(
    platform: tuple[Settings, Ingester, Any],
) -> None:
    settings, ingester, _ = platform
    with watching(settings, "D1") as client, device(settings) as machine:
        wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
        for payload in (b"no batch", msgspec.msgpack.encode(("p", 0, [("D1", None, "alert", {"no": "alert"})]))):
            machine._client.publish("energy/live/batches", payload, qos=1).wait_for_publish(10)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        with watching(settings, "D1") as again:
            machine.send("D1", reading(5.0))
            assert frame(again)["data"]["power"] == 5.0


@pytest.mark.parametrize("backlog", [0, 200], ids=["idle", "full"])
def test_a_client_that_answers_nothing_is_gone_after_a_while(
    settings: Settings, monkeypatch: Any, backlog: int
) -> None:
    """As one behind a dead network: by the unanswered ping, or because what it does not read cannot be sent."""
    monkeypatch.setitem(live_module.SERVER_OPTIONS, "ws_ping_interval", 20.0 if backlog else 0.3)
    monkeypatch.setitem(live_module.SERVER_OPTIONS, "ws_ping_timeout", 0.3)
    monkeypatch.setattr(live_module, "SEND_TIMEOUT_SECONDS", 0.3)
    with nats_broker(settings), ingesting(settings) as ingester, serving(settings) as app:
        register(ingester, "D1")
        with socket.create_connection(("127.0.0.1", settings.api_port)) as stuck:
            stuck.sendall(
                b"GET /ws/telemetry/D1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            hub = app.state.hub
            wait_until(lambda: hub.clients == 1, "it watches")
            (subscriber,) = hub._all()
            for _ in range(backlog):
                hub._running.get_loop().call_soon_threadsafe(subscriber.put, "x" * 100_000)
            wait_until(lambda: hub.clients == 0, "it watches no more", 10)
            ours = stuck.getsockname()
            wait_until(lambda: not is_open(settings.api_port, ours), "its socket is closed too")


def is_open(port: int, client: tuple[str, int]) -> bool:
    """Whether this process holds the API's end of a client's connection."""
    return any(c.laddr.port == port and c.raddr == client for c in psutil.Process().net_connections() if c.raddr)


REFUSALS = [
    ("telemetry/D9", 4404),
    ("telemetry/a..b", 4422),
    (f"telemetry/{'x' * 51}", 4422),
    ("telemetry/a%20b", 4422),
    ("telemetry/D1/more", 4404),
    ("telemetry", 4404),
    ("telemetry/D1", 1013),  # there is no broker
]


def test_refusals_have_a_code_and_a_reason(settings: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr(hub_module, "CONNECT_TIMEOUT_SECONDS", 0.1)
    base = f"127.0.0.1:{settings.api_port}"
    with serving(settings) as app, Session(app.state.engine) as session:
        session.add(Device(device_id="D1", device_name="n", device_type="motor"))
        session.commit()
        answers = {path: refusal(f"ws://{base}/ws/{path}") for path, _ in REFUSALS}
        assert {path: code for path, (code, _) in answers.items()} == dict(REFUSALS)
        assert all(len(reason) > 10 for _, reason in answers.values())
        # Pages of other sites may not watch; ours, and what is no browser, may.
        url = f"ws://{base}/ws/telemetry/D1"
        assert refusal(url, origin="https://evil.example")[0] == 4403
        assert refusal(url, origin=f"http://{base}")[0] == 1013


def refusal(url: str, **options: Any) -> tuple[int, str]:
    with connect(url, **options) as client, pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=10)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_heartbeats_come_between_frames(settings: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr(live_module, "HEARTBEAT_SECONDS", 0.2)
    with nats_broker(settings), ingesting(settings) as ingester, serving(settings):
        register(ingester, "D1")
        with watching(settings, "D1") as client:
            assert [frame(client) for _ in range(3)] == [{"type": "heartbeat"}] * 3


@pytest.mark.slow
def test_a_lost_broker_closes_streams_and_lets_them_come_back(settings: Settings) -> None:
    with ingesting(settings, connected=False) as ingester, serving(settings), ExitStack() as stack:
        with nats_broker(settings):
            wait_until(lambda: ingester.subscription.connected, "the ingester has subscribed")
            register(ingester, "D1")
            first = stack.enter_context(watching(settings, "D1"))
            wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
        with pytest.raises(ConnectionClosed) as closed:
            first.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        with nats_broker(settings):
            wait_until(lambda: ingester.subscription.connected, "it came back")
            with watching(settings, "D1") as again, device(settings) as machine:
                wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers again")
                machine.send("D1", reading(5.0))
                assert frame(again)["data"]["power"] == 5.0


def test_a_gap_in_the_numbers_closes_the_stream(platform: tuple[Settings, Ingester, Any]) -> None:
    settings, ingester, _ = platform
    with watching(settings, "D1") as client, device(settings) as machine:
        wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
        machine.send("D1", reading(1.0))
        assert frame(client)["data"]["power"] == 1.0
        ingester.live._number += 1  # as if a message had been lost on its way
        machine.send("D1", reading(2.0))
        assert frame(client)["data"]["power"] == 2.0
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


def test_a_tenant_watches_its_own_devices_for_as_long_as_they_are(
    settings: Settings, key: Callable[..., dict[str, str]]
) -> None:
    acme = {"additional_headers": key("read", "acme")}
    with nats_broker(settings), ingesting(settings) as ingester, serving(settings):
        register(ingester, "DA", tenant="acme")
        register(ingester, "DB", tenant="other")
        url = f"ws://127.0.0.1:{settings.api_port}/ws/telemetry"
        assert refusal(f"{url}/DB", **acme)[0] == 4404
        assert refusal(f"{url}/DA")[0] == 4401
        assert refusal(f"{url}/DA?ticket=x")[0] == 4401
        with watching(settings, "DA", **acme) as client, device(settings) as machine:
            wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
            machine.send("DA", reading(1.0))
            assert frame(client)["data"]["power"] == 1.0
            for tenant, power in (("other", 2.0), ("acme", 3.0)):
                give(ingester, "DA", tenant)
                machine.send("DA", reading(power))
                wait_until(partial(count_is, ingester, power), "it is stored")
            assert frame(client)["data"]["power"] == 3.0


def test_a_stream_ends_with_the_key_that_opened_it(
    settings: Settings, session: Session, key: Callable[..., dict[str, str]], monkeypatch: Any
) -> None:
    monkeypatch.setattr(live_module, "HEARTBEAT_SECONDS", 0.2)
    with nats_broker(settings), ingesting(settings) as ingester, serving(settings), ExitStack() as stack:
        register(ingester, "D1")

        def watch(**headers: str) -> ClientConnection:
            client = stack.enter_context(watching(settings, "D1", additional_headers=headers))
            assert frame(client) == {"type": "heartbeat"}
            return client

        nobody = watch()
        keys = {name: key("read", name=name) for name in ("revoked", "expired", "valid")}
        assert closed_after_frames(nobody) == 4401  # there are keys now
        revoked, expired, valid = (watch(**header) for header in keys.values())
        access.revoke_key(session, "revoked")
        session.commit()
        assert closed_after_frames(revoked) == 4401
        session.get_one(ApiKey, "expired").expires_at = datetime.now(UTC)
        session.commit()
        assert closed_after_frames(expired) == 4401
        with device(settings) as machine:
            machine.send("D1", reading(1.0))
            while (seen := frame(valid))["type"] == "heartbeat":
                pass
        assert seen["data"]["power"] == 1.0


def closed_after_frames(client: ClientConnection) -> int:
    """The code it is closed with; ten seconds of frames are enough."""
    deadline = time.monotonic() + 10
    with suppress(ConnectionClosed):
        while time.monotonic() < deadline:
            client.recv(timeout=10)
    assert client.close_code is not None, "it is still open"
    return client.close_code


def give(ingester: Ingester, device_id: str, tenant: str) -> None:
    with Session(ingester.engine) as session:
        session.get_one(Device, device_id).tenant_id = tenant
        session.commit()
    wait_until(lambda: ingester.registry.profile(device_id).tenant_id == tenant, "it changed hands")


def count_is(ingester: Ingester, count: float) -> bool:
    return ingester.metrics.stored == count
