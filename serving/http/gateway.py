"""What every request passes first: the gateway's prefixes, its id, the size limit of bodies.

Clients of the six services reach them under `/backend/{service}/…`; the prefix is a root path of the one app, so that
whatever it serves, WebSockets and documentation among it, is there as well.
"""

import re
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SERVICES = ("device", "data", "rule-engine", "analytics", "data-export", "reporting")
PREFIX = re.compile(rf"(/backend/(?:{'|'.join(SERVICES)}))(?=/)")


class Gateway:
    """The outermost part of the app; plain ASGI, so that answers stream through it."""

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if prefix := PREFIX.match(scope["path"]):
            scope["root_path"] = scope.get("root_path", "") + prefix[1]
        request_id = uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        # HEAD is a GET whose body the server keeps to itself, since it still knows that it was a HEAD.
        inner = {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope
        await self._app(inner, self._bounded(scope, receive), named)
        scope["route"] = inner.get("route")

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Stops reading a body that is too large; what it says of its length is believed when it is too much."""
        declared = Headers(scope=scope).get("content-length", "0")
        received = int(declared) if declared.isdigit() and int(declared) > self._max_body else 0

        async def bounded() -> Message:
            nonlocal received
            if received <= self._max_body:
                message = await receive()
                received += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if received > self._max_body:
                raise HTTPException(413, f"the body is larger than {self._max_body} bytes; send less at once")
            return message

        return bounded


async def expect_json(connection: HTTPConnection) -> None:
    """Refuse a body that says it is no JSON, where a route reads one.

    Raises:
        HTTPException: 415.

    """
    if getattr(connection.scope.get("route"), "body_field", None) is None:
        return
    media_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = connection.headers.get("content-length", "0") != "0" or "transfer-encoding" in connection.headers
    if has_body and media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(415, "send the body as JSON, with Content-Type: application/json")
