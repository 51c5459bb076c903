"""Sessions for browsers, tickets for WebSockets, and the audit log."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlmodel import Session

from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import CurrentPrincipal, Limits, WrongKey, needs, public, refuse_other_sites
from serving.auth.schemas import (
    AuditPublic,
    AuditQuery,
    PrincipalAnswer,
    PrincipalPublic,
    SignIn,
    Ticket,
    TicketAnswer,
)
from serving.auth.tenancy import DatabaseSession
from serving.http.errors import Conflict, Refused, TooMany, Unauthenticated, problems
from serving.http.pagination import Page, paginate
from storage import access
from storage.access import SESSION_COOKIE, VALID_FOR, AuditEntry, Principal

router = APIRouter(prefix="/api/v1", tags=["access"], route_class=IdentifiedRoute)


async def _not_stored(response: Response) -> None:
    """Keep answers about keys, sessions and tickets out of every cache."""
    response.headers["Cache-Control"] = "no-store"


NOT_STORED = [Depends(_not_stored)]


@router.post("/session", responses=problems(Unauthenticated, TooMany), dependencies=NOT_STORED)
@public
def sign_in(request: Request, response: Response, body: SignIn) -> PrincipalAnswer:
    """Exchange a key for a session cookie that scripts cannot read.

    The session lasts 12 hours, with the role `read` as long as a page is open, or until the key is revoked.
    """
    state = request.app.state
    limits: Limits = state.limits
    with Session(state.engine) as session:
        principal = access.principal_of_key(session, state.settings, body.key)
        if principal is None:
            raise limits.failed(request, WrongKey("the key is unknown, revoked or expired"))
        limits.refuse_too_many(request, principal)
        token = access.issue_token(session, principal, "session")
        session.commit()
    _set_cookie(request, response, token)
    return _answer(principal)


def stay_signed_in(request: Request, response: Response, principal: Principal) -> None:
    """Let the cookie's session last for another 12 hours from now."""
    token = request.cookies[SESSION_COOKIE]
    with Session(request.app.state.engine) as session:
        is_extended = access.extend_session(session, principal, token)
        session.commit()
    if is_extended:
        _set_cookie(request, response, token)


@router.get("/session", dependencies=NOT_STORED)
def who_am_i(principal: CurrentPrincipal) -> PrincipalAnswer:
    """The sender of this request: name, role and tenant."""
    return _answer(principal)


@router.delete("/session", status_code=204, responses=problems(Refused), dependencies=NOT_STORED)
@public
def sign_out(request: Request, response: Response) -> None:
    """End the cookie's session."""
    if token := request.cookies.get(SESSION_COOKIE):
        refuse_other_sites(request)
        with Session(request.app.state.engine) as session:
            access.end_token(session, token)
            session.commit()
    response.delete_cookie(SESSION_COOKIE)


@router.post("/session/ticket", responses=problems(Conflict), dependencies=NOT_STORED)
@needs("read")
def get_ticket(request: Request, principal: CurrentPrincipal) -> TicketAnswer:
    """Create a ticket for one WebSocket, for browsers that can send neither a header nor this site's cookie."""
    if principal.key_hash is None:
        raise Conflict("the platform is open and the request has no key; connect without a ticket")
    with Session(request.app.state.engine) as session:
        ticket = access.issue_token(session, principal, "ticket")
        session.commit()
    return TicketAnswer(data=Ticket(ticket=ticket, expires_in=int(VALID_FOR["ticket"].total_seconds())))


@router.get("/audit")
@needs("admin")
def list_changes(session: DatabaseSession, query: Annotated[AuditQuery, Query()]) -> Page[AuditPublic]:
    """List changes from the audit log, newest first by default."""
    filters = ("tenant_id", "actor", "entity", "entity_id")
    found = paginate(session, AuditEntry, query, *filters, during="at")
    items = [AuditPublic.model_validate(row, from_attributes=True) for row in found.rows]
    return Page[AuditPublic].of(query, items, found)


def _set_cookie(request: Request, response: Response, token: str) -> None:
    seconds = int(VALID_FOR["session"].total_seconds())
    is_secure = request.url.scheme == "https"
    response.set_cookie(SESSION_COOKIE, token, max_age=seconds, httponly=True, samesite="lax", secure=is_secure)


def _answer(principal: Principal) -> PrincipalAnswer:
    data = PrincipalPublic(name=principal.name, role=principal.role, tenant_id=principal.tenant_id)
    return PrincipalAnswer(data=data)
