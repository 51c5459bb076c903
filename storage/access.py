"""Who may do what: API keys, the sessions and tickets that they open, and the audit log.

Only the SHA-256 of a secret is stored. Secrets have 256 random bits, so a slower hash would add nothing.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from sqlalchemy import BigInteger, Identity as RowNumber, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, Session, SQLModel, Text, col, delete, select, update

from storage.database import Timestamp
from storage.settings import Settings
from storage.times import utc_now

Role = Literal["read", "operate", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
TokenKind = Literal["session", "ticket"]

SESSION_COOKIE = "energy_session"
KEY_PREFIX = "ek_"
ADMIN_KEY_NAME = "ENERGY_ADMIN_KEY"
VALID_FOR: dict[TokenKind, timedelta] = {"session": timedelta(hours=12), "ticket": timedelta(seconds=30)}


class ApiKey(SQLModel, table=True):
    """A key and what it may do; without a tenant it sees all tenants. Revoked keys stay, for the audit log."""

    __tablename__ = "api_keys"

    name: str = Field(primary_key=True, max_length=100)
    key_hash: str = Field(unique=True, max_length=64)
    role: str = Field(max_length=10)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    created_at: datetime = Timestamp(default_factory=utc_now)
    expires_at: datetime | None = Timestamp(default=None)
    revoked_at: datetime | None = Timestamp(default=None)


class AccessToken(SQLModel, table=True):
    """A token that a key opened: a browser's session, or a ticket for one WebSocket."""

    __tablename__ = "access_tokens"

    token_hash: str = Field(primary_key=True, max_length=64)
    kind: str = Field(max_length=10)
    key_hash: str = Field(max_length=64)
    expires_at: datetime = Timestamp(index=True)


class AuditEntry(SQLModel, table=True):
    """A change: who made it (`actor`, the key's name), when, by which request, to which row, and what changed."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("audit_log_of", "entity", "entity_id"),)

    id: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[RowNumber()], primary_key=True)
    at: datetime = Timestamp(default_factory=utc_now, index=True)
    actor: str = Field(max_length=100)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    request: str = Field(sa_type=Text)
    request_id: str | None = Field(default=None, max_length=64)
    action: str = Field(max_length=10)
    entity: str = Field(max_length=63)
    entity_id: str = Field(sa_type=Text)
    change: dict[str, Any] = Field(sa_type=JSONB)


@dataclass(frozen=True)
class Principal:
    """Who sends a request. Without a `name` it is anonymous: the platform is open to everybody who reaches it."""

    name: str | None
    role: Role
    tenant_id: str | None = None
    key_hash: str | None = None

    def may(self, needed: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(needed)


ANONYMOUS = Principal(None, "admin")


class NameTaken(Exception):
    """A key with this name exists or existed."""


def create_key(
    session: Session, name: str, role: Role, tenant_id: str | None = None, valid: timedelta | None = None
) -> str:
    """Create a key and return its secret, which is stored nowhere.

    Raises:
        NameTaken: A key with this name exists or existed.

    """
    if session.get(ApiKey, name):
        raise NameTaken(f"a key named {name!r} exists or existed; choose another name to keep the audit log clear")
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    expires_at = utc_now() + valid if valid else None
    session.add(ApiKey(name=name, key_hash=hash_of(secret), role=role, tenant_id=tenant_id, expires_at=expires_at))
    return secret


def revoke_key(session: Session, name: str) -> bool:
    """End a key and its sessions; False if there is no key with this name."""
    key = session.get(ApiKey, name)
    if key is None:
        return False
    key.revoked_at = key.revoked_at or utc_now()
    session.exec(delete(AccessToken).where(col(AccessToken.key_hash) == key.key_hash))
    return True


def list_keys(session: Session) -> Sequence[ApiKey]:
    """All keys by name, the revoked and expired ones too."""
    return session.exec(select(ApiKey).order_by(ApiKey.name)).all()


def keys_of_others(session: Session, names: Collection[str], tenant_id: str) -> frozenset[str]:
    """Those of the names that are keys of other tenants; keys of all tenants are not among them."""
    others = select(ApiKey.name).where(col(ApiKey.name).in_(names), col(ApiKey.tenant_id) != tenant_id)
    # On the connection: a request's session sees the keys of its own tenant only.
    return frozenset(session.connection().execute(others).scalars())


def name_is_taken(session: Session, name: str) -> bool:
    """Whether a key has or had this name, of whichever tenant."""
    # On the connection: a request's session sees the keys of its own tenant only.
    return session.connection().execute(select(ApiKey.name).where(ApiKey.name == name)).first() is not None


def any_keys(session: Session) -> bool:
    """Whether a key was ever created; from then on nobody is let in without one."""
    return session.exec(select(ApiKey.name).limit(1)).first() is not None


def principal_of_key(session: Session, settings: Settings, secret: str) -> Principal | None:
    """The principal of a key; None if the key is unknown, revoked or expired."""
    return _principal(session, settings, hash_of(secret))


def principal_of_session(session: Session, settings: Settings, token: str) -> Principal | None:
    """The principal of a browser's session; None if it is unknown or expired."""
    known = select(AccessToken.key_hash, AccessToken.expires_at)
    row = session.exec(
        known.where(AccessToken.token_hash == hash_of(token), col(AccessToken.kind) == "session")
    ).first()
    return _principal(session, settings, row[0]) if row and row[1] > utc_now() else None


def principal_of_ticket(session: Session, settings: Settings, token: str) -> Principal | None:
    """The principal of a ticket, which this uses up; None if it is unknown, used or expired."""
    used = delete(AccessToken).where(col(AccessToken.token_hash) == hash_of(token), col(AccessToken.kind) == "ticket")
    row = session.exec(used.returning(col(AccessToken.key_hash), col(AccessToken.expires_at))).first()
    return _principal(session, settings, row[0]) if row and row[1] > utc_now() else None


def is_still_valid(session: Session, settings: Settings, principal: Principal) -> bool:
    """Whether a principal would still be let in: its key is valid, or none is needed."""
    if principal.key_hash is None:
        return settings.allow_anonymous or not (settings.energy_admin_key or any_keys(session))
    return _principal(session, settings, principal.key_hash) is not None


def issue_token(session: Session, principal: Principal, kind: TokenKind) -> str:
    """Create a token for the principal's key, and delete expired tokens."""
    if principal.key_hash is None:
        raise ValueError("an anonymous principal has no key")
    token = secrets.token_urlsafe(32)
    now = utc_now()
    session.exec(delete(AccessToken).where(col(AccessToken.expires_at) < now))
    session.add(
        AccessToken(token_hash=hash_of(token), kind=kind, key_hash=principal.key_hash, expires_at=now + VALID_FOR[kind])
    )
    return token


def extend_session(session: Session, principal: Principal, token: str) -> bool:
    """Let a session of the principal's key last as long from now as a new one; False if it has ended."""
    now = utc_now()
    extended = update(AccessToken).where(
        col(AccessToken.token_hash) == hash_of(token),
        col(AccessToken.kind) == "session",
        col(AccessToken.key_hash) == principal.key_hash,
        col(AccessToken.expires_at) > now,
    )
    return session.exec(extended.values(expires_at=now + VALID_FOR["session"])).rowcount > 0


def end_token(session: Session, token: str) -> None:
    """End a session."""
    session.exec(delete(AccessToken).where(col(AccessToken.token_hash) == hash_of(token)))


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _principal(session: Session, settings: Settings, key_hash: str) -> Principal | None:
    """The index is searched by hash, never by secret, so its timing reveals nothing about a key."""
    admin = settings.energy_admin_key
    if admin and hmac.compare_digest(hash_of(admin.get_secret_value()), key_hash):
        return Principal(ADMIN_KEY_NAME, "admin", None, key_hash)
    key = session.exec(select(ApiKey).where(ApiKey.key_hash == key_hash)).first()
    if key is None or key.revoked_at or (key.expires_at and key.expires_at <= utc_now()):
        return None
    role: Role = next(role for role in ROLES if role == key.role)
    return Principal(key.name, role, key.tenant_id, key_hash)
