"""The charts of one analysis: its events over a metric, or its forecast."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Query, Response

from serving.analytics import routes as analytics
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import Readings
from serving.jobs.schemas import JobPath
from serving.pages.analytics import completed
from serving.pages.charts import Span
from serving.pages.machine_analyses import chart_of_forecast
from serving.pages.machine_telemetry import ChartQuery, chart_of
from serving.pages.route import pages

router = pages()


@router.get("/analytics/{job_id}/events-chart")
def events_chart(
    session: DatabaseSession, reader: Readings, job_id: JobPath, query: Annotated[ChartQuery, Query()]
) -> Response:
    """A metric over the analysed range, or a part of it, with the events that the analysis found."""
    job = analytics.get_job_status(session, job_id)
    events = completed(session, job_id, "anomaly")["events"]
    query = query.model_copy(
        update={
            "start_time": query.start_time or job.date_range_start,
            "end_time": query.end_time or job.date_range_end,
        }
    )
    chart = chart_of(session, reader, job.device_id, query)
    spans = [span for span in chart.spans if span.kind == "maintenance"]
    for event in events:
        start, end = datetime.fromisoformat(event["start"]), datetime.fromisoformat(event["end"])
        spans.append(Span(start.timestamp(), (end + timedelta(seconds=1)).timestamp(), "anomaly", event["why"]))
    return replace(chart, spans=spans).answer()


@router.get("/analytics/{job_id}/forecast-chart")
def forecast_chart(session: DatabaseSession, job_id: JobPath) -> Response:
    """The end of the history, and the forecast in its bands."""
    return chart_of_forecast(completed(session, job_id, "forecast")).answer()
