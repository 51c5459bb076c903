"""Signing in: a key for a cookie, a key or cookie for a WebSocket's ticket; and the book of changes."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from sqlmodel import Session, select

from serving.auth.principal import COOKIE, needs, public
from serving.dependencies import CurrentPrincipal, DatabaseSession, Moment, Text
from serving.http.errors import Conflict, TooMany, Unauthenticated, problems
from serving.http.pagination import SORT, During, Page, paginate
from storage import access
from storage.access import VALID_FOR, AuditEntry, Principal

router = APIRouter(prefix="/api/v1", tags=["access"])


class SignIn(BaseModel):
    key: Annotated[Text, Field(min_length=1, max_length=500, examples=["ek_…"])]


class WhoPublic(BaseModel):
    """Who asks: the key's name (null where the platform is open), what it may do, the tenant that it is bound to."""

    name: str | None
    role: Literal["read", "operate", "admin"]
    tenant_id: str | None


class WhoAnswer(BaseModel):
    success: Literal[True] = True
    data: WhoPublic


class Ticket(BaseModel):
    """Good for one WebSocket, as `?ticket=`, for as long as `expires_in` seconds."""

    ticket: str
    expires_in: int


class TicketAnswer(BaseModel):
    success: Literal[True] = True
    data: Ticket


class AuditPublic(BaseModel):
    """A change. Of an update, `change` has each field's value before and after."""

    id: int
    at: Moment
    actor: str
    tenant_id: str | None
    request: str
    request_id: str | None
    action: str
    entity: str
    entity_id: str
    change: dict[str, Any]


class AuditList(BaseModel):
    success: Literal[True] = True
    data: list[AuditPublic]
    total: int
    page: int
    page_size: int


class AuditQuery(Page, During):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    actor: Annotated[Text, Field(max_length=100)] | None = None
    entity: Annotated[Text, Field(max_length=63, examples=["devices"])] | None = None
    entity_id: Annotated[Text, Field(max_length=500)] | None = None
    sort: Annotated[Literal["id", "-id"], SORT] = "-id"


@router.post("/session", responses=problems(Unauthenticated, TooMany))
@public
def sign_in(request: Request, response: Response, body: SignIn) -> WhoAnswer:
    """Trade a key for a cookie that scripts cannot read; it lasts 12 hours, or until the key is revoked."""
    state = request.app.state
    address = request.client.host if request.client else ""
    if wait := state.limits.failures.take(address):
        raise TooMany("too many attempts from this address", retry_after=wait)
    with Session(state.engine) as session:
        principal = access.principal_of_key(session, state.settings, body.key)
        if principal is None:
            raise Unauthenticated("the key is unknown, revoked or expired")
        token = access.issue_token(session, principal, "session")
    seconds = int(VALID_FOR["session"].total_seconds())
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, token, max_age=seconds, httponly=True, samesite="lax", secure=secure)
    return _who(principal)


@router.get("/session")
def who_am_i(principal: CurrentPrincipal) -> WhoAnswer:
    """Who asks."""
    return _who(principal)


@router.delete("/session", status_code=204)
@public
def sign_out(request: Request, response: Response) -> None:
    """End the cookie's session."""
    if token := request.cookies.get(COOKIE):
        with Session(request.app.state.engine) as session:
            access.end_token(session, token)
    response.delete_cookie(COOKIE)


@router.post("/session/ticket", responses=problems(Conflict))
@needs("read")
def get_ticket(request: Request, principal: CurrentPrincipal) -> TicketAnswer:
    """A ticket for one WebSocket, where a browser can send neither a header nor this site's cookie."""
    if principal.key_hash is None:
        raise Conflict("nobody has signed in, and no ticket is needed: the platform is open")
    with Session(request.app.state.engine) as session:
        ticket = access.issue_token(session, principal, "ticket")
    return TicketAnswer(data=Ticket(ticket=ticket, expires_in=int(VALID_FOR["ticket"].total_seconds())))


@router.get("/audit")
@needs("admin")
def list_changes(session: DatabaseSession, query: Annotated[AuditQuery, Query()]) -> AuditList:
    """The book of changes, newest first unless sorted otherwise."""
    filters = ("tenant_id", "actor", "entity", "entity_id")
    rows, total = paginate(session, select(AuditEntry), query, *filters, during="at")
    data = [AuditPublic.model_validate(row, from_attributes=True) for row in rows]
    return AuditList(data=data, total=total, page=query.page, page_size=query.page_size)


def _who(principal: Principal) -> WhoAnswer:
    return WhoAnswer(data=WhoPublic(name=principal.name, role=principal.role, tenant_id=principal.tenant_id))
