"""Lists, all alike: pages that count from 1 or follow a cursor, filters by columns, an order by one column.

A page that is named by its number moves while new items come. A cursor stands for the last item of a page, so that no
item comes twice.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Generic, Literal, Protocol, Self, TypeVar, get_args

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, inspect, tuple_
from sqlmodel import Session, SQLModel, and_, false, func, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from serving.http.errors import Invalid
from serving.http.fields import Instant, Text

Row = TypeVar("Row", bound=SQLModel)
Item = TypeVar("Item")

SORT = Field(description="The field to sort by; a leading minus reverses the order")
WRONG_CURSOR = "the cursor is not from an answer in this order; leave it out to start with the first page"
# What a column of such a type can hold.
KEY_TYPES: dict[type, Any] = {
    str: Text,
    int: Annotated[int, Field(ge=-(2**63), lt=2**63)],
    datetime: AwareDatetime,
}


class PageQuery(BaseModel):
    """Which page of a list; pages count from 1."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 20

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.page_size


class CursorQuery(PageQuery):
    """Which page of a list that can also be read by cursor; a cursor takes the place of `page`."""

    cursor: Annotated[
        str | None,
        Field(max_length=1000, description="`next_cursor` of the previous page: no item comes twice, though new come"),
    ] = None


class TimeRangeQuery(BaseModel):
    """A half-open time range."""

    start_time: Annotated[Instant, Field(description="At this time or later")] | None = None
    end_time: Annotated[Instant, Field(description="Before this time")] | None = None


@dataclass(frozen=True)
class Found(Generic[Row]):
    """The rows of one page, the number of rows on all pages, and the cursor of the next page if there is one."""

    rows: Sequence[Row]
    total: int
    next_cursor: str | None


class Page(BaseModel, Generic[Item]):
    """One page of a list; `total` counts the items of all pages."""

    success: Literal[True] = True
    data: list[Item]
    total: int
    page: int
    page_size: int
    next_cursor: str | None = Field(None, description="Cursor of the next page; null on the last page")

    @classmethod
    def of(cls, query: PageQuery, items: list[Item], found: Found[Any]) -> Self:
        return cls(
            data=items,
            total=found.total,
            page=query.page,
            page_size=query.page_size,
            next_cursor=found.next_cursor,
        )


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
) -> Found[Row]:
    """The rows of one page in the requested order.

    Args:
        session: The request's session.
        rows: A table, or a selection of its rows.
        query: The page, the order and the values of the filters.
        filters: Fields of the query that are columns of the table; a field that is None does not filter.
        during: The column that the query's `start_time` and `end_time` apply to.
        columns: Columns by the names that clients use for them, where these differ.

    Raises:
        Invalid: The cursor is not from an answer in the same order.

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
    keys = [getattr(table, key.name) for key in inspect(table).primary_key]
    ordered = statement.order_by(order, *keys)
    if isinstance(query, CursorQuery) and query.cursor is not None:
        ordered = ordered.where(_after(query.cursor, query.sort, column, keys))
    else:
        ordered = ordered.offset(query.offset)
    found = session.exec(ordered.limit(query.page_size + 1)).all()
    page = found[: query.page_size]
    has_more = isinstance(query, CursorQuery) and len(found) > len(page)
    return Found(page, total, _cursor(page[-1], query.sort, [column, *keys]) if has_more else None)


def _cursor(row: SQLModel, sort: str, columns: Sequence[Any]) -> str:
    values = [getattr(row, column.key) for column in columns]
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps([sort, *plain], default=str).encode()).decode()


def _after(cursor: str, sort: str, column: Any, keys: Sequence[Any]) -> ColumnElement[bool]:
    """The condition on rows that come after the one that the cursor stands for."""
    try:
        ordered_by, *plain = json.loads(base64.urlsafe_b64decode(cursor))
        value, *key = (
            None if text is None else TypeAdapter(_type_of(of)).validate_python(text)
            for of, text in zip([column, *keys], plain, strict=True)
        )
    except (ValueError, TypeError, binascii.Error, ValidationError):
        raise Invalid(WRONG_CURSOR, field="cursor") from None
    if ordered_by != sort or None in key or (value is None and not column.nullable):
        raise Invalid(WRONG_CURSOR, field="cursor")
    later_keys = tuple_(*keys) > tuple_(*key)
    if value is None:  # rows without a value are the last ones
        return and_(column.is_(None), later_keys)
    further = column < value if sort.startswith("-") else column > value
    return or_(further, and_(column == value, later_keys), column.is_(None) if column.nullable else false())


def _type_of(column: Any) -> Any:
    """What a value of the column is."""
    annotation = column.class_.model_fields[column.key].annotation
    (kind,) = (part for part in get_args(annotation) or (annotation,) if part is not NoneType)
    return KEY_TYPES.get(kind, kind)
