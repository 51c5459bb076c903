"""The database session of a request: it sees only the rows of the principal's tenant, and writes the audit log.

Routes cannot forget either, since both happen here. A tenant's session sees rows with its tenant_id and, in tables
keyed by device only, rows of its own devices. It sees nothing of tables that have neither column. Rows that it adds or
changes have its tenant_id. Raw `text()` statements are not limited: they must name the tenant themselves, and
`tests/serving/auth/test_raw_sql.py` has the reason for each.
"""

from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from typing import Annotated, Any

import anyio
from fastapi import Depends, Request
from fastapi.encoders import jsonable_encoder
from sqlalchemy import Engine, TextClause, event, false, inspect, select
from sqlalchemy.orm import Mapper, ORMExecuteState, UOWTransaction, with_loader_criteria
from sqlalchemy.orm.interfaces import ORMOption
from sqlmodel import Session, SQLModel

from serving.auth.principal import principal_of
from serving.http.errors import Refused
from storage.access import AccessToken, ApiKey, AuditEntry, Principal
from storage.devices import Device

ANONYMOUS_ACTOR = "anonymous"
MAX_VALUE_CHARACTERS = 2000
# The audit log itself, and hashes of secrets.
UNRECORDED = (AuditEntry, AccessToken, ApiKey)
# Where a session's `info` has the new rows of a flush whose keys the database gives.
KEYLESS = "keyless"


class RequestSession(Session):
    """A session for one principal; `request` is the operation, such as `PUT /api/v1/rules/{rule_id}`."""

    def __init__(self, engine: Engine, principal: Principal, request: str = "", request_id: str | None = None) -> None:
        super().__init__(engine, expire_on_commit=False)
        self.principal = principal
        self.request = request
        self.request_id = request_id

    def record(self, action: str, entity: str, entity_id: str, tenant_id: str | None, change: dict[str, Any]) -> None:
        """Add a change to the audit log; it is committed with the change itself."""
        entry = AuditEntry(
            actor=self.principal.name or ANONYMOUS_ACTOR,
            tenant_id=tenant_id or self.principal.tenant_id,
            request=self.request,
            request_id=self.request_id,
            action=action,
            entity=entity,
            entity_id=entity_id,
            change={name: _shortened(value) for name, value in jsonable_encoder(change).items()},
        )
        self.add(entry)


@event.listens_for(RequestSession, "do_orm_execute")
def _scope(state: ORMExecuteState) -> None:
    session = state.session
    assert isinstance(session, RequestSession)  # noqa: S101 - the listener is for this class only
    if (
        (state.is_update or state.is_delete)
        and state.bind_mapper
        and not issubclass(state.bind_mapper.class_, UNRECORDED)
    ):
        values = dict(state.statement.compile().params)  # type: ignore[attr-defined] # every UPDATE and DELETE has it
        session.record("update" if state.is_update else "delete", _table(state.bind_mapper), "", None, values)
    tenant_id = session.principal.tenant_id
    if tenant_id is None or state.is_column_load or isinstance(state.statement, TextClause):
        return
    if not state.is_orm_statement:
        raise RuntimeError("select mapped classes, not tables: only classes are limited to a tenant")
    if state.is_insert:
        raise RuntimeError("add rows to the session: only those get the tenant")
    if state.is_update:
        _own_tenant(tenant_id, state.statement.compile().params.get("tenant_id", tenant_id))  # type: ignore[attr-defined] # as above
    state.statement = state.statement.options(*_criteria(tenant_id))


@event.listens_for(RequestSession, "before_flush")
def _own_and_record(session: Session, _flush: UOWTransaction, _instances: object) -> None:
    assert isinstance(session, RequestSession)  # noqa: S101 - the listener is for this class only
    tenant_id = session.principal.tenant_id
    for row in (*session.new, *session.dirty):
        if tenant_id is not None and hasattr(row, "tenant_id"):
            row.tenant_id = _own_tenant(tenant_id, row.tenant_id)
    session.info[KEYLESS] = [row for row in session.new if None in _key(row)]
    for action, rows in (("create", session.new), ("update", session.dirty), ("delete", session.deleted)):
        for row in rows:
            if action != "create" or None not in _key(row):
                _record(session, action, row)


@event.listens_for(RequestSession, "after_flush")
def _record_with_keys(session: Session, _flush: UOWTransaction) -> None:
    """Record the new rows whose key came from the database."""
    assert isinstance(session, RequestSession)  # noqa: S101 - as above
    for row in session.info.pop(KEYLESS, ()):
        _record(session, "create", row)


def _record(session: RequestSession, action: str, row: Any) -> None:
    change = {} if isinstance(row, UNRECORDED) else _change(row, action)
    if change or action == "delete":
        key = ",".join(map(str, _key(row)))
        # A move is for the eyes of no tenant: it says what the row was under its former owner.
        owner = None if action == "update" and "tenant_id" in change else getattr(row, "tenant_id", None)
        session.record(action, _table(inspect(row).mapper), key, owner, change)


def _key(row: Any) -> tuple[Any, ...]:
    return tuple(inspect(row).mapper.primary_key_from_instance(row))


def _own_tenant(own: str, named: str | None) -> str:
    """The key's own tenant, which a row gets that names none.

    Raises:
        Refused: The row names another tenant.

    """
    if named not in (None, own):
        raise Refused(f"the key is bound to the tenant {own}; leave tenant_id out", field="tenant_id")
    return own


def _change(row: Any, action: str) -> dict[str, Any]:
    """The values of a new row; the old and new values of a changed one."""
    if action == "create":
        return {name: value for name, value in row.model_dump().items() if value is not None}
    changes = {}
    for attribute in inspect(row).attrs:
        history = attribute.history
        if history.has_changes() and history.deleted != history.added:
            changes[attribute.key] = [next(iter(history.deleted or ()), None), attribute.value]
    return changes


@lru_cache(maxsize=1000)
def _criteria(tenant_id: str) -> tuple[ORMOption, ...]:
    own_devices = select(Device.device_id).where(Device.tenant_id == tenant_id)  # type: ignore[call-overload] # SQLModel's columns are typed as values
    criteria = []
    for entity in _entities():
        columns: Any = entity
        if hasattr(entity, "tenant_id"):
            condition = columns.tenant_id == tenant_id
        elif hasattr(entity, "device_id"):
            condition = columns.device_id.in_(own_devices)
        else:
            condition = false()
        criteria.append(with_loader_criteria(entity, condition, include_aliases=True))
    return tuple(criteria)


def _entities() -> Iterator[type[SQLModel]]:
    classes = list(SQLModel.__subclasses__())
    while classes:
        class_ = classes.pop()
        classes += class_.__subclasses__()
        if inspect(class_, raiseerr=False) is not None:
            yield class_


def _table(mapper: Mapper[Any]) -> str:
    return str(mapper.local_table.name)  # type: ignore[attr-defined] # every mapped class has a table


def _shortened(value: Any) -> Any:
    return value if len(str(value)) <= MAX_VALUE_CHARACTERS else f"{str(value)[:MAX_VALUE_CHARACTERS]}…"


async def _session(request: Request) -> AsyncIterator[Session]:
    state, is_read = request.app.state, request.method == "GET"
    route = getattr(request.scope.get("route"), "path", request.url.path)
    session = RequestSession(
        state.reading if is_read else state.engine,
        principal_of(request),
        f"{request.method} {route}",
        request.state.request_id,
    )
    try:
        yield session
    finally:
        if is_read:
            session.close()  # there is no transaction, so this does not wait for the server
        else:  # this may wait for the server; it must get a thread even if all others wait for a connection
            await anyio.to_thread.run_sync(session.close, limiter=anyio.CapacityLimiter(1))


# `function`: the connection is returned before the answer is sent, however slowly a client reads it.
DatabaseSession = Annotated[Session, Depends(_session, scope="function")]
