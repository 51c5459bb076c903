"""The first step of every request: the gateway's prefixes, the request id, the size limit of bodies, caching.

Under each prefix the whole app answers as it does at the root, WebSockets and documentation too: the prefix becomes the
request's root path.
"""

import re
from collections.abc import Sequence
from uuid import uuid4

from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

IDENTIFYING_HEADERS = ("Authorization", "X-API-Key", "Cookie")
# The body of a sender who is not known (yet): enough to sign in.
MAX_UNKNOWN_BODY_BYTES = 16 * 1024


class Gateway:
    """ASGI middleware; answers stream through it. `max_body` is in bytes; a route may set less in the state."""

    def __init__(self, app: ASGIApp, prefixes: Sequence[str], max_body: int) -> None:
        self._app = app
        self._prefix = re.compile(rf"({'|'.join(map(re.escape, prefixes))})(?=/)")
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if prefix := self._prefix.match(scope["path"]):
            scope["root_path"] = scope.get("root_path", "") + prefix[1]
        request_id = uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                if location := headers.get("Location"):
                    headers["Location"] = _relative(location, scope)
                headers["X-Content-Type-Options"] = "nosniff"
                # An answer is one client's own, and caches ask again (with its ETag) before they use it.
                headers.setdefault("Cache-Control", "private, no-cache")
                for name in IDENTIFYING_HEADERS:
                    headers.add_vary_header(name)
            await send(message)

        # HEAD is answered as GET; the server knows that it was a HEAD and does not send the body.
        inner = {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope
        await self._app(inner, self._bounded(scope, receive), send_with_headers)
        scope["route"] = inner.get("route")

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """`receive` that raises 413 for a body that is too large, before reading it if its declared length is."""
        declared = Headers(scope=scope).get("content-length", "0")
        expected = int(declared) if declared.isdigit() and len(declared) < 20 else 0
        received = 0

        async def bounded() -> Message:
            nonlocal received
            state = scope["state"]
            limit = (
                min(self._max_body, state.get("max_body", self._max_body))
                if "principal" in state
                else MAX_UNKNOWN_BODY_BYTES
            )
            if max(received, expected) <= limit:
                message = await receive()
                received += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if max(received, expected) > limit:
                raise HTTPException(413, f"the body is larger than {limit} bytes; send it in smaller parts")
            return message

        return bounded


def _relative(location: str, scope: Scope) -> str:
    """A redirect to another path of the API, without the host: the client's `Host` may name anybody's."""
    url = URL(scope=scope)
    here = f"{url.scheme}://{url.netloc}/"
    # Browsers take what begins with two slashes for a host.
    return f"/{location.removeprefix(here).lstrip('/')}" if location.startswith(here) else location


async def expect_json(connection: HTTPConnection) -> None:
    """Check that the body of a request is JSON if its route reads one.

    Raises:
        HTTPException: 415; it is not.

    """
    if getattr(connection.scope.get("route"), "body_field", None) is None:
        return
    media_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = connection.headers.get("content-length", "0") != "0" or "transfer-encoding" in connection.headers
    if has_body and media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(415, "send the body as JSON, with Content-Type: application/json")
