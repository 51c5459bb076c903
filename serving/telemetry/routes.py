"""Telemetry: readings, windows and statistics of devices over time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlmodel import Session

from assets.datasets import Filter, TelemetryReader, energy_of
from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import needs
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import Readings
from serving.devices.schemas import DevicePath
from serving.http.errors import Invalid, NotAcceptable, NotFound, problems
from serving.http.formats import CONTENT, Format, accepted, json_answer, table_answer
from serving.http.pagination import Found, Page
from serving.telemetry.items import count_name, json_items, json_statistics
from serving.telemetry.query import MAX_FILE_BYTES, MAX_JSON_BYTES, TelemetryQuery, read_page, rows_within
from serving.telemetry.schemas import (
    CORRECTED,
    Cursor,
    End,
    FieldNames,
    Interval,
    Limit,
    Order,
    Start,
    StatisticsAnswer,
    TelemetryAnswer,
    TelemetryRequest,
    UnregisteredDevice,
    UnregisteredQuery,
)
from storage import dirty_days
from storage.device_metrics import metric_names
from storage.devices import NAMED_METRICS, RESERVED
from storage.telemetry import COUNT, Aggregate
from storage.times import SECOND, microseconds, utc_now

router = APIRouter(prefix="/api/v1/data", tags=["telemetry"], route_class=IdentifiedRoute)

SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MAX_RANGE = timedelta(days=3660)
MAX_WINDOW = timedelta(days=31)
MAX_WINDOWS = 1_000_000
DEFAULT_LIMIT = 1000
DEFAULT_LIMIT_OF_FILES = 250_000
# Fields that every item has, whatever metrics are requested.
ITEM_FIELDS = ("timestamp", "device_id", "schema_version", "enrichment_status")
RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": CONTENT}, **problems(NotFound, NotAcceptable)}


@router.get("/telemetry/{device_id}", response_model=TelemetryAnswer, responses=RESPONSES)
def get_telemetry(
    request: Request,
    session: DatabaseSession,
    reader: Readings,
    device_id: DevicePath,
    *,
    start_time: Start = None,
    end_time: End = None,
    fields: FieldNames = None,
    aggregate: Aggregate | None = None,
    interval: Annotated[Interval, Query()] = None,
    limit: Annotated[Limit, Query()] = None,
    order: Annotated[Order, Query(description="Order of the items of a page")] = "asc",
    cursor: Annotated[Cursor, Query()] = None,
    corrected: Annotated[bool, Query(description=CORRECTED)] = False,
) -> Response:
    """The readings of a range, in time order. A page has the newest `limit` items; `next_cursor` leads to older ones.

    A page of devices with many metrics has fewer items, so that it stays near 16 MB in JSON and 100 MB otherwise.

    With `aggregate` or `interval`, there is one item for each window that has readings: the mean of an hour by default.
    For CSV, Arrow or Parquet, send the header `Accept`; the cursor is then in the header `X-Next-Cursor`.
    """
    query = TelemetryRequest.model_construct(
        device_id=device_id, start_time=start_time, end_time=end_time, fields=fields.split(",") if fields else None,
        aggregate=aggregate, interval=interval, limit=limit, order=order, cursor=cursor, filters=[],
        corrected=corrected,
    )  # fmt: skip
    return _answer(accepted(request), session, reader, [device_id], query)


@router.post("/query", response_model=TelemetryAnswer, responses=RESPONSES)
@needs("read")
def custom_query(request: Request, session: DatabaseSession, reader: Readings, body: TelemetryRequest) -> Response:
    """Query telemetry of several devices at once, with filters. Items of the same time are ordered by device."""
    device_ids = list(dict.fromkeys(body.device_ids or [body.device_id or ""]))
    if (body.device_id is None) == (body.device_ids is None):
        raise Invalid("send either device_id or device_ids", field="device_ids")
    return _answer(accepted(request), session, reader, device_ids, body)


@router.get("/stats/{device_id}", response_model=StatisticsAnswer, responses=problems(NotFound))
def get_stats(
    session: DatabaseSession,
    reader: Readings,
    device_id: DevicePath,
    *,
    start_time: Start = None,
    end_time: End = None,
) -> Response:
    """Statistics and energy of a device over a range, by default the last 24 hours."""
    start, end = requested_range(start_time, end_time)
    # Energy comes first, since its plan of the reads covers that of the statistics.
    energy = energy_of(session, reader, device_id, start, end)
    statistics = reader.statistics(device_id, start, end)
    if not statistics.readings:
        refuse_unknown(session, [device_id])
    return json_answer({"success": True, "data": json_statistics(device_id, start, end, statistics, energy)})


@router.get("/unregistered")
def list_unregistered(
    session: DatabaseSession, query: Annotated[UnregisteredQuery, Query()]
) -> Page[UnregisteredDevice]:
    """List devices that have sent telemetry and are not registered, or are deleted; last received first by default."""
    rows, total = dirty_days.unregistered_devices(session, query.sort, query.offset, query.page_size)
    return Page[UnregisteredDevice].of(query, [UnregisteredDevice(**row) for row in rows], Found([], total, None))


def _answer(
    format_: Format, session: Session, reader: TelemetryReader, device_ids: list[str], body: TelemetryRequest
) -> Response:
    start, end = requested_range(body.start_time, body.end_time)
    is_windowed = body.aggregate is not None or body.interval is not None
    max_bytes = MAX_JSON_BYTES if format_ == "json" else MAX_FILE_BYTES
    columns = body.fields or {*NAMED_METRICS, *metric_names(session, device_ids)}
    limit = body.limit or (DEFAULT_LIMIT if format_ == "json" else DEFAULT_LIMIT_OF_FILES)
    query = TelemetryQuery(
        device_ids=device_ids,
        start=start,
        end=end,
        limit=min(limit, rows_within(max_bytes, columns)),
        metrics=body.fields and _metrics(body.fields),
        function=body.aggregate or "mean",
        every=_window(body.interval or "1h", start, end) if is_windowed else None,
        filters=[Filter(f.field, f.op, f.value) for f in body.filters],
        context=format_ == "json",
        max_bytes=max_bytes,
    )
    page = read_page(
        reader.corrected() if body.corrected else reader, query.after(body.cursor) if body.cursor else query
    )
    if not len(page.table):
        refuse_unknown(session, device_ids)
    if format_ == "json":
        items = json_items(page.table, body.order)
        return json_answer({"success": True, "data": {"items": items, "next_cursor": page.next_cursor}})
    table = page.table if body.order == "asc" else page.table.sort_by([("time", "descending")])
    names = {"time": "timestamp", COUNT: count_name(table.column_names)}
    table = table.rename_columns([names.get(name, name) for name in table.column_names])
    headers = {"X-Next-Cursor": page.next_cursor} if page.next_cursor else {}
    return table_answer(table, format_, "telemetry", headers)


def refuse_unknown(session: Session, device_ids: Sequence[str]) -> None:
    """An empty range of a known device is an empty answer; an unknown device is an error."""
    if unknown := dirty_days.unknown_devices(session, sorted(device_ids)):
        raise NotFound(f"there is no device {unknown[0]}, and no telemetry from it")


def requested_range(start: datetime | None, end: datetime | None) -> tuple[int, int]:
    until = end or utc_now()
    since = start or until - timedelta(hours=24)
    if since >= until:
        raise Invalid("start_time must be before end_time", field="start_time")
    if until - since > MAX_RANGE:
        raise Invalid(f"the range is longer than {MAX_RANGE.days} days; request it in parts", field="start_time")
    return microseconds(since), microseconds(until)


def _metrics(fields: Sequence[str]) -> list[str]:
    metrics = [name for name in dict.fromkeys(map(str.strip, fields)) if name not in ITEM_FIELDS]
    if reserved := next((name for name in metrics if name in RESERVED), None):
        raise Invalid(f"{reserved} is a reserved name, not a metric; leave it out", field="fields")
    if not metrics:
        raise Invalid(f"name at least one metric; every item has {', '.join(ITEM_FIELDS)} anyway", field="fields")
    return metrics


def _window(interval: str, start: int, end: int) -> int:
    every = int(interval[:-1]) * SECONDS_PER_UNIT[interval[-1]] * SECOND
    if every > MAX_WINDOW.total_seconds() * SECOND:
        raise Invalid(f"{interval} is longer than {MAX_WINDOW.days} days; choose a shorter interval", field="interval")
    if (end - start) / every > MAX_WINDOWS:
        detail = f"the range has more than {MAX_WINDOWS} windows of {interval}; choose a longer interval"
        raise Invalid(detail, field="interval")
    return every
