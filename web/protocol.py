"""What a connection may send before anybody knows whose it is: so much, so slowly, and so many at a time.

The server's own HTTP protocol has no such limits. A request that breaks one is answered and its connection closed.
"""

import asyncio
from collections import Counter
from http import HTTPStatus
from ipaddress import ip_address, ip_network

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

# The request line and all headers together.
MAX_HEAD_BYTES = 32 * 1024
MAX_URL_BYTES = 16 * 1024
MAX_HEADERS = 100
# A connection that was opened sends its first request within this time, and a head that has begun is complete.
HEAD_TIMEOUT_SECONDS = 20.0
# Enough for the largest body over a slow line (0.5 Mbit/s).
BODY_TIMEOUT_SECONDS = 120.0
# Connections of one address that are open at once; neither streams (WebSockets) nor trusted proxies are limited.
MAX_CONNECTIONS_PER_ADDRESS = 500

Refusal = tuple[HTTPStatus, str]
TOO_MANY = (HTTPStatus.SERVICE_UNAVAILABLE, "too many connections from this address; close some and try again")
LONG_URL = (HTTPStatus.REQUEST_URI_TOO_LONG, f"the URL is longer than {MAX_URL_BYTES} bytes")
LARGE_HEAD = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"the headers have more than {MAX_HEAD_BYTES} bytes, or are more than {MAX_HEADERS}",
)
NO_HOST = (HTTPStatus.BAD_REQUEST, "send the header Host, once")
SLOW_HEAD = (HTTPStatus.REQUEST_TIMEOUT, f"the headers did not arrive within {HEAD_TIMEOUT_SECONDS:.0f} s")
SLOW_BODY = (HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {BODY_TIMEOUT_SECONDS:.0f} s")

_open: Counter[str] = Counter()


class BoundedHttp(HttpToolsProtocol):
    """The server's HTTP/1.1 with limits of size, time and number."""

    _counted: str | None = None
    _timer: asyncio.TimerHandle | None = None
    _refusal: Refusal | None = None
    # Bytes of this head so far, and bytes that the parser has taken since it last told us of something.
    _head = 0
    _untold = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if _open[address] >= MAX_CONNECTIONS_PER_ADDRESS and not self._is_proxy(address):
            self._refuse(TOO_MANY)
            return
        self._counted = address
        _open[address] += 1
        self._allow(HEAD_TIMEOUT_SECONDS, SLOW_HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        if self._refusal:
            return
        self._leave()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        if self._refusal:
            return
        self._untold += len(data)
        super().data_received(data)
        if self._head + self._untold > MAX_HEAD_BYTES:
            self._refuse(LARGE_HEAD)

    def on_message_begin(self) -> None:
        self._head = self._untold = 0
        self._allow(HEAD_TIMEOUT_SECONDS, SLOW_HEAD)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._tell(len(url))
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._refuse(LONG_URL)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._tell(len(name) + len(value))
        if self._head > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            self._refuse(LARGE_HEAD)
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._tell(0)
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() != "1.0"):
            self._refuse(NO_HOST)
        if not self._refusal:
            self._allow(BODY_TIMEOUT_SECONDS, SLOW_BODY)
            super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._tell(0)

    def on_chunk_complete(self) -> None:
        self._tell(0)

    def on_body(self, body: bytes) -> None:
        self._tell(0)
        if not self._refusal:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refusal:
            self._stop_timer()
            super().on_message_complete()

    def _is_proxy(self, address: str) -> bool:
        """Whether TRUSTED_PROXIES names the address: its connections carry many clients' requests."""
        trusted = self.config.forwarded_allow_ips
        return isinstance(trusted, list) and any(ip_address(address) in ip_network(network) for network in trusted)

    def _tell(self, head_bytes: int) -> None:
        self._head += head_bytes
        self._untold = 0

    def _allow(self, seconds: float, refusal: Refusal) -> None:
        """Refuse the connection unless what it sends now is complete after so many seconds."""
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._refuse, refusal)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, refusal: Refusal) -> None:
        if self._refusal or self.transport.is_closing():
            return
        self._refusal = refusal
        self._stop_timer()
        status, detail = refusal
        is_answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        # Who has sent nothing gets no answer: it would be taken for the answer to what is sent next.
        if (self._head or self._untold or status is HTTPStatus.SERVICE_UNAVAILABLE) and not is_answering:
            problem = {"success": False, "type": "about:blank", "title": status.phrase, "status": status}
            body = msgspec.json.encode(problem | {"detail": detail, "errors": [], "request_id": None})
            head = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()

    def _leave(self) -> None:
        self._stop_timer()
        if self._counted is not None:
            _open[self._counted] -= 1
            if not _open[self._counted]:
                del _open[self._counted]
            self._counted = None
