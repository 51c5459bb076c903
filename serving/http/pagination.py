"""Lists, all alike: pages that count from 1, filters by columns, an order by one column."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, Field
from sqlalchemy import inspect
from sqlmodel import Session, SQLModel, func, select
from sqlmodel.sql.expression import SelectOfScalar

from serving.http.fields import Instant

Row = TypeVar("Row", bound=SQLModel)
Item = TypeVar("Item")

SORT = Field(description="The field to sort by; a leading minus reverses the order")


class PageQuery(BaseModel):
    """Which page of a list; pages count from 1."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 20

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.page_size


class TimeRangeQuery(BaseModel):
    """A half-open time range."""

    start_time: Annotated[Instant, Field(description="At this time or later")] | None = None
    end_time: Annotated[Instant, Field(description="Before this time")] | None = None


class Page(BaseModel, Generic[Item]):
    """One page of a list; `total` counts the items of all pages."""

    success: Literal[True] = True
    data: list[Item]
    total: int
    page: int
    page_size: int

    @classmethod
    def of(cls, query: PageQuery, items: list[Item], total: int) -> Self:
        return cls(data=items, total=total, page=query.page, page_size=query.page_size)


class ListQuery(Protocol):
    """The part of a list and its order."""

    @property
    def offset(self) -> int: ...
    @property
    def page_size(self) -> int: ...
    @property
    def sort(self) -> str: ...


def paginate(
    session: Session,
    rows: type[Row] | SelectOfScalar[Row],
    query: ListQuery,
    *filters: str,
    during: str | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Sequence[Row], int]:
    """The rows of one page in the requested order, and the number of rows on all pages.

    Args:
        session: The request's session.
        rows: A table, or a selection of its rows.
        query: The page, the order and the values of the filters.
        filters: Fields of the query that are columns of the table; a field that is None does not filter.
        during: The column that the query's `start_time` and `end_time` apply to.
        columns: Columns by the names that clients use for them, where these differ.

    """
    statement = select(rows) if isinstance(rows, type) else rows
    table: Any = statement.column_descriptions[0]["entity"]
    for name in filters:
        if (value := getattr(query, name)) is not None:
            statement = statement.where(getattr(table, name) == value)
    if during and isinstance(query, TimeRangeQuery):
        if query.start_time:
            statement = statement.where(getattr(table, during) >= query.start_time)
        if query.end_time:
            statement = statement.where(getattr(table, during) < query.end_time)
    name = query.sort.removeprefix("-")
    column = getattr(table, columns.get(name, name))
    order = column.desc() if query.sort.startswith("-") else column.asc()
    if column.nullable:
        order = order.nulls_last()
    total = session.exec(select(func.count()).select_from(statement.subquery())).one()
    ordered = statement.order_by(order, *inspect(table).primary_key)
    return session.exec(ordered.offset(query.offset).limit(query.page_size)).all(), total
