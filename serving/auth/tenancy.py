"""The database session of a request: it sees the principal's tenant only, and keeps the book of changes.

Both are done here, below every router. A tenant's session finds rows of its tenant, and of its devices in tables that
know devices alone; tables that know neither it does not see at all. What it adds is its tenant's.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from fastapi.encoders import jsonable_encoder
from sqlalchemy import Engine, TextClause, event, false, inspect, select
from sqlalchemy.orm import Mapper, ORMExecuteState, UOWTransaction, with_loader_criteria
from sqlalchemy.orm.interfaces import ORMOption
from sqlmodel import Session, SQLModel

from serving.http.errors import Refused
from storage.access import AccessToken, ApiKey, AuditEntry, Principal
from storage.devices import Device

NOBODY = "anonymous"
MAX_VALUE = 2000
# The book itself, and secrets' hashes.
UNRECORDED = (AuditEntry, AccessToken, ApiKey)


class RequestSession(Session):
    """A session for one principal; `request` says which request changes what, such as `PUT /api/v1/rules/{rule_id}`."""

    def __init__(self, engine: Engine, principal: Principal, request: str = "", request_id: str | None = None) -> None:
        super().__init__(engine, expire_on_commit=False)
        self.principal = principal
        self.request = request
        self.request_id = request_id

    def record(self, action: str, entity: str, entity_id: str, tenant_id: str | None, change: dict[str, Any]) -> None:
        """Enter a change into the book; it is committed with the change itself."""
        entry = AuditEntry(
            actor=self.principal.name or NOBODY,
            tenant_id=tenant_id or self.principal.tenant_id,
            request=self.request,
            request_id=self.request_id,
            action=action,
            entity=entity,
            entity_id=entity_id,
            change={name: _short(value) for name, value in jsonable_encoder(change).items()},
        )
        self.add(entry)


@event.listens_for(RequestSession, "do_orm_execute")
def _scope(state: ORMExecuteState) -> None:
    session = state.session
    assert isinstance(session, RequestSession)  # noqa: S101 - it listens to no other
    if (
        (state.is_update or state.is_delete)
        and state.bind_mapper
        and not issubclass(state.bind_mapper.class_, UNRECORDED)
    ):
        facts = dict(state.statement.compile().params)  # type: ignore[attr-defined] # every UPDATE and DELETE has it
        session.record("update" if state.is_update else "delete", _table(state.bind_mapper), "", None, facts)
    tenant_id = session.principal.tenant_id
    if tenant_id is None or state.is_column_load or isinstance(state.statement, TextClause):
        return
    if state.is_select and not state.is_orm_statement:
        raise RuntimeError("select classes, not bare tables: only those are kept to a tenant")
    state.statement = state.statement.options(*_criteria(tenant_id))


@event.listens_for(RequestSession, "before_flush")
def _own_and_record(session: Session, _flush: UOWTransaction, _instances: object) -> None:
    assert isinstance(session, RequestSession)  # noqa: S101 - it listens to no other
    tenant_id = session.principal.tenant_id
    for row in session.new:
        if tenant_id is not None and hasattr(row, "tenant_id"):
            if row.tenant_id not in (None, tenant_id):
                raise Refused(f"the key is bound to the tenant {tenant_id}; leave tenant_id out", field="tenant_id")
            row.tenant_id = tenant_id
    for action, rows in (("create", session.new), ("update", session.dirty), ("delete", session.deleted)):
        for row in [row for row in rows if not isinstance(row, UNRECORDED)]:
            change = _change(row, action)
            if change or action == "delete":
                key = ",".join(str(part) for part in inspect(row).mapper.primary_key_from_instance(row))
                session.record(action, _table(inspect(row).mapper), key, getattr(row, "tenant_id", None), change)


def _change(row: Any, action: str) -> dict[str, Any]:
    """Of a new row what it says, of a changed one what it said and says now."""
    if action == "create":
        return {name: value for name, value in row.model_dump().items() if value is not None}
    changed = {}
    for attribute in inspect(row).attrs:
        history = attribute.history
        if history.has_changes() and history.deleted != history.added:
            changed[attribute.key] = [next(iter(history.deleted or ()), None), attribute.value]
    return changed


@lru_cache(maxsize=1000)
def _criteria(tenant_id: str) -> tuple[ORMOption, ...]:
    own_devices = select(Device.device_id).where(Device.tenant_id == tenant_id)  # type: ignore[call-overload] # SQLModel's columns are typed as values
    criteria = []
    for kind in _tables():
        table: Any = kind
        if hasattr(kind, "tenant_id"):
            condition = table.tenant_id == tenant_id
        elif hasattr(kind, "device_id"):
            condition = table.device_id.in_(own_devices)
        else:
            condition = false()
        criteria.append(with_loader_criteria(kind, condition, include_aliases=True))
    return tuple(criteria)


def _tables() -> Iterator[type[SQLModel]]:
    waiting = list(SQLModel.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if inspect(kind, raiseerr=False) is not None:
            yield kind


def _table(mapper: Mapper[Any]) -> str:
    return str(mapper.local_table.name)  # type: ignore[attr-defined] # every mapped class has a table


def _short(value: Any) -> Any:
    return value if len(str(value)) <= MAX_VALUE else f"{str(value)[:MAX_VALUE]}…"
