"""What strangers send to stop the API: while it comes, `/health` answers; afterwards, the connection is closed."""

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from serving.app import ROUTERS
from serving.auth.identified import MAX_BULK_VALUES, IdentifiedRoute
from serving.http.gateway import MAX_UNKNOWN_BODY_BYTES
from storage.settings import Settings
from tests.support.running import serving
from web import protocol

HEAD = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
ADMIN_KEY = "a-key-of-the-tests-that-nobody-has"


@pytest.fixture
def address(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """An API that has a key, so that the attackers are strangers; its time limits are short."""
    monkeypatch.setenv("ENERGY_ADMIN_KEY", ADMIN_KEY)
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "BODY_TIMEOUT_SECONDS", 0.5)
    with serving(Settings.load()):
        yield "127.0.0.1", settings.api_port


def connected(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, 10)


def answer(client: socket.socket) -> bytes:
    """What the server sends until it closes the connection; a reset ends it too."""
    received = b""
    with suppress(ConnectionError):
        while part := client.recv(65_536):
            received += part
    return received


@contextmanager
def attacked(address: tuple[str, int], parts: Iterable[bytes]) -> Iterator[socket.socket]:
    """A client that sends all of this from a thread of its own."""
    with connected(address) as client:

        def send() -> None:
            with suppress(OSError):  # the server closes the door
                for part in parts:
                    client.sendall(part)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield client
        finally:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            thread.join()


def is_healthy(address: tuple[str, int]) -> bool:
    return httpx.get(f"http://{address[0]}:{address[1]}/health", timeout=2).is_success


def test_a_body_is_read_when_the_sender_is_known(address: tuple[str, int]) -> None:
    """A stranger gets 401 before sending a byte of a body that is announced."""
    for path, status in ((b"/api/v1/devices", b"401"), (b"/api/v1/session", b"413")):
        with connected(address) as client:
            client.sendall(HEAD % path + b"Content-Length: 8000000\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 " + status)
        assert is_healthy(address)


def test_a_body_that_comes_in_chunks_without_end_is_refused(address: tuple[str, int]) -> None:
    chunk = b"10000\r\n" + b"[]," * 21_845 + b"[" + b"\r\n"
    for path, status in ((b"/api/v1/devices", b"401"), (b"/api/v1/session", b"413")):
        parts = (HEAD % path + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 100)
        with attacked(address, parts) as client:
            assert client.recv(100).startswith(b"HTTP/1.1 " + status)
            assert is_healthy(address)


def test_headers_and_urls_have_a_limit(address: tuple[str, int]) -> None:
    start = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    for name, parts in {
        "431 headers in one": (start, *[b"a: " + b"x" * 70_000 + b"\r\n"] * 100),
        "431 a header without end": (start + b"a: ", *[b"x" * 65_536] * 100),
        "431 many headers": (start, *[b"a: b\r\n"] * 10_000),
        "414 a URL without end": (b"GET /", *[b"x" * 65_536] * 100),
        "431 trailers": (
            HEAD % b"/api/v1/session" + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", *[b"a: " + b"x" * 70_000] * 10,
        ),
    }.items():  # fmt: skip
        with attacked(address, parts) as client:
            received = answer(client)
            assert is_healthy(address), name
        assert not received or received.startswith(b"HTTP/1.1 " + name[:3].encode()), name
    with connected(address) as client:
        client.sendall(start + b"a: b\r\n" * 200)
        assert b'"status":431' in answer(client)


def test_a_request_names_one_host(address: tuple[str, int]) -> None:
    host, upgrade = b"Host: 127.0.0.1\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    for version, headers, status in (
        (b"1.1", b"", b"400"),
        (b"1.1", host + b"Host: evil.example\r\n", b"400"),
        (b"1.1", upgrade, b"400"),
        (b"1.0", host * 2, b"400"),
        (b"1.0", b"", b"200"),
    ):
        with connected(address) as client:
            client.sendall(b"GET /health HTTP/%s\r\n%sConnection: close\r\n\r\n" % (version, headers))
            assert answer(client).startswith(b"HTTP/1.1 " + status), (version, headers)


def test_what_is_sent_too_slowly_is_refused(address: tuple[str, int]) -> None:
    """Half a head, half a body, nothing at all: each connection is closed, and none holds up the others."""
    halves = {
        b"GET /health HTTP/1.1\r\nHost: 127.0": b"408",
        HEAD % b"/api/v1/session" + b"Content-Length: 100\r\n\r\n{": b"408",
        b"": b"",
    }
    with ExitStack() as stack:
        clients = [(stack.enter_context(connected(address)), half) for half in halves for _ in range(50)]
        for client, half in clients:
            client.sendall(half)
        assert is_healthy(address)
        for client, half in clients:
            received = answer(client)
            assert received.startswith(b"HTTP/1.1 " + halves[half]) if half else received == b""
        assert is_healthy(address)


def test_an_address_has_so_many_connections(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS_PER_ADDRESS", 5)
    with ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(connected(address))
            client.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        with connected(address) as client:
            assert answer(client).startswith(b"HTTP/1.1 503")
    assert is_healthy(address)


def test_what_takes_long_to_parse_is_refused(client: TestClient) -> None:
    """Also from those who may: the parser would hold up all the others."""
    headers = {"Content-Type": "application/json"}
    values = "[" + "[]," * MAX_BULK_VALUES + "[]]"
    assert client.post("/api/v1/devices/bulk", content=values, headers=headers).status_code == 413
    deep = client.post("/api/v1/devices/bulk", content="[" * 100_000, headers=headers)
    assert (deep.status_code, deep.json()["detail"]) == (422, "the JSON is nested too deeply")


def test_a_stranger_signs_in_with_a_small_body(client: TestClient) -> None:
    large = client.post("/api/v1/session", json={"key": "x" * MAX_UNKNOWN_BODY_BYTES})
    assert large.status_code == 413
    assert client.post("/api/v1/session", json={"key": "x"}).status_code == 401


def test_every_route_with_a_body_identifies_first() -> None:
    with_body = [r for router in ROUTERS for r in router.routes if isinstance(r, APIRoute) and r.body_field]
    assert len(with_body) > 10
    assert [route.path for route in with_body if not isinstance(route, IdentifiedRoute)] == []
