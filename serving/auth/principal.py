"""Who asks, and whether they may: asked before every route, since the app itself depends on `authenticate`.

A route needs the role `read` for GET and for WebSockets, `operate` for everything else; `needs("admin")` says
otherwise, and `public` lets in whoever comes. A device in a path belongs to the principal's tenant, or is not there.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from fastapi import Request
from sqlalchemy.exc import OperationalError
from sqlmodel import Session
from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection

from serving.http.errors import NotFound, Problem, Refused, TooMany, Unauthenticated
from serving.http.rate_limits import Limits
from storage import access
from storage.access import ANONYMOUS, Principal, Role
from storage.devices import IDENTIFIER, Device
from storage.settings import LOOPBACK, Settings

COOKIE = "energy_session"
PUBLIC = "public"
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_NEEDED = "__needed_role__"


def public(endpoint: Endpoint) -> Endpoint:
    """Mark a route that needs no key."""
    setattr(endpoint, _NEEDED, PUBLIC)
    return endpoint


def needs(role: Role) -> Callable[[Endpoint], Endpoint]:
    """Mark a route that needs another role than its method says."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _NEEDED, role)
        return endpoint

    return mark


def needed_role(endpoint: Any, method: str) -> str:
    """The role that a route asks for, or `PUBLIC`."""
    by_method: Role = "read" if method in ("GET", "HEAD", "OPTIONS") else "operate"
    return str(getattr(endpoint, _NEEDED, by_method))


def authenticate(connection: HTTPConnection) -> None:
    """Put the principal's `Principal` into `connection.state.principal`.

    Raises:
        Problem: 401, 403, 404 or 429; a WebSocket is closed with 4000 + that and the reason instead.

    """
    try:
        _authenticate(connection)
    except Problem as problem:
        if connection.scope["type"] == "websocket":
            raise WebSocketException(4000 + problem.status, problem.detail) from None
        raise
    except OperationalError:
        if connection.scope["type"] == "websocket":
            raise WebSocketException(1013, "the database does not answer; try again in a moment") from None
        raise


def _authenticate(connection: HTTPConnection) -> None:
    method = connection.scope.get("method", "GET")
    needed = needed_role(connection.scope.get("endpoint"), method)
    if needed == PUBLIC:
        return
    limits: Limits = connection.app.state.limits
    address = connection.client.host if connection.client else ""
    if limits.failures.empty(address):
        raise TooMany("too many wrong keys came from this address; try again in a minute", retry_after=60)
    with Session(connection.app.state.reading) as session:
        try:
            principal = known(connection, session)
            if principal is None:
                principal = _nobody(connection, session)
            elif method not in ("GET", "HEAD") and _cookie(connection) and not _headers_key(connection):
                _same_origin(connection)
        except Unauthenticated:
            limits.failures.take(address)
            raise
        wait = limits.requests.take(principal.name or address)
        if wait:
            raise TooMany("too many requests at once; slow down (API_RATE_LIMIT)", retry_after=wait)
        if not principal.may(next(role for role in access.ROLES if role == needed)):
            raise Refused(f"the key {principal.name} has the role {principal.role}, this needs {needed}")
        _visible(session, principal, connection.path_params.get("device_id"))
    connection.state.principal = principal


def known(connection: HTTPConnection, session: Session) -> Principal | None:
    """Whom the request's key, session cookie or ticket names; None when it carries none.

    Raises:
        Unauthenticated: it carries one that is wrong, revoked or expired.

    """
    settings: Settings = connection.app.state.settings
    key = _headers_key(connection)
    ticket = connection.query_params.get("ticket") if connection.scope["type"] == "websocket" else None
    cookie = _cookie(connection)
    if key is not None:
        found = access.principal_of_key(session, settings, key)
    elif ticket is not None:
        found = access.principal_of_token(session, settings, "ticket", ticket)
    elif cookie is not None:
        if connection.scope["type"] == "websocket":
            _same_origin(connection)
        found = access.principal_of_token(session, settings, "session", cookie)
    else:
        return None
    if found is None:
        raise Unauthenticated("the key, session or ticket is unknown, revoked or expired")
    return found


def _nobody(connection: HTTPConnection, session: Session) -> Principal:
    """Without any key in the platform, loopback is open; ALLOW_ANONYMOUS opens the rest."""
    settings: Settings = connection.app.state.settings
    if not settings.allow_anonymous:
        if settings.energy_admin_key or access.any_keys(session):
            raise Unauthenticated("give a key: Authorization: Bearer … or X-API-Key (`energy keys create` makes one)")
        # A page of another site that has its name point to 127.0.0.1 still sends its own name.
        if _address(f"//{connection.headers.get('host', '')}").hostname not in LOOPBACK:
            raise Unauthenticated("without a key the API answers on 127.0.0.1 and localhost only, by these names")
    if connection.scope["type"] == "websocket" or connection.scope["method"] not in ("GET", "HEAD"):
        _same_origin(connection)
    return ANONYMOUS


def _headers_key(connection: HTTPConnection) -> str | None:
    authorization = connection.headers.get("authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated("write the header as Authorization: Bearer KEY, or send X-API-Key: KEY")
        return key.strip()
    return connection.headers.get("x-api-key")


def _cookie(connection: HTTPConnection) -> str | None:
    return connection.cookies.get(COOKIE)


def _same_origin(connection: HTTPConnection) -> None:
    """What a browser sends by itself counts for pages of our own only, and for programs, which send no Origin."""
    origin = connection.headers.get("origin")
    site = connection.headers.get("sec-fetch-site", "same-origin")
    ours = origin is None or _address(origin).netloc == connection.headers.get("host")
    if not ours or site not in ("same-origin", "none"):
        raise Refused("the request comes from a page of another site; send a key in its header instead")


def _address(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


def _visible(session: Session, principal: Principal, device_id: str | None) -> None:
    if principal.tenant_id is None or device_id is None or not re.fullmatch(IDENTIFIER, device_id):
        return
    device = session.get(Device, device_id)
    if device is None or device.tenant_id != principal.tenant_id:
        raise NotFound(f"there is no device {device_id}")


def principal_of(request: Request) -> Principal:
    """Who asks, as `authenticate` found out."""
    principal: Principal = request.state.principal
    return principal


def who_if_any(request: Request) -> Principal | None:
    """On a public route: who asks, if they say so rightly."""
    with suppress(Unauthenticated), Session(request.app.state.reading) as session:
        return known(request, session)
    return None
