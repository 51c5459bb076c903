import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from serving import health
from serving.app import SERVICES, create_app
from serving.health import Readiness
from storage.settings import Settings
from tests.serving.conftest import BASE
from tests.support.servers import free_port, wait_until
from tests.support.stack import mosquitto


def test_the_six_services_under_the_gateways_prefixes(client: TestClient) -> None:
    body = {"device_id": "D1", "device_name": "n", "device_type": "t"}
    assert client.post("/backend/device/api/v1/devices", json=body).status_code == 201
    for service in SERVICES:
        assert client.get(f"/backend/{service}/health").json()["status"] == "healthy"
        assert client.get(f"/backend/{service}/api/v1/devices/D1").json()["data"]["device_id"] == "D1"
        assert client.get(f"/backend/{service}/").json()["service"] == "energy-platform"
    assert client.get("/backend/data/api/v1/data/telemetry/D1").status_code == 200
    assert client.get("/backend/other/health").status_code == 404
    assert client.get("/backend/devices/health").status_code == 404
    assert client.put("/backend/device/api/v1/devices", json={}).headers["allow"] == "GET, POST"


def test_health_and_readiness_at_the_services_paths(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for port in ("MQTT_BROKER_PORT", "DAGSTER_PORT"):
        monkeypatch.setenv(port, str(free_port()))  # neither runs here
    with TestClient(create_app(Settings.load()), base_url=BASE) as client:
        _check_health(client)


def _check_health(client: TestClient) -> None:
    for path in ("/health", "/health/live", "/api/v1/data/health"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "healthy"), path
    for path in ("/ready", "/health/ready"):
        answer = client.get(path)
        checks = answer.json()["checks"]
        assert answer.status_code == 503
        assert checks.keys() == {"database", "telemetry_store", "object_store", "broker", "dagster", "live_stream"}
        assert [name for name, state in checks.items() if state == "connected"] == [
            "database", "telemetry_store", "object_store", "live_stream"
        ]  # fmt: skip
    assert client.get("/api/v1/data/health").json()["checks"]["database"] == "connected"


def test_a_broker_is_there_when_it_lets_us_in(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state() -> str:
        with TestClient(create_app(Settings.load()), base_url=BASE) as client:
            return str(client.get("/ready").json()["checks"]["broker"])

    server = mosquitto(tmp_path, {"energy": "right"})
    monkeypatch.setenv("MQTT_BROKER_HOST", "127.0.0.1")
    monkeypatch.setenv("MQTT_BROKER_PORT", str(server.port))
    monkeypatch.setenv("MQTT_USERNAME", "energy")
    monkeypatch.setenv("MQTT_PASSWORD", "wrong")
    assert "refused" in state()
    with server.running():
        assert "refuses the login" in state()
        monkeypatch.setenv("MQTT_PASSWORD", "right")
        assert state() == "connected"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MQTT_BROKER_PORT", str(silent.getsockname()[1]))
        assert "no answer" in state()


def test_a_part_that_hangs_is_told_of_and_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.2)
    asked, hanging = [], threading.Event()

    def question() -> None:
        asked.append(1)
        hanging.wait(10)

    readiness = Readiness({"one": question, "other": lambda: None})
    for _ in range(3):
        checks = readiness.states()
        assert checks["one"].startswith("not connected: no answer within")
        assert checks["other"] == "connected"
    assert len(asked) == 1
    hanging.set()
    wait_until(lambda: readiness.states()["one"] == "connected", "the part answers again")


def test_a_part_whose_own_timeout_ends_first_has_no_answer_either() -> None:
    def question() -> None:
        raise TimeoutError

    assert Readiness({"one": question}).states() == {"one": "not connected: no answer within 3 s"}


POST = (
    b"POST /api/v1/devices HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


@contextlib.contextmanager
def many(count: int, address: str, request: bytes) -> Iterator[list[socket.socket]]:
    """So many clients that have sent this much of a request, and do nothing more."""
    url = urlsplit(address)
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection((str(url.hostname), url.port or 80), 5))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.sendall(request)
            sockets.append(client)
        yield sockets


@pytest.mark.slow
def test_slow_clients_hold_no_worker(server: str) -> None:
    """More than there are threads (40) and database connections (40) together."""
    half = POST % 99 + b"{"
    unread = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20
    paginate = b"GET /api/v1/devices?page_size=100 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20
    devices = [{"device_id": f"D{i}", "device_name": "n" * 200, "device_type": "t"} for i in range(100)]
    assert httpx.post(f"{server}/api/v1/devices/bulk", json={"devices": devices}, timeout=30).status_code == 200
    with many(100, server, half), many(50, server, unread), many(50, server, paginate):
        for _ in range(3):
            assert httpx.get(f"{server}/api/v1/devices", timeout=30).json()["total"] == 100


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A telemetry store that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as store:
        monkeypatch.setenv("INFLUXDB_URL", f"http://127.0.0.1:{store.getsockname()[1]}")
        monkeypatch.setenv("INFLUXDB_TOKEN", "token")
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("silent")
def test_a_silent_telemetry_store_leaves_the_registry_at_work(server: str) -> None:
    """However many ask for telemetry, more than there are threads (40) here."""
    ask = b"GET /api/v1/data/%s/D1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with many(30, server, ask % b"telemetry"), many(30, server, ask % b"stats"):
        for _ in range(3):
            assert httpx.get(f"{server}/api/v1/devices", timeout=10).json()["total"] == 0


def test_what_is_being_answered_ends_before_the_process_does(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("API_PORT", str(port))
    with (tmp_path / "api.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "serving"], stdout=log, stderr=log, env=os.environ)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: httpx.get(f"{address}/health", timeout=2).raise_for_status(), "the API answers")
        body = b'{"device_id": "D1", "device_name": "n", "device_type": "t"}'
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(POST % len(body) + body[:10])
            httpx.get(f"{address}/health")  # by then the other request is known to the server
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(port), "nothing new is accepted")
            client.sendall(body[10:])
            assert client.recv(100).startswith(b"HTTP/1.1 201 Created")
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False
