"""Telemetry: readings, windows and statistics of devices over time."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import sqlalchemy
from fastapi import APIRouter, Query, Request, Response
from msgspec import UNSET, defstruct
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session, col, func, or_, select

from assets.datasets.consumption import EnergyFigures, energy_figures
from assets.datasets.reader import Filter, TelemetryReader
from serving.auth.principal import needs
from serving.dependencies import A_NUMBER, DatabaseSession, DeviceId, DevicePath, Instant, Moment, Readings
from serving.http.errors import Invalid, NotAcceptable, NotFound, problems
from serving.http.formats import CONTENT, Format, accepted, json_answer, table_answer
from serving.http.pagination import SORT, Page
from serving.telemetry.query import TelemetryPage, TelemetryQuery, answer
from storage import dirty_days
from storage.devices import METRIC, NAMED_METRICS, RESERVED, Device, DeviceMetadata, Metric, Number
from storage.dirty_days import DirtyDay
from storage.telemetry import COUNT, TIME, Aggregate, Statistics
from storage.times import SECOND, microseconds, moment, utc_now

router = APIRouter(prefix="/api/v1/data", tags=["telemetry"])

UNITS_OF_TIME = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MAX_RANGE = timedelta(days=3660)
MAX_WINDOW = timedelta(days=31)
MAX_WINDOWS = 1_000_000
MAX_BULK = 250_000
FIELDS = r"^ *[a-z][a-z0-9_]{0,62} *(?:, *[a-z][a-z0-9_]{0,62} *)*$"
INTERVAL = r"^[1-9][0-9]{0,5}[smhd]$"

Limit = Annotated[
    int | None,
    Field(ge=1, le=10_000, description="Most items of a page: 1,000 unless told otherwise, of bulk formats 250,000"),
]
Interval = Annotated[str | None, Field(pattern=INTERVAL, description="Window: 30s, 5m, 1h, 1d", examples=["5m"])]
Cursor = Annotated[str | None, Field(max_length=100, description="`next_cursor` of the page before")]
FieldName = Annotated[str, Field(pattern=METRIC, examples=["power"])]
# Fields of every item, metrics or not.
GIVEN = ("timestamp", "device_id", "schema_version", "enrichment_status")
Start = Annotated[Instant | None, Query(description="With an offset; without it, 24 hours before the end")]
End = Annotated[Instant | None, Query(description="With an offset, not included; without it, now")]


class Items(BaseModel):
    items: list[dict[str, Any]] = Field(
        description="`timestamp`, `device_id`, the metrics, `schema_version`, `enrichment_status`;"
        " of windows their start, the metrics and `count`",
        examples=[
            [
                {
                    "timestamp": "2026-02-12T10:00:00Z", "device_id": "D1", "voltage": 230.5, "current": 1.2,
                    "power": 276.6, "temperature": 45.2, "schema_version": "v1", "enrichment_status": "success",
                }
            ]
        ],
    )  # fmt: skip
    next_cursor: str | None = Field(None, description="For the page of older items; null on the last one")


class TelemetryAnswer(BaseModel):
    success: Literal[True] = True
    data: Items


class Consumption(BaseModel):
    value: float
    unit: str


class StatisticsData(BaseModel, extra="allow"):
    """`{metric}_min`, `_max` and `_avg` of every metric beside these.

    `power_total` is the plain sum of the readings. Energy comes from the device's energy counter if it has one, else
    from the time-weighted integral of power; `energy_source` says which. The demand is the mean power (W) of the
    clock quarter hour with the most energy.
    """

    device_id: str
    start_time: Moment
    end_time: Moment
    data_points: int
    power_total: float | None
    energy_kwh: float | None
    energy_source: str | None = Field(examples=["integral:power", "counter:energy_total"])
    peak_demand_15min: float | None
    peak_demand_15min_at: Moment | None
    consumption: dict[str, Consumption] = Field(description="What each counter of the device counted")


class StatisticsAnswer(BaseModel):
    success: Literal[True] = True
    data: StatisticsData


class FilterBody(BaseModel):
    """Readings whose metric compares so; aggregates are made of these alone."""

    field: Annotated[Metric, Field(examples=["power"])]
    op: Literal[">", "<", ">=", "<=", "=", "!="]
    value: Number


class TelemetryRequest(BaseModel):
    """A query about one device (`device_id`) or several (`device_ids`)."""

    model_config = ConfigDict(extra="forbid")

    device_id: DeviceId | None = None
    device_ids: Annotated[list[DeviceId], Field(min_length=1, max_length=100)] | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    fields: Annotated[list[FieldName], Field(min_length=1, max_length=100)] | None = None
    aggregate: Aggregate | None = None
    interval: Interval = None
    filters: Annotated[list[FilterBody], Field(max_length=20)] = []
    limit: Annotated[Limit, A_NUMBER] = None
    order: Literal["asc", "desc"] = "asc"
    cursor: Cursor = None


class UnregisteredDevice(BaseModel):
    """A device that sends and is not in the registry; the days are the first and last of its readings' own."""

    device_id: str
    first_day: date
    last_day: date
    last_received_at: Moment
    deleted: bool


class UnregisteredQuery(Page):
    sort: Annotated[Literal["last_received_at", "-last_received_at", "device_id", "-device_id"], SORT] = (
        "-last_received_at"
    )


class UnregisteredList(BaseModel):
    success: Literal[True] = True
    data: list[UnregisteredDevice]
    total: int
    page: int
    page_size: int


ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": CONTENT}}


@router.get(
    "/telemetry/{device_id}", response_model=TelemetryAnswer, responses=ANSWERS | problems(NotFound, NotAcceptable)
)
def get_telemetry(
    request: Request,
    session: DatabaseSession,
    reader: Readings,
    device_id: DevicePath,
    *,
    start_time: Start = None,
    end_time: End = None,
    fields: Annotated[
        str | None,
        Query(
            description="Metrics, separated by commas; other fields of an item may be named",
            max_length=2000,
            pattern=FIELDS,
            examples=["power"],
        ),
    ] = None,
    aggregate: Aggregate | None = None,
    interval: Annotated[Interval, Query()] = None,
    limit: Annotated[Limit, Query()] = None,
    order: Annotated[Literal["asc", "desc"], Query(description="Of the items of a page")] = "asc",
    cursor: Annotated[Cursor, Query()] = None,
) -> Response:
    """Readings of a range, ascending in time; of more than `limit` the newest, `next_cursor` leads to those before.

    With `aggregate` or `interval`, one item per window (mean and an hour unless told otherwise) that holds readings.
    As CSV, Arrow or Parquet, whichever `Accept` asks for, the cursor is in the header `X-Next-Cursor`.
    """
    asked = TelemetryRequest.model_construct(
        device_id=device_id, start_time=start_time, end_time=end_time, fields=fields.split(",") if fields else None,
        aggregate=aggregate, interval=interval, limit=limit, order=order, cursor=cursor, filters=[],
    )  # fmt: skip
    return _respond(accepted(request), session, reader, [device_id], asked)


@router.post("/query", response_model=TelemetryAnswer, responses=ANSWERS | problems(NotFound, NotAcceptable))
@needs("read")
def custom_query(request: Request, session: DatabaseSession, reader: Readings, body: TelemetryRequest) -> Response:
    """The same for several devices at once and with filters; items of one moment are in the order of their devices."""
    device_ids = list(dict.fromkeys(body.device_ids or [body.device_id or ""]))
    if (body.device_id is None) == (body.device_ids is None):
        raise Invalid("give device_id or device_ids", field="device_ids")
    return _respond(accepted(request), session, reader, device_ids, body)


@router.get("/stats/{device_id}", response_model=StatisticsAnswer, responses=problems(NotFound))
def get_stats(
    session: DatabaseSession,
    reader: Readings,
    device_id: DevicePath,
    *,
    start_time: Start = None,
    end_time: End = None,
) -> Response:
    """Statistics and energy of a device over a range (the last 24 hours unless told otherwise)."""
    start, end = _range(start_time, end_time)
    device = session.get(Device, device_id)
    statistics = reader.statistics(device_id, start, end)
    if not statistics.readings:
        _refuse_unknown(session, [device_id])
    counters = DeviceMetadata.parse(device.metadata_json if device else None).counters
    energy = energy_figures(reader, device_id, start, end, counters)
    return json_answer({"success": True, "data": _statistics(device_id, start, end, statistics, energy)})


@router.get("/unregistered")
def list_unregistered(session: DatabaseSession, query: Annotated[UnregisteredQuery, Query()]) -> UnregisteredList:
    """Devices that telemetry came from and that nobody registered, or that are deleted; the last heard of first."""
    heard = func.max(DirtyDay.touched_at)
    columns: Any = (
        DirtyDay.device_id,
        func.min(DirtyDay.day).label("first_day"),
        func.max(DirtyDay.day).label("last_day"),
        heard.label("last_received_at"),
        col(Device.deleted_at).is_not(None).label("deleted"),
    )
    found = (
        sqlalchemy.select(*columns)
        .join(Device, col(Device.device_id) == col(DirtyDay.device_id), isouter=True)
        .where(or_(col(Device.device_id).is_(None), col(Device.deleted_at).is_not(None)))
        .group_by(col(DirtyDay.device_id), col(Device.deleted_at))
    )
    total = session.exec(select(func.count()).select_from(found.subquery())).one()
    column: Any = heard if "last_received_at" in query.sort else col(DirtyDay.device_id)
    ordered = found.order_by(column.desc() if query.sort.startswith("-") else column.asc(), col(DirtyDay.device_id))
    rows = session.execute(ordered.offset(query.offset).limit(query.page_size)).mappings()
    data = [UnregisteredDevice(**row) for row in rows]
    return UnregisteredList(data=data, total=total, page=query.page, page_size=query.page_size)


def _respond(
    format_: Format, session: Session, reader: TelemetryReader, device_ids: list[str], asked: TelemetryRequest
) -> Response:
    start, end = _range(asked.start_time, asked.end_time)
    is_windowed = asked.aggregate is not None or asked.interval is not None
    query = TelemetryQuery(
        device_ids=device_ids,
        start=start,
        end=end,
        limit=asked.limit or (1000 if format_ == "json" else MAX_BULK),
        metrics=asked.fields and _metrics(asked.fields),
        function=asked.aggregate or "mean",
        every=_window(asked.interval or "1h", start, end) if is_windowed else None,
        filters=[Filter(f.field, f.op, f.value) for f in asked.filters],
        context=format_ == "json",
    )
    found = answer(reader, query.resumed(asked.cursor) if asked.cursor else query)
    if not len(found.table):
        _refuse_unknown(session, device_ids)
    if format_ == "json":
        items = _items(found, asked.order)
        return json_answer({"success": True, "data": {"items": items, "next_cursor": found.next_cursor}})
    table = found.table if asked.order == "asc" else found.table.sort_by([("time", "descending")])
    names = {"time": "timestamp", COUNT: "count"}
    table = table.rename_columns([names.get(name, name) for name in table.column_names])
    headers = {"X-Next-Cursor": found.next_cursor} if found.next_cursor else {}
    return table_answer(table, format_, "telemetry", headers)


def _refuse_unknown(session: Session, device_ids: Sequence[str]) -> None:
    """A range without readings is an answer; a device that nobody knows is none."""
    if unknown := dirty_days.unknown_devices(session, sorted(device_ids)):
        raise NotFound(f"there is no device {unknown[0]}, and no telemetry of one")


def _range(start: datetime | None, end: datetime | None) -> tuple[int, int]:
    until = end or utc_now()
    since = start or until - timedelta(hours=24)
    if since >= until:
        raise Invalid("start_time is not before end_time", field="start_time")
    if until - since > MAX_RANGE:
        raise Invalid(f"the range is longer than {MAX_RANGE.days} days; ask for parts of it", field="start_time")
    return microseconds(since), microseconds(until)


def _metrics(fields: Sequence[str]) -> list[str]:
    metrics = [name for name in dict.fromkeys(map(str.strip, fields)) if name not in GIVEN]
    if reserved := next((name for name in metrics if name in RESERVED), None):
        raise Invalid(f"{reserved!r} is a reserved name and no metric", field="fields")
    if not metrics:
        raise Invalid(f"name a metric; {', '.join(GIVEN)} are given in any case", field="fields")
    return metrics


def _window(interval: str, start: int, end: int) -> int:
    every = int(interval[:-1]) * UNITS_OF_TIME[interval[-1]] * SECOND
    if every > MAX_WINDOW.total_seconds() * SECOND:
        raise Invalid(f"a window is at most {MAX_WINDOW.days} days", field="interval")
    if (end - start) / every > MAX_WINDOWS:
        detail = f"the range holds more than {MAX_WINDOWS} windows of {interval}; ask for longer ones"
        raise Invalid(detail, field="interval")
    return every


def _items(found: TelemetryPage, order: str) -> list[Any]:
    """An object per row, made column by column: row by row pyarrow takes ten times as long, and dictionaries four."""
    table = found.table
    names = [name for name in table.column_names if name not in ("time", "out_of_band", "received_at")]
    item = _item_of(tuple("count" if name == COUNT else name for name in names))
    columns = [_written(table["time"]), *(_values(table[name]) for name in names)]
    if "out_of_band" in table.column_names:
        columns.append([bands or UNSET for bands in table["out_of_band"].to_pylist()])
    items = list(map(item, *columns))
    return items if order == "asc" else items[::-1]


@lru_cache(maxsize=100)
def _item_of(names: tuple[str, ...]) -> type[Any]:
    """What an item with these beside its `timestamp` is: what is `UNSET` is left out of the answer."""
    fields = {f"_{i}": name for i, name in enumerate(("timestamp", *names, "out_of_band"))}
    types: list[Any] = [(field, Any) for field in fields]
    types[-1] = (*types[-1], UNSET)
    return defstruct("Item", types, rename=fields, gc=False)


def _written(times: pa.ChunkedArray) -> list[str]:
    """As RFC 3339, to the second where no time is between two."""
    moments = times.cast(TIME).cast(pa.int64()).to_numpy()
    is_whole = not (moments % SECOND).any()
    texts = np.datetime_as_string(moments.astype("datetime64[us]"), "s" if is_whole else "us", timezone="UTC")
    return list(texts.tolist())


def _values(column: pa.ChunkedArray) -> list[Any]:
    is_plain = pa.types.is_floating(column.type) and not column.null_count
    return list(column.to_numpy().tolist() if is_plain else column.to_pylist())


def _statistics(device_id: str, start: int, end: int, statistics: Statistics, energy: EnergyFigures) -> dict[str, Any]:
    data: dict[str, Any] = {"device_id": device_id, "start_time": moment(start), "end_time": moment(end)}
    for name in dict.fromkeys([*NAMED_METRICS, *statistics.metrics]):
        metric = statistics.metrics.get(name)
        data[f"{name}_min"] = metric and metric.min
        data[f"{name}_max"] = metric and metric.max
        data[f"{name}_avg"] = metric and metric.mean
    power = statistics.metrics.get("power")
    return data | {
        "power_total": power and power.sum,
        "data_points": statistics.readings,
        "energy_kwh": energy.kwh,
        "energy_source": energy.source,
        "peak_demand_15min": energy.peak_demand,
        "peak_demand_15min_at": energy.peak_demand_at and moment(energy.peak_demand_at),
        "consumption": {name: {"value": v, "unit": unit} for name, (v, unit) in energy.consumption.items()},
    }
