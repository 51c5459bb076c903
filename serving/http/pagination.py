"""Lists, all alike: pages that count from 1, filters by what a row says, an order by one of its columns."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import BaseModel, Field
from sqlalchemy import inspect
from sqlmodel import Session, SQLModel, func, select
from sqlmodel.sql.expression import SelectOfScalar

from serving.dependencies import Instant

Row = TypeVar("Row", bound=SQLModel)

SORT = Field(description="What to order by; a minus in front turns the order round")


class Page(BaseModel):
    """Which part of a list: pages count from 1."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 20

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.page_size


class During(BaseModel):
    """A half-open range of the time that a list is about."""

    start_time: Annotated[Instant, Field(description="Then or later")] | None = None
    end_time: Annotated[Instant, Field(description="Before")] | None = None


class Sorted(Protocol):
    """What a list is asked."""

    @property
    def offset(self) -> int: ...
    @property
    def page_size(self) -> int: ...
    @property
    def sort(self) -> str: ...


def paginate(
    session: Session,
    found: SelectOfScalar[Row],
    query: Sorted,
    *filters: str,
    during: str | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Sequence[Row], int]:
    """The page's rows in the order that is asked for, and how many rows there are in all.

    Args:
        session: of the request.
        found: rows of one table.
        query: the page, and values of the filters.
        filters: names of fields of the query that are columns; one that is None filters nothing.
        during: the column that `start_time` and `end_time` of the query are about.
        columns: those that clients know by another name.

    """
    table: Any = found.column_descriptions[0]["entity"]
    for name in filters:
        if (value := getattr(query, name)) is not None:
            found = found.where(getattr(table, name) == value)
    if during and isinstance(query, During):
        if query.start_time:
            found = found.where(getattr(table, during) >= query.start_time)
        if query.end_time:
            found = found.where(getattr(table, during) < query.end_time)
    name = query.sort.removeprefix("-")
    column = getattr(table, columns.get(name, name))
    order = column.desc() if query.sort.startswith("-") else column.asc()
    if column.nullable:
        order = order.nulls_last()
    total = session.exec(select(func.count()).select_from(found.subquery())).one()
    ordered = found.order_by(order, *inspect(table).primary_key)
    return session.exec(ordered.offset(query.offset).limit(query.page_size)).all(), total
