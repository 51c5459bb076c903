"""API keys over REST, for administrators. The first key is made with `energy keys create`."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field, field_validator

from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import CurrentPrincipal, needs
from serving.auth.routes import NOT_STORED
from serving.auth.tenancy import DatabaseSession, RequestSession
from serving.devices.schemas import DeviceId
from serving.http.errors import Conflict, NotFound, Refused, problems
from serving.http.fields import NAME, UNQUOTED, Moment, Text
from storage import access
from storage.access import ADMIN_KEY_NAME, ApiKey, Role
from storage.times import utc_now

router = APIRouter(prefix="/api/v1/keys", tags=["access"], route_class=IdentifiedRoute, dependencies=NOT_STORED)

KeyName = Annotated[Text, Field(min_length=1, max_length=100, examples=["shift-leader"]), NAME]


class KeyCreate(BaseModel):
    """A new key. Without `tenant_id` it sees all tenants, without `days` it does not expire."""

    name: KeyName
    role: Role = "read"
    tenant_id: DeviceId | None = None
    days: Annotated[int, Field(ge=1, le=3650), UNQUOTED] | None = None

    @field_validator("name")
    @classmethod
    def _is_printable(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("has a character that cannot be seen; use printable characters")
        return name


class KeyToRevoke(BaseModel):
    name: KeyName


class KeyPublic(BaseModel):
    """A key without its secret, which nobody can read again."""

    name: str
    role: Role
    tenant_id: str | None
    status: Literal["valid", "expired", "revoked"]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None

    @classmethod
    def of(cls, key: ApiKey) -> "KeyPublic":
        is_expired = key.expires_at is not None and key.expires_at <= utc_now()
        status = "revoked" if key.revoked_at else "expired" if is_expired else "valid"
        return cls.model_validate({**key.model_dump(), "status": status})


class KeyList(BaseModel):
    success: Literal[True] = True
    data: list[KeyPublic]


class NewKey(KeyPublic):
    secret: str = Field(description="Shown this once: the platform keeps only its hash")


class NewKeyAnswer(BaseModel):
    success: Literal[True] = True
    data: NewKey


class KeyAnswer(BaseModel):
    success: Literal[True] = True
    data: KeyPublic


@router.get("")
@needs("admin")
def list_keys(session: DatabaseSession) -> KeyList:
    """List keys by name, revoked and expired ones too; a tenant's administrator sees the tenant's."""
    return KeyList(data=[KeyPublic.of(key) for key in access.list_keys(session)])


@router.post("", status_code=201, responses=problems(Conflict))
@needs("admin")
def create_key(session: DatabaseSession, principal: CurrentPrincipal, body: KeyCreate) -> NewKeyAnswer:
    """Create a key and show its secret, this once. A tenant's administrator creates keys of the tenant."""
    if principal.name is None:
        raise Refused(
            "the platform is open, and its first key closes it; create that one with `energy keys create` on the server"
        )
    if body.name == ADMIN_KEY_NAME or access.name_is_taken(session, body.name):
        raise Conflict(f"a key named {body.name} exists or existed; choose another name", field="name")
    valid = timedelta(days=body.days) if body.days else None
    tenant_id = body.tenant_id or principal.tenant_id
    secret = access.create_key(session, body.name, body.role, tenant_id, valid)
    assert isinstance(session, RequestSession)  # noqa: S101 - every route's session is one
    session.record("create", "api_keys", body.name, tenant_id, {"role": body.role, "days": body.days})
    session.flush()
    key = session.get_one(ApiKey, body.name)
    session.commit()
    return NewKeyAnswer(data=NewKey(**KeyPublic.of(key).model_dump(), secret=secret))


@router.post("/revoke", responses=problems(NotFound, Conflict))
@needs("admin")
def revoke_key(session: DatabaseSession, principal: CurrentPrincipal, body: KeyToRevoke) -> KeyAnswer:
    """End a key and its sessions, at once and for good."""
    key = session.get(ApiKey, body.name)
    if key is None:
        raise NotFound(f"there is no key {body.name}; GET /api/v1/keys lists the keys")
    if key.name == principal.name:
        raise Conflict("this request uses the key itself; revoke it with another key, or with `energy keys revoke`")
    access.revoke_key(session, body.name)
    assert isinstance(session, RequestSession)  # noqa: S101 - every route's session is one
    session.record("update", "api_keys", body.name, key.tenant_id, {"revoked_at": key.revoked_at})
    session.commit()
    return KeyAnswer(data=KeyPublic.of(key))
