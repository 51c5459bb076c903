"""What analyses and rules found: turns their results, as the API returns them, into the report's content.

Optional keys that a result lacks become null. A result with a malformed item is an error.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from assets.reports.analysed import Analysis, Anomaly, Forecast, ForecastPoint, PastPoint
from assets.reports.content import Alert
from assets.reports.errors import ReportError
from assets.reports.formatting import Language
from assets.reports.inputs import Missing, ReportInput
from assets.reports.sections import AlertTimes, Driver, RemainingLife, Risk
from storage.devices import UNITS
from storage.times import EPOCH

# Marks that change the direction of the text around them. With them, a name could rearrange its neighbours.
_BIDI_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
WATTS_PER_UNIT = {"W": 1.0, "kW": 1e3, "MW": 1e6}


def text(value: object) -> str:
    """A user's text on one line, without invisible characters."""
    kept = [
        " " if character.isspace() else character
        for character in str(value)
        if character.isspace() or (unicodedata.category(character) not in ("Cc", "Cs") and character not in _BIDI_MARKS)
    ]
    return re.sub(" +", " ", "".join(kept)).strip()


def number(value: object) -> float | None:
    """The value as a float if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def analyses(data: ReportInput, language: Language) -> list[Analysis]:
    """Every requested analysis, by type. One that is missing without a reason has not been made."""
    return [_analysis(name, job, language) for name, job in sorted(data.analyses.items())]


def _analysis(name: str, job: Mapping[str, Any], language: Language) -> Analysis:
    if "missing" in job:
        why = job["missing"]
        if not isinstance(why, Missing):
            return Analysis(type=name, status="missing", reason=text(why or language.say("analysis.not_run")))
        key = "no_failures" if name == "prediction" and why.kind == "unsuitable" else why.kind
        return Analysis(type=name, status="missing", reason=language.say(f"analysis.{key}"), detail=text(why.detail))
    results = job.get("results") or {}
    return Analysis(
        type=name,
        status="completed",
        job_id=_optional(job.get("job_id")),
        model=_optional(job.get("model_name")),
        dataset_key=_optional(job.get("dataset_key")),
        completed_at=_moment(job.get("completed_at"), name),
        covers_start=_moment(job.get("date_range_start"), name),
        covers_end=_moment(job.get("date_range_end"), name),
        changed_days=job.get("changed_days") or 0,
        accuracy=_finite(job.get("accuracy_metrics") or {}),
        summary=_finite(results.get("summary") or {}),
    )


def anomalies(data: ReportInput) -> tuple[list[Anomaly], int]:
    """The anomalies that overlap the period, by time, and how many of the result do not."""
    results = data.analyses.get("anomaly", {}).get("results") or {}
    if "events" in results:
        events = [_event(event) for event in results["events"]]
    else:
        events = [_single_point(point) for point in results.get("anomalies", []) if point.get("is_anomaly", True)]
    inside = [event for event in events if event.start < data.end and event.end >= data.start]
    return sorted(inside, key=lambda event: (event.start, event.end)), len(events) - len(inside)


def _event(event: Mapping[str, Any]) -> Anomaly:
    points = event.get("points")
    return Anomaly(
        start=_known(event, "start", "anomaly"),
        end=_known(event, "end", "anomaly"),
        metric=_optional(event.get("metric")),
        score=number(event.get("score")),
        points=points if isinstance(points, int) else None,
        kind=_optional(event.get("kind")),
        why=_optional(event.get("why")),
    )


def _single_point(point: Mapping[str, Any]) -> Anomaly:
    time = _known(point, "timestamp", "anomaly")
    return Anomaly(
        start=time, end=time, metric=_optional(point.get("metric")), score=number(point.get("anomaly_score")), points=1
    )


def forecast(data: ReportInput) -> Forecast | None:
    """The forecast, of the time after its data. None if there are no points."""
    results = data.analyses.get("forecast", {}).get("results") or {}
    points = [_forecast_point(point) for point in results.get("forecast") or []]
    if not points:
        return None
    history = [
        PastPoint(timestamp=_known(point, "timestamp", "forecast"), value=value)
        for point in results.get("history") or []
        if (value := number(point.get("value"))) is not None
    ]
    metric = text(results.get("metric") or "power")
    unit = text(results.get("unit") or UNITS.get(metric, ""))
    return Forecast(
        metric=metric, unit=unit, points=points, history=history, energy_next_24h_kwh=_next_24h(points, unit)
    )


def _forecast_point(point: Mapping[str, Any]) -> ForecastPoint:
    value = number(point.get("value"))
    if value is None:
        raise ReportError(f"The forecast result has a point without a value: {dict(point)}. Run the forecast again.")
    bounds = {key: number(point.get(key)) for key in ("lower", "upper", "lower_80", "upper_80")}
    return ForecastPoint(timestamp=_known(point, "timestamp", "forecast"), value=value, **bounds)


def _next_24h(points: list[ForecastPoint], unit: str) -> float | None:
    """Energy (kWh) of the first 24 hours. None for fewer hours or other units.

    Each value of power holds for its step; energy is forecast by the hour.
    """
    watts = 1000.0 if unit == "kWh" else WATTS_PER_UNIT.get(unit)
    if watts is None or len(points) < 2:
        return None
    steps = [b.timestamp - a.timestamp for a, b in pairwise(points)]
    ends = points[0].timestamp + timedelta(hours=24)
    within = [(p, s) for p, s in zip(points, [*steps, steps[-1]], strict=True) if p.timestamp < ends]
    if sum((step for _, step in within), timedelta()) < timedelta(hours=24):
        return None
    return sum(p.value * watts / 1000 * (step / timedelta(hours=1)) for p, step in within)


def alerts(data: ReportInput) -> list[Alert]:
    """The alerts, newest first by the time of the reading that raised them."""
    return sorted(map(_alert, data.alerts), key=lambda alert: alert.time or EPOCH, reverse=True)


def _alert(alert: Mapping[str, Any]) -> Alert:
    rule = alert.get("rule") or {}
    raised, acknowledged, resolved = (
        _moment(alert.get(key), "alert") for key in ("created_at", "acknowledged_at", "resolved_at")
    )
    return Alert(
        alert_id=text(alert.get("alert_id", "")),
        rule=_optional(rule.get("rule_name") or rule.get("name")),
        severity=text(alert.get("severity") or "high"),
        status=text(alert.get("status") or "open"),
        message=text(alert.get("message") or ""),
        actual_value=number(alert.get("actual_value")),
        threshold_value=number(alert.get("threshold_value")),
        time=_moment(alert.get("reading_time") or alert.get("created_at"), "alert"),
        metric=_optional(rule.get("property")),
        condition=_optional(rule.get("condition")),
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
        as_of=_moment(results.get("as_of"), "prediction"),
        horizon_hours=number(results.get("horizon_hours")),
        drivers=[Driver(metric=text(metric), share=share) for metric, share in drivers if metric and share is not None],
        failures_learnt_from=_whole(summary.get("failures_learnt_from")),
        failures_tested=_whole(accuracy.get("failures_tested")),
        failures_found=_whole(accuracy.get("failures_found")),
        false_alarm_share=number(accuracy.get("false_alarm_share")),
        remaining_life=_remaining_life(results.get("remaining_life")),
        warning=_optional(results.get("warning")),
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
        reason=_optional(life.get("reason")),
        warning=_optional(life.get("warning")),
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _known(item: Mapping[str, Any], key: str, what: str) -> datetime:
    moment = _moment(item.get(key), what)
    if moment is None:
        raise ReportError(f"The {what} result has an item without {key}: {dict(item)}. Run the analysis again.")
    return moment


def _moment(value: object, what: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ReportError(
            f"The {what} result has {value!r} where a time is expected. Run the analysis again."
        ) from None
    if moment.tzinfo is None:
        raise ReportError(f"The {what} result has the time {value} without a UTC offset. Run the analysis again.")
    return moment


def _optional(value: object) -> str | None:
    return None if value is None else text(value)


def _finite(value: Any) -> Any:
    """The JSON data with null in place of NaN and infinite numbers."""
    if isinstance(value, Mapping):
        return {text(key): _finite(item) for key, item in value.items()}
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Iterable):
        return [_finite(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else number(value)
