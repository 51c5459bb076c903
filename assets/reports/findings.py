"""What analyses and rules found: turns their results, as the API returns them, into the report's content.

Optional keys that a result lacks become null. A result with a malformed item is an error.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from assets.reports.analysed import Analysis, Anomaly, FailureRecord
from assets.reports.content import Alert
from assets.reports.formatting import Language
from assets.reports.inputs import Missing, ReportInput
from assets.reports.results import finite, known_time, number, optional_text, text, time_of
from assets.reports.sections import AlertTimes, Driver, RemainingLife, Risk
from storage.times import EPOCH


def analyses(data: ReportInput, language: Language) -> list[Analysis]:
    """Every requested analysis, by type. One that is missing without a reason has not been made."""
    return [_analysis(name, job, language) for name, job in sorted(data.analyses.items())]


def _analysis(name: str, job: Mapping[str, Any], language: Language) -> Analysis:
    if "missing" in job:
        why = job["missing"]
        if not isinstance(why, Missing):
            return Analysis(type=name, status="missing", reason=text(why or language.say("analysis.not_run")))
        return Analysis(type=name, status="missing", reason=_why(name, why, language), detail=text(why.detail))
    results, tried = job.get("results") or {}, job.get("not_renewed")
    return Analysis(
        type=name,
        status="completed",
        reason=_why(name, tried, language) if tried else None,
        detail=text(tried.detail) if tried else None,
        job_id=optional_text(job.get("job_id")),
        model=optional_text(job.get("model_name")),
        dataset_key=optional_text(job.get("dataset_key")),
        completed_at=time_of(job.get("completed_at"), name),
        covers_start=time_of(job.get("date_range_start"), name),
        covers_end=time_of(job.get("date_range_end"), name),
        changed_days=job.get("changed_days") or 0,
        accuracy=finite(job.get("accuracy_metrics") or {}),
        summary=finite(results.get("summary") or {}),
    )


def _why(name: str, why: Missing, language: Language) -> str:
    """Why an analysis could not be made, in words."""
    key = "no_failures" if name == "prediction" and why.kind == "unsuitable" else why.kind
    return language.say(f"analysis.{key}")


def anomalies(data: ReportInput) -> tuple[list[Anomaly], int]:
    """The anomalies that overlap the period, by time, and how many of the result do not."""
    results = data.analyses.get("anomaly", {}).get("results") or {}
    if "events" in results:
        step = number((results.get("summary") or {}).get("step_seconds"))
        events = [_event(event, step) for event in results["events"]]
    else:
        events = [_single_point(point) for point in results.get("anomalies", []) if point.get("is_anomaly", True)]
    inside = [event for event in events if event.start < data.end and event.end >= data.start]
    return sorted(inside, key=lambda event: (event.start, event.end)), len(events) - len(inside)


def _event(event: Mapping[str, Any], step_seconds: float | None) -> Anomaly:
    points, energy = event.get("points"), event.get("energy") or {}
    start, end = known_time(event, "start", "anomaly"), known_time(event, "end", "anomaly")
    drivers = [text(driver["metric"]) for driver in event.get("drivers") or () if driver.get("metric")]
    return Anomaly(
        start=start,
        end=end,
        seconds=None if step_seconds is None else (end - start).total_seconds() + step_seconds,
        drivers=list(dict.fromkeys(drivers)),
        energy_kwh=number(energy.get("kwh")),
        excess_kwh=number(energy.get("excess_kwh")),
        metric=optional_text(event.get("metric")),
        score=number(event.get("score")),
        points=points if isinstance(points, int) else None,
        kind=optional_text(event.get("kind")),
        why=optional_text(event.get("why")),
    )


def _single_point(point: Mapping[str, Any]) -> Anomaly:
    time = known_time(point, "timestamp", "anomaly")
    return Anomaly(
        start=time,
        end=time,
        metric=optional_text(point.get("metric")),
        score=number(point.get("anomaly_score")),
        points=1,
    )


def failures(data: ReportInput) -> list[FailureRecord]:
    """The recorded failures that began in the period."""
    return [
        FailureRecord(
            failed_at=failure["failed_at"],
            repaired_at=failure["repaired_at"],
            description=optional_text(failure["description"] or None),
        )
        for failure in data.failures
    ]


def alerts(data: ReportInput) -> list[Alert]:
    """The alerts, newest first by the time of the reading that raised them."""
    return sorted(map(_alert, data.alerts), key=lambda alert: alert.time or EPOCH, reverse=True)


def _alert(alert: Mapping[str, Any]) -> Alert:
    rule = alert.get("rule") or {}
    raised, acknowledged, resolved = (
        time_of(alert.get(key), "alert") for key in ("created_at", "acknowledged_at", "resolved_at")
    )
    return Alert(
        alert_id=text(alert.get("alert_id", "")),
        rule=optional_text(rule.get("rule_name") or rule.get("name")),
        severity=text(alert.get("severity") or "high"),
        status=text(alert.get("status") or "open"),
        message=text(alert.get("message") or ""),
        actual_value=number(alert.get("actual_value")),
        threshold_value=number(alert.get("threshold_value")),
        time=time_of(alert.get("reading_time") or alert.get("created_at"), "alert"),
        metric=optional_text(rule.get("property")),
        condition=optional_text(rule.get("condition")),
        seconds_to_acknowledge=_seconds(raised, acknowledged),
        seconds_to_resolve=_seconds(raised, resolved),
    )


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return (until - since).total_seconds() if since and until and until >= since else None


def alert_times(alerts: Sequence[Alert]) -> AlertTimes:
    """How long the alerts took to be acknowledged and to be resolved."""
    acknowledged = [alert.seconds_to_acknowledge for alert in alerts if alert.seconds_to_acknowledge is not None]
    resolved = [alert.seconds_to_resolve for alert in alerts if alert.seconds_to_resolve is not None]
    return AlertTimes(
        acknowledged=len(acknowledged),
        median_seconds_to_acknowledge=median(acknowledged) if acknowledged else None,
        resolved=len(resolved),
        median_seconds_to_resolve=median(resolved) if resolved else None,
    )


def risk(data: ReportInput) -> Risk | None:
    """The risk of failure that the prediction found. None if there is none."""
    job = data.analyses.get("prediction", {})
    results, accuracy = job.get("results") or {}, job.get("accuracy_metrics") or {}
    summary = results.get("summary") or {}
    probability = number(results.get("failure_probability", summary.get("failure_probability")))
    if probability is None:
        return None
    drivers = [(driver.get("metric"), number(driver.get("share"))) for driver in results.get("drivers") or []]
    return Risk(
        probability=probability,
        as_of=time_of(results.get("as_of"), "prediction"),
        horizon_hours=number(results.get("horizon_hours")),
        drivers=[Driver(metric=text(metric), share=share) for metric, share in drivers if metric and share is not None],
        failures_learnt_from=_whole(summary.get("failures_learnt_from")),
        failures_tested=_whole(accuracy.get("failures_tested")),
        failures_found=_whole(accuracy.get("failures_found")),
        false_alarm_share=number(accuracy.get("false_alarm_share")),
        remaining_life=_remaining_life(results.get("remaining_life")),
        warning=optional_text(results.get("warning")),
    )


def _remaining_life(life: Mapping[str, Any] | None) -> RemainingLife | None:
    if not life:
        return None
    hours, lower, upper, share = (number(life.get(key)) for key in ("hours", "lower", "upper", "share"))
    return RemainingLife(
        hours=hours,
        lower=lower,
        upper=upper,
        share=share,
        at_least=life.get("at_least") is True,
        lives=_whole(life.get("lives")),
        reason=optional_text(life.get("reason")),
        warning=optional_text(life.get("warning")),
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
