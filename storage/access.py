"""Who may do what: API keys, the tokens they are traded for, and the book of changes.

A secret is kept as its SHA-256 only: it has 256 random bits, so that nothing is gained by a slower hash.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from sqlalchemy import BigInteger, Identity as RowNumber, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, Session, SQLModel, Text, col, delete, select

from storage.database import Timestamp
from storage.settings import Settings
from storage.times import utc_now

Role = Literal["read", "operate", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
TokenKind = Literal["session", "ticket"]

KEY_PREFIX = "ek_"
ADMIN_KEY_NAME = "ENERGY_ADMIN_KEY"
VALID_FOR: dict[TokenKind, timedelta] = {"session": timedelta(hours=12), "ticket": timedelta(seconds=30)}


class ApiKey(SQLModel, table=True):
    """A key and what it may do; without a tenant it sees all of them. A revoked one stays, for the book of changes."""

    __tablename__ = "api_keys"

    name: str = Field(primary_key=True, max_length=100)
    key_hash: str = Field(unique=True, max_length=64)
    role: str = Field(max_length=10)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    created_at: datetime = Timestamp(default_factory=utc_now)
    expires_at: datetime | None = Timestamp(default=None)
    revoked_at: datetime | None = Timestamp(default=None)


class AccessToken(SQLModel, table=True):
    """What a key was traded for: a browser's session, or a ticket that opens one WebSocket."""

    __tablename__ = "access_tokens"

    token_hash: str = Field(primary_key=True, max_length=64)
    kind: str = Field(max_length=10)
    key_hash: str = Field(max_length=64)
    expires_at: datetime = Timestamp(index=True)


class AuditEntry(SQLModel, table=True):
    """A change: who (`actor`, the key's name), when, by which request, of what, and what changed."""

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
    """Who asks. Without a `name` nobody said who they are, and the platform is open to whoever reaches it."""

    name: str | None
    role: Role
    tenant_id: str | None = None
    key_hash: str | None = None

    def may(self, needed: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(needed)


ANONYMOUS = Principal(None, "admin")


class NameTaken(Exception):
    """There is, or was, a key of that name."""


def create_key(
    session: Session, name: str, role: Role, tenant_id: str | None = None, valid: timedelta | None = None
) -> str:
    """A new key; what is returned is kept nowhere. Commits.

    Raises:
        NameTaken: there is, or was, a key of that name.

    """
    if session.get(ApiKey, name):
        raise NameTaken(f"there is, or was, a key named {name!r}; choose another name, so that the audit stays clear")
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    expires_at = utc_now() + valid if valid else None
    session.add(ApiKey(name=name, key_hash=hash_of(secret), role=role, tenant_id=tenant_id, expires_at=expires_at))
    session.commit()
    return secret


def revoke_key(session: Session, name: str) -> bool:
    """End a key, and the sessions it was traded for; False when there is none of that name. Commits."""
    key = session.get(ApiKey, name)
    if key is None:
        return False
    key.revoked_at = key.revoked_at or utc_now()
    session.exec(delete(AccessToken).where(col(AccessToken.key_hash) == key.key_hash))
    session.commit()
    return True


def list_keys(session: Session) -> Sequence[ApiKey]:
    """All keys by name, the revoked and expired ones too."""
    return session.exec(select(ApiKey).order_by(ApiKey.name)).all()


def any_keys(session: Session) -> bool:
    """Whether a key was ever made: from then on nobody is let in without one."""
    return session.exec(select(ApiKey.name).limit(1)).first() is not None


def principal_of_key(session: Session, settings: Settings, secret: str) -> Principal | None:
    """Whose key it is; None for one that is unknown, revoked or expired."""
    return _principal(session, settings, hash_of(secret))


def principal_of_token(session: Session, settings: Settings, kind: TokenKind, token: str) -> Principal | None:
    """Whose session or ticket it is; a ticket is used up by the question. Commits."""
    token_hash = hash_of(token)
    found: Sequence[Any]
    if kind == "ticket":
        used = delete(AccessToken).where(col(AccessToken.token_hash) == token_hash, col(AccessToken.kind) == kind)
        found = session.exec(used.returning(col(AccessToken.key_hash), col(AccessToken.expires_at))).all()
        session.commit()
    else:
        known = select(AccessToken.key_hash, AccessToken.expires_at)
        found = session.exec(known.where(AccessToken.token_hash == token_hash, AccessToken.kind == kind)).all()
    for key_hash, expires_at in found:
        if expires_at > utc_now():
            return _principal(session, settings, key_hash)
    return None


def is_still_valid(session: Session, settings: Settings, principal: Principal) -> bool:
    """Whether who was let in still would be: by a key neither revoked nor expired since, or because none is needed."""
    if principal.key_hash is None:
        return settings.allow_anonymous or not (settings.energy_admin_key or any_keys(session))
    return _principal(session, settings, principal.key_hash) is not None


def issue_token(session: Session, principal: Principal, kind: TokenKind) -> str:
    """A token for the principal's key; those whose time is over are cleared away. Commits."""
    if principal.key_hash is None:
        raise ValueError("nobody has no key to trade")
    token = secrets.token_urlsafe(32)
    now = utc_now()
    session.exec(delete(AccessToken).where(col(AccessToken.expires_at) < now))
    session.add(
        AccessToken(token_hash=hash_of(token), kind=kind, key_hash=principal.key_hash, expires_at=now + VALID_FOR[kind])
    )
    session.commit()
    return token


def end_token(session: Session, token: str) -> None:
    """Log a session out. Commits."""
    session.exec(delete(AccessToken).where(col(AccessToken.token_hash) == hash_of(token)))
    session.commit()


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _principal(session: Session, settings: Settings, key_hash: str) -> Principal | None:
    """The index finds a hash, never a secret: how long that takes says nothing about a key."""
    admin = settings.energy_admin_key
    if admin and hmac.compare_digest(hash_of(admin.get_secret_value()), key_hash):
        return Principal(ADMIN_KEY_NAME, "admin", None, key_hash)
    key = session.exec(select(ApiKey).where(ApiKey.key_hash == key_hash)).first()
    if key is None or key.revoked_at or (key.expires_at and key.expires_at <= utc_now()):
        return None
    role: Role = next(role for role in ROLES if role == key.role)
    return Principal(key.name, role, key.tenant_id, key_hash)
