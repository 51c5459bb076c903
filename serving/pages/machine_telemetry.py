"""A machine's telemetry: charts from minutes to years, with what happened meanwhile over them."""

import math
from datetime import datetime, timedelta
from typing import Annotated, Any

import pyarrow as pa
from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from sqlmodel import Session

from assets.datasets import Envelope, TelemetryReader, envelope_of, window_for
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import Readings
from serving.devices.schemas import DevicePath
from serving.http.fields import Instant
from serving.http.formats import table_answer
from serving.pages.charts import ChartData, Line, Series, Span
from serving.pages.machine import machine_context, unit_of
from serving.pages.render import show
from serving.pages.route import pages
from serving.telemetry.routes import requested_range
from storage import jobs
from storage.alerts import newest_alerts
from storage.device_metrics import metric_names
from storage.devices import NAMED_METRICS, Device, DeviceMetadata, Metric, metadata_of, order_metrics
from storage.maintenance import windows_during
from storage.telemetry import TIME
from storage.times import SECOND, microseconds, moment, utc_now

router = pages()

RANGES = {"1h": "Hour", "24h": "Day", "7d": "Week", "30d": "30 days", "365d": "Year"}
MAX_CHARTS = 6
MAX_ALERTS = 300


class ChartQuery(BaseModel):
    """A metric over a range, by default the last 24 hours, in about `width` points, with a rule's limit."""

    metric: Metric = "power"
    limit: Annotated[float, Field(allow_inf_nan=False)] | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    width: Annotated[int, Field(ge=50, le=5000)] = 1000


@router.get("/machines/{device_id}/telemetry")
def telemetry_tab(
    request: Request,
    session: DatabaseSession,
    device_id: DevicePath,
    *,
    span: Annotated[str, Query(pattern="^(1h|24h|7d|30d|365d)$")] = "24h",
    metric: Annotated[list[Metric] | None, Query(max_length=MAX_CHARTS)] = None,
    start_time: Instant | None = None,
    end_time: Instant | None = None,
) -> Response:
    """The charts of some metrics; the browser asks for their values."""
    context = machine_context(session, device_id, "telemetry")
    sent = metric_names(session, [device_id])
    known = [name for name in order_metrics(sent) if name in sent]
    chosen = metric or [name for name in NAMED_METRICS if name in sent][:3] or known[:3] or ["power"]
    end = end_time or _now(context)
    start = start_time or end - _length(span)
    requested_range(start, end)
    context |= {"known": known, "chosen": chosen, "ranges": RANGES, "span": None if start_time else span}
    return show(request, "machine_telemetry.html", context | {"start": start, "end": end})


@router.get("/machines/{device_id}/telemetry-chart")
def telemetry_chart(
    session: DatabaseSession,
    reader: Readings,
    device_id: DevicePath,
    query: Annotated[ChartQuery, Query()],
) -> Response:
    """The lowest, mean and highest value over the range, with alerts, maintenance and anomalies."""
    return chart_of(session, reader, device_id, query).answer()


def chart_of(session: Session, reader: TelemetryReader, device_id: str, query: ChartQuery) -> ChartData:
    """The chart of a metric, with what happened meanwhile over it."""
    start, end = requested_range(query.start_time, query.end_time)
    metadata = metadata_of(session, device_id)
    found = _envelope(session, reader, device_id, query).with_gaps()
    series = Series(
        label=query.metric.replace("_", " "),
        unit=unit_of(query.metric, metadata),
        values=_numbers(found.mean),
        low=_numbers(found.low),
        high=_numbers(found.high),
    )
    # A window of one reading has no band to draw.
    if found.every <= SECOND or (found.low == found.high).all():
        series = Series(label=series.label, unit=series.unit, values=series.values)
    return ChartData(
        start=start / SECOND,
        end=end / SECOND,
        time=(found.time / SECOND).tolist(),
        series=[series],
        spans=spans_of(session, device_id, moment(start), moment(end)),
        lines=_band(metadata, query.metric) if query.limit is None else [Line(query.limit, "limit of the rule")],
    )


@router.get("/machines/{device_id}/telemetry.csv")
def telemetry_csv(
    session: DatabaseSession, reader: Readings, device_id: DevicePath, query: Annotated[ChartQuery, Query()]
) -> Response:
    """What the chart shows, as a file: a row for each window with readings."""
    found = _envelope(session, reader, device_id, query)
    name = query.metric
    columns = {
        "timestamp": pa.array(found.time).cast(TIME),
        f"{name}_min": found.low,
        f"{name}_mean": [float(f"{mean:.12g}") for mean in found.mean],
        f"{name}_max": found.high,
    }
    return table_answer(pa.table(columns), "csv", f"{device_id}_{name}", {})


def _envelope(session: Session, reader: TelemetryReader, device_id: str, query: ChartQuery) -> Envelope:
    start, end = requested_range(query.start_time, query.end_time)
    every = window_for(start, end, query.width)
    return envelope_of(session, reader, device_id, start, end, metric=query.metric, every=every)


def spans_of(session: Session, device_id: str, start: datetime, end: datetime) -> list[Span]:
    """What happened in a range: maintenance, anomalies of the analysis that suits it best, alerts."""
    device = session.get(Device, device_id)
    tenant_id = device.tenant_id if device else None
    spans = [
        Span(window.starts_at.timestamp(), window.ends_at.timestamp(), "maintenance", window.reason or "maintenance")
        for window in windows_during(session, device_id, tenant_id, start, end)
    ]
    found = jobs.analysis_of_period(session, device_id, "anomaly", start, end)
    for event in (found.results or {}).get("events", []) if found else []:
        first, last = datetime.fromisoformat(event["start"]), datetime.fromisoformat(event["end"])
        if first < end and start <= last:
            spans.append(Span(first.timestamp(), last.timestamp(), "anomaly", event.get("why") or "anomaly"))
    raised, _ = newest_alerts(session, device_id, start, end, tenant_id=tenant_id, limit=MAX_ALERTS)
    for alert in raised:
        at = alert.reading_time.timestamp()
        spans.append(Span(at, at, "alert", alert.message))
    return spans


def _band(metadata: DeviceMetadata, metric: str) -> list[Line]:
    band = metadata.bands.get(metric)
    return [Line(band[0], "nominal from"), Line(band[1], "nominal to")] if band else []


def _numbers(values: Any) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _length(span: str) -> timedelta:
    return timedelta(**{{"h": "hours", "d": "days"}[span[-1]]: int(span[:-1])})


def _now(context: dict[str, Any]) -> datetime:
    """Now; of a machine that has been silent for long its newest reading, so that there is something to see."""
    now, seen = utc_now(), context["seen"]
    if seen is not None and now - seen.newest_reading > timedelta(hours=12):
        return moment(microseconds(seen.newest_reading) + SECOND)
    return now
