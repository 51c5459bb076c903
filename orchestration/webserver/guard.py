"""The guard in front of Dagster's webserver, which has no logins and obeys every page that a browser shows.

| asks | gets in |
| --- | --- |
| a process of the platform | with the internal secret |
| while the platform has no key | under the names 127.0.0.1 and localhost |
| once it has keys | with a key, or the session that one opened, of the role operate or admin and of no tenant |

Whoever gets in changes things from a page of this site only, and never by GET. Wrong keys are limited by address.
"""

import asyncio
import hmac
import logging
from html import escape
from urllib.parse import parse_qs

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage import access
from storage.access import SESSION_COOKIE, VALID_FOR, Principal
from storage.secret_files import INTERNAL_HEADER, internal_headers
from storage.settings import LOOPBACK, Settings
from web.rate_limits import WRONG_KEYS_AT_ONCE, WRONG_KEYS_PER_SECOND, Buckets, client_network
from web.sites import comes_from_another_site, requested_host

SIGN_IN_PATH = "/energy/sign-in"
MAX_SIGN_IN_BYTES = 4096
WRONG_KEY_SECONDS = 1.0
# Dagster raises when what these name does not exist, or lies elsewhere.
FILES = ("/logs/", "/download_debug/", "/notebook")
NEEDS_A_KEY = "Dagster's pages need a key of the role operate or admin that is not bound to a tenant."
PAGE = """<!doctype html><html lang="en"><title>Dagster: sign in</title>
<style>body{{font:16px system-ui;max-width:26rem;margin:20vh auto;padding:0 1rem}}
input,button{{font:inherit;padding:.5rem;width:100%;box-sizing:border-box;margin-top:.5rem}}</style>
<h1>Sign in</h1><p>{message}</p>
<form method="post" action="{path}"><label>Key
<input name="key" type="password" autocomplete="current-password" autofocus required></label>
<button>Sign in</button></form></html>"""


log = logging.getLogger(__name__)


class _WrongKey(Exception):
    """The key is unknown, revoked or expired."""


class Guard:
    """ASGI middleware around the webserver's app."""

    def __init__(self, app: ASGIApp, settings: Settings, engine: Engine) -> None:
        self._app = app
        self._settings = settings
        self._secret = internal_headers(settings)[INTERNAL_HEADER]
        self._engine = engine
        self._failures = Buckets(WRONG_KEYS_PER_SECOND, WRONG_KEYS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._is_internal(connection := HTTPConnection(scope)):
            await self._app(scope, receive, send)
            return
        try:
            refusal = await self._refusal(connection, Request(scope, receive) if scope["type"] == "http" else None)
        except OperationalError:
            refusal = PlainTextResponse("The database does not answer. Try again in a moment.", 503)
        except ClientDisconnect:
            return
        if refusal is None and connection.scope["path"].startswith(FILES):
            await self._send_file(scope, receive, _unframed(send))
        elif refusal is None:
            await self._app(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4000 + refusal.status_code})
        else:
            refusal.headers["Cache-Control"] = "no-store"
            await refusal(scope, receive, send)

    async def _send_file(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request for a file on; 404 if Dagster fails before it answers."""
        has_failed = False

        async def send_unless_failed(message: Message) -> None:
            nonlocal has_failed
            has_failed |= message["type"] == "http.response.start" and message["status"] == 500
            if not has_failed:
                await send(message)

        try:
            await self._app(scope, receive, send_unless_failed)
        except Exception as error:
            if not has_failed:
                raise
            log.info("Dagster has no %s: %s", scope["path"], error)
        if has_failed:
            await PlainTextResponse("There is no such file.", 404)(scope, receive, send)

    def _is_internal(self, connection: HTTPConnection) -> bool:
        return hmac.compare_digest(connection.headers.get(INTERNAL_HEADER, "").encode(), self._secret.encode())

    async def _refusal(self, connection: HTTPConnection, request: Request | None) -> Response | None:
        """The answer to a request that does not get in; None if it does."""
        is_read = request is not None and request.method in ("GET", "HEAD")
        wants_page = is_read and "text/html" in connection.headers.get("accept", "")
        if not is_read and comes_from_another_site(connection):
            return PlainTextResponse("The request comes from a page of another site.", 403)
        if request is not None and request.method == "POST" and request.scope["path"] == SIGN_IN_PATH:
            return await self._sign_in(request)
        try:
            reason = await run_in_threadpool(self._closed_to, connection)
        except _WrongKey:
            return self._failed(connection) or PlainTextResponse(NEEDS_A_KEY, 401)
        if reason:
            return _page(reason) if wants_page else PlainTextResponse(reason, 401)
        # Dagster runs mutations that come by GET. Its page for queries by hand is the only thing to get there.
        if is_read and connection.scope["path"] == "/graphql" and not wants_page:
            return PlainTextResponse("Send GraphQL by POST.", 405, {"Allow": "POST"})
        return None

    def _failed(self, connection: HTTPConnection) -> Response | None:
        """Count a wrong key; the answer if too many came from the address. Valid keys are looked up before."""
        wait = self._failures.take(client_network(connection))
        text = "Too many wrong keys came from this address. Try again later."
        return PlainTextResponse(text, 429, {"Retry-After": str(wait)}) if wait else None

    def _closed_to(self, connection: HTTPConnection) -> str | None:
        """Why the sender of a request does not get in; None if it does.

        Raises:
            _WrongKey: It sends a key that is unknown, revoked or expired.

        """
        with Session(self._engine) as session:
            principal = _principal(session, self._settings, connection)
            if principal is not None:
                return None if _may_use_dagster(principal) else NEEDS_A_KEY
            if self._settings.energy_admin_key or access.any_keys(session):
                return NEEDS_A_KEY
        is_here = requested_host(connection) in LOOPBACK
        return None if is_here else "While the platform has no key, use the name 127.0.0.1 or localhost."

    async def _sign_in(self, request: Request) -> Response:
        """Open a session with the key of the form."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_SIGN_IN_BYTES:
                return PlainTextResponse("The form is too large.", 413)
        key = parse_qs(body.decode(errors="replace")).get("key", [""])[0].strip()
        token = await run_in_threadpool(self._open_session, key)
        if token is None:
            if refusal := self._failed(request):
                return refusal
            await asyncio.sleep(WRONG_KEY_SECONDS)
            return _page(f"This key is unknown, or not enough. {NEEDS_A_KEY}")
        response = RedirectResponse("/", 303)
        response.set_cookie(
            SESSION_COOKIE,
            token,
            max_age=int(VALID_FOR["session"].total_seconds()),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response

    def _open_session(self, key: str) -> str | None:
        with Session(self._engine) as session:
            principal = access.principal_of_key(session, self._settings, key)
            if principal is None or not _may_use_dagster(principal):
                return None
            token = access.issue_token(session, principal, "session")
            session.commit()
            return token


def _principal(session: Session, settings: Settings, connection: HTTPConnection) -> Principal | None:
    """Who sends the request, by its key or session; None if it carries no key and no valid session.

    Raises:
        _WrongKey: The key is unknown, revoked or expired.

    """
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    key = key.strip() if scheme.lower() == "bearer" else connection.headers.get("x-api-key", "")
    if key:
        principal = access.principal_of_key(session, settings, key)
        if principal is None:
            raise _WrongKey
        return principal
    cookie = connection.cookies.get(SESSION_COOKIE)
    return access.principal_of_session(session, settings, cookie) if cookie else None


def _may_use_dagster(principal: Principal) -> bool:
    """Dagster shows and runs what belongs to all tenants."""
    return principal.may("operate") and principal.tenant_id is None


def _unframed(send: Send) -> Send:
    """`send` for answers that no page of another site may show in a frame of its own, where clicks could be led to."""

    async def send_unframed(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Frame-Options"] = "SAMEORIGIN"
        await send(message)

    return send_unframed


def _page(message: str) -> Response:
    return HTMLResponse(PAGE.format(message=escape(message), path=SIGN_IN_PATH), 401)
