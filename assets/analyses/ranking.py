"""The figure of a result by which the fleet is ranked."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

CURRENT = timedelta(hours=24)  # before the last reading; and the coming hours whose energy is compared
HOURS = 24


def ranking_of(analysis_type: str, results: Mapping[str, Any], until: datetime) -> float | None:
    """The figure that `GET /api/v1/analytics/fleet` ranks a device by; None if the result has none.

    Of anomalies: the score of the strongest event that reaches into the newest 24 hours before `until`, 0 if there is
    none. Of failures: the probability. Of forecasts of power or energy: the kWh of the coming 24 hours. `until` is the
    moment of the last reading.
    """
    if analysis_type == "anomaly":
        event = strongest_event(results, until)
        return event["score"] if event else 0.0
    if analysis_type == "prediction":
        probability: float | None = results.get("failure_probability")
        return probability
    coming = [hour["value"] for hour in results["forecast"][:HOURS]]
    per_hour = {"energy": 1.0, "power": 1e-3}.get(results["metric"])
    if per_hour is None or len(coming) < HOURS or None in coming:
        return None
    return round(float(sum(coming)) * per_hour, 6)


def strongest_event(results: Mapping[str, Any], until: datetime) -> dict[str, Any] | None:
    """The strongest anomaly that reaches into the newest 24 hours before `until`; None if there is none."""
    current = [event for event in results["events"] if _moment(event["end"]) >= until - CURRENT]
    return max(current, key=lambda event: event["score"], default=None)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
