"""What a forecast expects: turns its results, as the API returns them, into the report's content."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from assets.reports.analysed import Forecast, ForecastMonth, ForecastPoint, PastPoint
from assets.reports.errors import ReportError
from assets.reports.inputs import ReportInput
from assets.reports.results import known_time, number, text
from storage.devices import UNITS

WATTS_PER_UNIT = {"W": 1.0, "kW": 1e3, "MW": 1e6}


def forecast(data: ReportInput) -> Forecast | None:
    """The forecast, of the time after its data. None if there are no points."""
    results = data.analyses.get("forecast", {}).get("results") or {}
    points = [_forecast_point(point) for point in results.get("forecast") or []]
    if not points:
        return None
    history = [
        PastPoint(timestamp=known_time(point, "timestamp", "forecast"), value=value)
        for point in results.get("history") or []
        if (value := number(point.get("value"))) is not None
    ]
    metric = text(results.get("metric") or "power")
    unit = text(results.get("unit") or UNITS.get(metric, ""))
    return Forecast(
        metric=metric,
        unit=unit,
        points=points,
        history=history,
        energy_next_24h_kwh=_next_24h(points, unit),
        months=list(_months(results.get("months") or [], points[0].timestamp)),
    )


def _months(months: Iterable[Mapping[str, Any]], begin: datetime) -> Iterator[ForecastMonth]:
    """The months that the forecast reaches into, which follow each other from where it begins."""
    for month in months:
        expected = number(month.get("expected_kwh"))
        if expected is None:
            continue
        begin += timedelta(hours=number(month.get("hours_forecast")) or 0.0)
        yield ForecastMonth(
            start=known_time(month, "from", "forecast"),
            until=begin,
            measured_kwh=number(month.get("measured_kwh")),
            expected_kwh=expected,
            **{key: number(month.get(key)) for key in ("lower", "upper", "lower_80", "upper_80")},
        )


def _forecast_point(point: Mapping[str, Any]) -> ForecastPoint:
    value = number(point.get("value"))
    if value is None:
        raise ReportError(f"The forecast result has a point without a value: {dict(point)}. Run the forecast again.")
    bounds = {key: number(point.get(key)) for key in ("lower", "upper", "lower_80", "upper_80")}
    return ForecastPoint(timestamp=known_time(point, "timestamp", "forecast"), value=value, **bounds)


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
