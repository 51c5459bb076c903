"""Telemetry: readings, aggregates and statistics of a device over a range of time."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import pyarrow as pa
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlmodel import Session

from serving.dependencies import DatabaseSession, DevicePath, Past, Telemetry
from serving.errors import Invalid, NotFound, problems
from storage.database import utc_now
from storage.devices import METRIC, NAMED_METRICS, Device
from storage.telemetry import COUNT, SECOND, Aggregate, microseconds, moment

router = APIRouter(prefix="/api/v1/data", tags=["telemetry"])

UNITS_OF_TIME = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST_RANGE = timedelta(days=3660)
MOST_WINDOWS = 1_000_000
INTERVAL = r"^[1-9][0-9]{0,5}[smhd]$"

Start = Annotated[Past | None, Query(description="With an offset; without it, 24 hours before the end")]
End = Annotated[Past | None, Query(description="With an offset, not included; without it, now")]


class Items(BaseModel):
    items: list[dict[str, Any]] = Field(
        description="`timestamp`, `device_id`, the metrics, `schema_version`, `enrichment_status`;"
        " of an aggregate the window's start, the metrics and `count`"
    )


class TelemetryAnswer(BaseModel):
    success: Literal[True] = True
    data: Items


class StatisticsAnswer(BaseModel):
    """`{metric}_min`, `_max`, `_avg` of every metric, `power_total` (the plain sum of readings) and `data_points`."""

    success: Literal[True] = True
    data: dict[str, Any]


@router.get("/telemetry/{device_id}", responses=problems(NotFound))
def get_telemetry(
    session: DatabaseSession,
    telemetry: Telemetry,
    device_id: DevicePath,
    *,
    start_time: Start = None,
    end_time: End = None,
    fields: Annotated[str | None, Query(description="Metrics, separated by commas", max_length=2000)] = None,
    aggregate: Aggregate | None = None,
    interval: Annotated[
        str | None, Query(description="Window of an aggregate: 30s, 5m, 1h, 1d", pattern=INTERVAL)
    ] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> TelemetryAnswer:
    """Readings of a range, ascending in time; of more than `limit` the newest.

    With `aggregate`, one item per `interval` (an hour unless told otherwise) that holds readings.
    """
    start, end = _range(start_time, end_time)
    metrics = _metrics(fields)
    if aggregate or interval:
        every = _window(interval or "1h", start, end)
        table = telemetry.aggregate(device_id, start, end, function=aggregate or "mean", every=every, metrics=metrics)
        table = table.slice(max(0, len(table) - limit))
    else:
        table = telemetry.read(device_id, start, end, metrics=metrics, context=True, newest=limit)
    if not len(table):
        _known(session, device_id)
    return TelemetryAnswer(data=Items(items=_items(device_id, table)))


@router.get("/stats/{device_id}", responses=problems(NotFound))
def get_stats(
    session: DatabaseSession,
    telemetry: Telemetry,
    device_id: DevicePath,
    *,
    start_time: Start = None,
    end_time: End = None,
) -> StatisticsAnswer:
    """Statistics of a device's readings over a range (the last 24 hours unless told otherwise)."""
    start, end = _range(start_time, end_time)
    statistics = telemetry.statistics(device_id, start, end)
    if not statistics.readings:
        _known(session, device_id)
    data: dict[str, Any] = {"device_id": device_id, "start_time": _text(moment(start)), "end_time": _text(moment(end))}
    for name in dict.fromkeys([*NAMED_METRICS, *statistics.metrics]):
        metric = statistics.metrics.get(name)
        data[f"{name}_min"] = metric and metric.min
        data[f"{name}_max"] = metric and metric.max
        data[f"{name}_avg"] = metric and metric.mean
    power = statistics.metrics.get("power")
    data["power_total"] = power and power.sum
    data["data_points"] = statistics.readings
    return StatisticsAnswer(data=data)


def _known(session: Session, device_id: str) -> None:
    """A range without readings is an answer; a device that nobody knows is none."""
    device = session.get(Device, device_id)
    if device is None:
        raise NotFound(f"there is no device {device_id}, and no telemetry of one")


def _range(start: datetime | None, end: datetime | None) -> tuple[int, int]:
    until = end or utc_now()
    since = start or until - timedelta(hours=24)
    if since >= until:
        raise Invalid("start_time is not before end_time", field="start_time")
    if until - since > LONGEST_RANGE:
        raise Invalid(f"the range is longer than {LONGEST_RANGE.days} days; ask for parts of it", field="start_time")
    return microseconds(since), microseconds(until)


def _metrics(fields: str | None) -> list[str] | None:
    if fields is None:
        return None
    names = list(dict.fromkeys(name.strip() for name in fields.split(",") if name.strip()))
    wrong = [name for name in names if not re.fullmatch(METRIC, name)]
    if wrong or not names:
        raise Invalid(f"{', '.join(wrong) or 'an empty list'} names no metric", field="fields")
    return names


def _window(interval: str, start: int, end: int) -> int:
    every = int(interval[:-1]) * UNITS_OF_TIME[interval[-1]] * SECOND
    if (end - start) / every > MOST_WINDOWS:
        detail = f"the range holds more than {MOST_WINDOWS} windows of {interval}; ask for longer ones"
        raise Invalid(detail, field="interval")
    return every


def _items(device_id: str, table: pa.Table) -> list[dict[str, Any]]:
    items = []
    for row in table.to_pylist():
        time, count, band = row.pop("time"), row.pop(COUNT, None), row.pop("out_of_band", None)
        row.pop("received_at", None)
        item = {"timestamp": _text(time), "device_id": device_id, **row}
        if count is not None:
            item["count"] = count
        if band:
            item["out_of_band"] = band
        items.append(item)
    return items


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
