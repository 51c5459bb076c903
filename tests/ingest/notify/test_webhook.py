import hashlib
import hmac
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ingest.notify.settings import NotifySettings
from ingest.notify.webhook import WebhookFailed, is_public, post
from storage.settings import Settings, SettingsError

LOCAL = ("localhost", "127.0.0.1")


class Receiver:
    """A real receiver; `answers` is what it says next, 200 when it is empty, once it is not told to wait."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.path, dict(self.headers), body))
                receiver.may_answer.wait()
                status, headers = receiver.answers.pop(0) if receiver.answers else (200, {})
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_the_body_arrives_and_is_signed(receiver: Receiver) -> None:
    url = f"http://localhost:{receiver.port}/hook?token=1"
    assert post(url, b'{"a": 1}', notification="n1", secret=SecretStr("s"), allowed_hosts=LOCAL) == "200 OK"
    ((path, headers, body),) = receiver.received
    assert (path, body, headers["X-Energy-Notification"]) == ("/hook?token=1", b'{"a": 1}', "n1")
    assert headers["Host"] == f"localhost:{receiver.port}"
    signed = headers["X-Energy-Timestamp"].encode() + b"." + body
    assert headers["X-Energy-Signature"] == "sha256=" + hmac.new(b"s", signed, hashlib.sha256).hexdigest()
    post(url, b"{}", notification="n2", allowed_hosts=LOCAL)
    assert "X-Energy-Signature" not in receiver.received[1][1]


def test_what_is_not_2xx_has_failed_and_redirects_lead_nowhere(receiver: Receiver) -> None:
    url = f"http://localhost:{receiver.port}/"
    receiver.answers = [(500, {}), (302, {"Location": f"http://localhost:{receiver.port}/elsewhere"})]
    with pytest.raises(WebhookFailed, match="answered 500"):
        post(url, b"{}", notification="n", allowed_hosts=LOCAL)
    with pytest.raises(WebhookFailed, match="redirects are not followed"):
        post(url, b"{}", notification="n", allowed_hosts=LOCAL)
    assert [path for path, _, _ in receiver.received] == ["/", "/"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "2130706433"])
def test_private_addresses_are_blocked_unless_allowed(receiver: Receiver, host: str) -> None:
    with pytest.raises(WebhookFailed):
        post(f"http://{host}:{receiver.port}/", b"{}", notification="n")
    assert receiver.received == []


def test_a_name_is_resolved_once_and_every_address_counts(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        # Another answer for whoever asks a second time: the trick that pinning is against.
        addresses = ["93.184.216.34", "10.0.0.1"] if len(asked) == 1 else ["127.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(WebhookFailed, match=r"10\.0\.0\.1, which is not a public address"):
        post(f"http://example.com:{receiver.port}/", b"{}", notification="n")
    assert asked == ["example.com"]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
     "2002:0a00:0001::", "fec0::1", "::10.0.0.1", "::8.8.8.8", "::ffff:0:10.0.0.1", "::ffff:0:8.8.8.8", "5f00::1",
     "3fff::1", "64:ff9b:1::a00:1", "100::1", "4000::1", "2600::5efe:a00:1", "2600::200:5efe:a00:1", "192.88.99.1",
     "2001:db8::1", "2001::1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_addresses_that_are() -> None:
    assert all(map(is_public, ("93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822")))


def test_tls_is_checked_against_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    receiver = Receiver(context)
    try:
        with pytest.raises(WebhookFailed, match="CERTIFICATE_VERIFY_FAILED"):
            post(f"https://localhost:{receiver.port}/", b"{}", notification="n", allowed_hosts=LOCAL)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert post(f"https://localhost:{receiver.port}/", b"{}", notification="n", allowed_hosts=LOCAL) == "200 OK"
        with pytest.raises(WebhookFailed, match="127"):
            post(f"https://127.0.0.1:{receiver.port}/", b"{}", notification="n", allowed_hosts=LOCAL)
    finally:
        receiver.close()


@pytest.mark.parametrize("url", ["http://example.com/", "ftp://example.com/", "https://u:p@example.com/", "https://"])
def test_settings_take_https_only(settings: Settings, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("NOTIFY_WEBHOOK_OPS__acme", url)
    with pytest.raises(SettingsError, match="NOTIFY_WEBHOOK_OPS__acme"):
        NotifySettings.load()
    if url == "http://example.com/":
        monkeypatch.setenv("WEBHOOK_ALLOWED_HOSTS", "other, Example.com")
        assert NotifySettings.load().webhook_allowed_hosts == {"other", "example.com"}
