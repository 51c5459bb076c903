"""Who sends a request, and whether they may: the app runs `authenticate` before every route.

A route needs the role `read` for GET and WebSockets, and `operate` for everything else. `needs("admin")` sets another
role, and `public` lets everybody in. A device in the path must belong to the principal's tenant; otherwise the answer
is 404.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from sqlalchemy.exc import OperationalError
from sqlmodel import Session
from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection

from serving.http.errors import NotFound, Problem, Refused, TooMany, Unauthenticated
from storage import access
from storage.access import ANONYMOUS, SESSION_COOKIE, Principal, Role
from storage.devices import IDENTIFIER, Device
from storage.settings import LOOPBACK, Settings
from web.rate_limits import WRONG_KEYS_AT_ONCE, WRONG_KEYS_PER_SECOND, Buckets, client_network
from web.sites import comes_from_another_site, requested_host

SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, as `Authorization: Bearer KEY`"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE, "description": "From POST /api/v1/session"},
}
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_ROLE = "__required_role__"


class WrongKey(Unauthenticated):
    """The key or ticket is unknown, revoked or expired. A session that has ended is no guess, and does not count."""


class Limits:
    """Rate limits: requests by key or address, and wrong keys by address."""

    def __init__(self, requests_per_second: float) -> None:
        self.requests = Buckets(requests_per_second, 10 * requests_per_second)
        self.failures = Buckets(WRONG_KEYS_PER_SECOND if requests_per_second else 0, WRONG_KEYS_AT_ONCE)

    def failed(self, connection: HTTPConnection, error: WrongKey) -> Problem:
        """Count a request with a wrong key, and return the error to answer with.

        The key was looked up before, so other clients' failures at the same address never refuse a valid key.
        """
        wait = self.failures.take(client_network(connection))
        return (
            TooMany("too many wrong keys came from this address; try again later", retry_after=wait) if wait else error
        )

    def refuse_too_many(self, connection: HTTPConnection, principal: Principal) -> None:
        """Count a request of the principal.

        Raises:
            TooMany: It has sent too many.

        """
        if wait := self.requests.take(principal.name or client_network(connection)):
            raise TooMany("too many requests; slow down (the limit is API_RATE_LIMIT)", retry_after=wait)


def public(endpoint: Endpoint) -> Endpoint:
    """Mark a route that needs no key."""
    setattr(endpoint, _ROLE, None)
    return endpoint


def needs(role: Role) -> Callable[[Endpoint], Endpoint]:
    """Mark a route that needs another role than its method implies."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ROLE, role)
        return endpoint

    return mark


def required_role(endpoint: Any, method: str) -> Role | None:
    """The role that a route needs; None if it is public."""
    by_method: Role = "read" if method in ("GET", "HEAD", "OPTIONS") else "operate"
    role: Role | None = getattr(endpoint, _ROLE, by_method)
    return role


def authenticate(connection: HTTPConnection) -> None:
    """Set `connection.state.principal` to the sender of a request.

    Raises:
        Problem: 401, 403, 404 or 429. A WebSocket is closed with 4000 + that status and the reason instead.

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
    role = required_role(connection.scope.get("endpoint"), method)
    if role is None:
        return
    limits: Limits = connection.app.state.limits
    with Session(connection.app.state.reading) as session:
        try:
            principal = _identified(connection, session)
            if principal is None:
                principal = _anonymous(connection, session)
            elif method not in ("GET", "HEAD") and _cookie(connection) and not _key(connection):
                refuse_silent_sites(connection)
        except WrongKey as error:
            raise limits.failed(connection, error) from None
        limits.refuse_too_many(connection, principal)
        if not principal.may(role):
            raise Refused(f"{principal.name} has the role {principal.role}; this needs the role {role}")
        _refuse_other_tenants(session, principal, connection.path_params.get("device_id"))
    connection.state.principal = principal


def principal_of(request: Request) -> Principal:
    """The sender of the request, as `authenticate` found it."""
    principal: Principal = request.state.principal
    return principal


async def _principal(request: Request) -> Principal:
    return principal_of(request)


CurrentPrincipal = Annotated[Principal, Depends(_principal)]


def principal_if_any(request: Request) -> Principal | None:
    """The sender of a request to a public route; None if it carries no valid key or session."""
    limits: Limits = request.app.state.limits
    try:
        with Session(request.app.state.reading) as session:
            return _identified(request, session)
    except WrongKey as error:
        limits.failed(request, error)
        return None
    except Unauthenticated:
        return None


def _identified(connection: HTTPConnection, session: Session) -> Principal | None:
    """The principal of the request's key, ticket or session cookie; None if it carries none of these.

    Raises:
        Unauthenticated: The session is unknown or has ended, or the header is malformed.
        WrongKey: The key or ticket is unknown, revoked or expired.

    """
    settings: Settings = connection.app.state.settings
    key = _key(connection)
    ticket = connection.query_params.get("ticket") if connection.scope["type"] == "websocket" else None
    cookie = _cookie(connection)
    if key is not None:
        principal = access.principal_of_key(session, settings, key)
    elif ticket is not None:
        principal = access.principal_of_ticket(session, settings, ticket)
        session.commit()
    elif cookie is not None:
        if connection.scope["type"] == "websocket":
            refuse_other_sites(connection)
        principal = access.principal_of_session(session, settings, cookie)
    else:
        return None
    if principal is None and key is None and ticket is None:
        raise Unauthenticated("the session is unknown or has ended; sign in again")
    if principal is None:
        raise WrongKey("the key or ticket is unknown, revoked or expired")
    return principal


def _anonymous(connection: HTTPConnection, session: Session) -> Principal:
    """While the platform has no key, loopback is open; ALLOW_ANONYMOUS opens the other addresses."""
    settings: Settings = connection.app.state.settings
    if not settings.allow_anonymous:
        if settings.energy_admin_key or access.any_keys(session):
            raise Unauthenticated(
                "this needs a key: send Authorization: Bearer KEY or X-API-Key: KEY (`energy keys create` makes keys)"
            )
        if requested_host(connection) not in LOOPBACK:
            raise Unauthenticated("without a key the API answers only under the names 127.0.0.1 and localhost")
    if connection.scope["type"] == "websocket" or connection.scope["method"] not in ("GET", "HEAD"):
        refuse_other_sites(connection)
    return ANONYMOUS


def _key(connection: HTTPConnection) -> str | None:
    authorization = connection.headers.get("authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated("write the header as Authorization: Bearer KEY, or send X-API-Key: KEY")
        return key.strip()
    return connection.headers.get("x-api-key")


def _cookie(connection: HTTPConnection) -> str | None:
    return connection.cookies.get(SESSION_COOKIE)


def refuse_other_sites(connection: HTTPConnection) -> None:
    """Browsers send cookies by themselves: those count for our own pages, and for programs, which send no Origin.

    Raises:
        Refused: The request comes from a page of another site.

    """
    if comes_from_another_site(connection):
        raise Refused("the request comes from a page of another site; send a key in a header instead")


def refuse_silent_sites(connection: HTTPConnection) -> None:
    """A change that the cookie alone allows must say which page it comes from, as every browser does.

    Raises:
        Refused: The request comes from a page of another site, or does not say from which.

    """
    refuse_other_sites(connection)
    if not {"origin", "sec-fetch-site"} & {*connection.headers.keys()}:
        raise Refused(
            "a change with a cookie needs the header Origin, which browsers send; send a key in a header instead"
        )


def _refuse_other_tenants(session: Session, principal: Principal, device_id: str | None) -> None:
    if principal.tenant_id is None or device_id is None or not re.fullmatch(IDENTIFIER, device_id):
        return
    device = session.get(Device, device_id)
    if device is None or device.tenant_id != principal.tenant_id:
        raise NotFound(f"there is no device {device_id}")
