"""What analyses and rules found, from their results as REST answers them to the report's content.

Keys that a result may lack are null in the report; a result that contradicts its own form is an error.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from assets.reports.content import (
    Alert,
    Analysis,
    Anomaly,
    Forecast,
    ForecastPoint,
    PastPoint,
    ReportError,
    ReportInput,
)
from storage.devices import UNITS
from storage.times import EPOCH

# Marks that turn the direction of the text around them, with which a name could rewrite its neighbours.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
WATTS = {"W": 1.0, "kW": 1e3, "MW": 1e6}


def text(value: object) -> str:
    """A user's text on one line, without characters that are none to see."""
    kept = [
        " " if character.isspace() else character
        for character in str(value)
        if character.isspace() or (unicodedata.category(character) not in ("Cc", "Cs") and character not in _TURNING)
    ]
    return re.sub(" +", " ", "".join(kept)).strip()


def number(value: object) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def analyses(data: ReportInput) -> list[Analysis]:
    """What became of each analysis that was asked for."""
    return [_analysis(name, found) for name, found in sorted(data.analyses.items())]


def _analysis(name: str, found: Mapping[str, Any]) -> Analysis:
    if "missing" in found:
        return Analysis(type=name, status="missing", reason=text(found["missing"]))
    results = found.get("results") or {}
    return Analysis(
        type=name,
        status="completed",
        job_id=_optional(found.get("job_id")),
        model=_optional(found.get("model_name")),
        dataset_key=_optional(found.get("dataset_key")),
        completed_at=_moment(found.get("completed_at"), name),
        accuracy=_finite(found.get("accuracy_metrics") or {}),
        summary=_finite(results.get("summary") or {}),
    )


def anomalies(data: ReportInput) -> tuple[list[Anomaly], int]:
    """Events that touch the period, in time order, and how many of the result's lie outside it."""
    results = data.analyses.get("anomaly", {}).get("results") or {}
    if "events" in results:
        found = [_event(event) for event in results["events"]]
    else:
        found = [_lone_point(point) for point in results.get("anomalies", []) if point.get("is_anomaly", True)]
    inside = [event for event in found if event.start < data.end and event.end >= data.start]
    return sorted(inside, key=lambda event: (event.start, event.end)), len(found) - len(inside)


def _event(event: Mapping[str, Any]) -> Anomaly:
    points = event.get("points")
    return Anomaly(
        start=_known(event, "start", "anomaly"),
        end=_known(event, "end", "anomaly"),
        metric=_optional(event.get("metric")),
        score=number(event.get("score")),
        points=points if isinstance(points, int) else None,
    )


def _lone_point(point: Mapping[str, Any]) -> Anomaly:
    time = _known(point, "timestamp", "anomaly")
    return Anomaly(
        start=time, end=time, metric=_optional(point.get("metric")), score=number(point.get("anomaly_score")), points=1
    )


def forecast(data: ReportInput) -> Forecast | None:
    """The forecast as points; None where there is none."""
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
        raise ReportError(f"the forecast's result has a point without a value: {dict(point)}; run the forecast again")
    bounds = {key: number(point.get(key)) for key in ("lower", "upper", "lower_80", "upper_80")}
    return ForecastPoint(timestamp=_known(point, "timestamp", "forecast"), value=value, **bounds)


def _next_24h(points: list[ForecastPoint], unit: str) -> float | None:
    """Expected energy (kWh) of the first 24 h: each value holds for its step. None for less, or what is no power."""
    if unit not in WATTS or len(points) < 2:
        return None
    steps = [b.timestamp - a.timestamp for a, b in pairwise(points)]
    ends = points[0].timestamp + timedelta(hours=24)
    within = [(p, s) for p, s in zip(points, [*steps, steps[-1]], strict=True) if p.timestamp < ends]
    if sum((step for _, step in within), timedelta()) < timedelta(hours=24):
        return None
    return sum(p.value * WATTS[unit] / 1000 * (step / timedelta(hours=1)) for p, step in within)


def alerts(data: ReportInput) -> list[Alert]:
    """The alerts, newest first, by the time of the reading that raised them."""
    found = [_alert(alert) for alert in data.alerts]
    return sorted(found, key=lambda alert: alert.time or EPOCH, reverse=True)


def _alert(alert: Mapping[str, Any]) -> Alert:
    rule = alert.get("rule") or {}
    return Alert(
        alert_id=text(alert.get("alert_id", "")),
        rule=_optional(rule.get("rule_name") or rule.get("name")),
        severity=text(alert.get("severity") or "high"),
        status=text(alert.get("status") or "open"),
        message=text(alert.get("message") or ""),
        actual_value=number(alert.get("actual_value")),
        threshold_value=number(alert.get("threshold_value")),
        time=_moment(alert.get("reading_time") or alert.get("created_at"), "alert"),
    )


def _known(item: Mapping[str, Any], key: str, what: str) -> datetime:
    found = _moment(item.get(key), what)
    if found is None:
        raise ReportError(f"the {what} result has an item without {key}: {dict(item)}; run the analysis again")
    return found


def _moment(value: object, what: str) -> datetime | None:
    if value is None:
        return None
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ReportError(f"the {what} result has the time {value!r}, which is none; run the analysis again") from None
    if found.tzinfo is None:
        raise ReportError(f"the {what} result has the time {value} without an offset; run the analysis again")
    return found


def _optional(value: object) -> str | None:
    return None if value is None else text(value)


def _finite(value: Any) -> Any:
    """JSON data without NaN or infinite numbers: they become null."""
    if isinstance(value, Mapping):
        return {text(key): _finite(item) for key, item in value.items()}
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Iterable):
        return [_finite(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else number(value)
