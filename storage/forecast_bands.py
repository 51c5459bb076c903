"""The bands of stored forecasts: between which values a metric was expected in an hour."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import text
from sqlmodel import Session

DEFAULT_HORIZON_HOURS = 24


class ForecastBand(NamedTuple):
    """The 95 % band of one hour that begins at `start`."""

    start: datetime
    lower: float
    upper: float


# A forecast counts if its data end before the hours in question and it reaches as far; the newest of several does.
# The hours that it reaches are estimated from its parameters, since its result is large.
_BANDS = text("""
SELECT d.device_id, (p ->> 'timestamp')::timestamptz AS start, (p ->> 'lower')::float8 AS lower,
       (p ->> 'upper')::float8 AS upper
FROM unnest(CAST(:devices AS text[])) AS d (device_id)
CROSS JOIN LATERAL (
    SELECT j.results FROM analytics_jobs j
    WHERE j.device_id = d.device_id AND j.analysis_type = 'forecast' AND j.status = 'completed'
      AND j.date_range_end <= :since
      AND j.date_range_end
          + make_interval(hours => coalesce((j.parameters ->> 'horizon_hours')::int, :horizon)) > :since
      AND j.results ->> 'metric' = :metric
    ORDER BY j.date_range_end DESC, j.completed_at DESC LIMIT 1
) j
CROSS JOIN LATERAL jsonb_array_elements(j.results -> 'forecast') p
WHERE (p ->> 'timestamp')::timestamptz >= :since AND (p ->> 'timestamp')::timestamptz < :until
ORDER BY d.device_id, start
""")


def newest_bands(
    session: Session, device_ids: Sequence[str], metric: str, since: datetime, until: datetime
) -> dict[str, list[ForecastBand]]:
    """The bands of hours that begin in [since, until), ascending, by device; of devices that have a forecast for them.

    A forecast of readings after `since` does not count: it knew what it was to foretell.
    """
    values = {"devices": list(device_ids), "metric": metric, "since": since, "until": until}
    rows = session.execute(_BANDS, {**values, "horizon": DEFAULT_HORIZON_HOURS})
    found: dict[str, list[ForecastBand]] = {}
    for device_id, start, lower, upper in rows:
        if lower is not None and upper is not None:
            found.setdefault(device_id, []).append(ForecastBand(start, lower, upper))
    return found


def hours_back(now: datetime, hours: int) -> tuple[datetime, datetime]:
    """The range in which the newest `hours` hours began that are over, at whatever minute hours begin."""
    return now - timedelta(hours=hours + 1), now - timedelta(hours=1)
