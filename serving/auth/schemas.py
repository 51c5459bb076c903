"""Requests and answers about access: sessions, tickets, the audit log."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from serving.http.fields import Moment, Text
from serving.http.pagination import SORT, CursorQuery, TimeRangeQuery


class SignIn(BaseModel):
    key: Annotated[Text, Field(min_length=1, max_length=500, examples=["ek_…"])]


class PrincipalPublic(BaseModel):
    """The sender: the key's name (null if the platform is open), its role, and the tenant it is bound to."""

    name: str | None
    role: Literal["read", "operate", "admin"]
    tenant_id: str | None


class PrincipalAnswer(BaseModel):
    success: Literal[True] = True
    data: PrincipalPublic


class Ticket(BaseModel):
    """A ticket for one WebSocket, sent as `?ticket=`; valid for `expires_in` seconds."""

    ticket: str
    expires_in: int


class TicketAnswer(BaseModel):
    success: Literal[True] = True
    data: Ticket


class AuditPublic(BaseModel):
    """A change. For an update, `change` has each field's old and new value."""

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


class AuditQuery(CursorQuery, TimeRangeQuery):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    actor: Annotated[Text, Field(max_length=100)] | None = None
    entity: Annotated[Text, Field(max_length=63, examples=["devices"])] | None = None
    entity_id: Annotated[Text, Field(max_length=500)] | None = None
    sort: Annotated[Literal["id", "-id"], SORT] = "-id"
