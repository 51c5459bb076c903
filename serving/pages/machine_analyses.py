"""A machine's analyses: anomalies, the forecast with its bands, and the risk of a failure over time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import Request, Response
from sqlmodel import Session

from serving.analytics import routes as analytics
from serving.analytics.schemas import JobQuery, JobResults
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import PlatformSettings
from serving.devices.schemas import DevicePath
from serving.failures import routes as failures
from serving.failures.schemas import FailureQuery
from serving.http.errors import NotFound
from serving.pages.charts import ChartData, Series
from serving.pages.machine import machine_context
from serving.pages.render import show
from serving.pages.route import pages
from storage.devices import UNITS

router = pages()

MAX_RISKS = 100


@router.get("/machines/{device_id}/analyses")
def analyses_tab(
    request: Request, session: DatabaseSession, settings: PlatformSettings, device_id: DevicePath
) -> Response:
    """The newest result of each kind of analysis, and recorded failures."""
    context = machine_context(session, device_id, "analyses")
    jobs = analytics.list_jobs(session, JobQuery(device_id=device_id, limit=20))
    anomaly = _newest(session, device_id, "anomaly")
    context |= {
        "jobs": jobs.jobs,
        "anomaly": anomaly,
        "looked_at": _shown_metric(anomaly),
        "forecast": _newest(session, device_id, "forecast"),
        "prediction": _newest(session, device_id, "prediction"),
        "failures": failures.list_failures(session, device_id, FailureQuery(page_size=20)).data,
        "zone": context["metadata"].zone(settings.zone).key,
    }
    return show(request, "machine_analyses.html", context)


@router.get("/machines/{device_id}/forecast-chart")
def forecast_chart(session: DatabaseSession, device_id: DevicePath) -> Response:
    """The end of the history, and the forecast in its band of 95 %."""
    job = _newest(session, device_id, "forecast")
    if job is None:
        raise NotFound(f"{device_id} has no forecast; POST /api/v1/analytics/run makes one")
    return chart_of_forecast(job.results).answer()


def chart_of_forecast(results: Mapping[str, Any]) -> ChartData:
    """The end of the history, and the forecast in its band of 95 %."""
    history, ahead = results["history"], results["forecast"]
    metric, unit = results["metric"], results.get("unit") or UNITS.get(results["metric"], "")
    past, coming = [None] * len(history), [None] * len(ahead)
    forecast = Series(
        "forecast",
        past + [point["value"] for point in ahead],
        unit,
        low=past + [point["lower"] for point in ahead],
        high=past + [point["upper"] for point in ahead],
        band="band of 95 %",
    )
    series = [Series(metric.replace("_", " "), [point["value"] for point in history] + coming, unit), forecast]
    time = [_seconds(point["timestamp"]) for point in [*history, *ahead]]
    return ChartData(time[0], time[-1], time, series)


@router.get("/machines/{device_id}/risk-chart")
def risk_chart(session: DatabaseSession, device_id: DevicePath) -> Response:
    """The probability of a failure, as the analyses found it one after the other."""
    query = JobQuery(device_id=device_id, analysis_type="prediction", status="completed", limit=MAX_RISKS)
    results = [
        analytics.get_analytics_results(session, job.job_id).results for job in analytics.list_jobs(session, query).jobs
    ]
    points = sorted((_seconds(result["as_of"]), result["failure_probability"] * 100) for result in results)
    if not points:
        return ChartData(0, 1, [], []).answer()
    time = [at for at, _ in points]
    series = Series("probability of a failure", [value for _, value in points], "%", style="points")
    return ChartData(time[0] - 86_400, time[-1] + 86_400, time, [series]).answer()


def _newest(session: Session, device_id: str, analysis_type: Any) -> JobResults | None:
    query = JobQuery(device_id=device_id, analysis_type=analysis_type, status="completed", limit=1)
    found = analytics.list_jobs(session, query).jobs
    return analytics.get_analytics_results(session, found[0].job_id) if found else None


def _shown_metric(anomaly: JobResults | None) -> str | None:
    """The metric to draw: what most events deviate in."""
    if anomaly is None:
        return None
    metrics = [event["metric"] for event in anomaly.results["events"] if event.get("metric")]
    return max(metrics, key=metrics.count) if metrics else None


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
