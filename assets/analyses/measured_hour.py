"""What was measured in an hour, in the sense in which forecasts foretell it."""

from datetime import datetime

from sqlmodel import Session

from assets.analyses.parameters import ENERGY_METRICS
from assets.datasets.consumption import energy_of
from assets.datasets.reader import TelemetryReader
from assets.quality.coverage import Cadences, coverage
from storage.devices import metadata_of
from storage.times import HOUR, microseconds

CADENCE_SPAN = 4 * HOUR  # before the hour's end: the readings whose steps are the usual ones


def measured_hour(
    session: Session, reader: TelemetryReader, device_id: str, metric: str, start: datetime
) -> tuple[float | None, float]:
    """The value of a metric in the hour that begins at `start`, and the measured share of the hour.

    Of energy it is the kWh, scaled to the whole hour; of other metrics the mean of the readings. None without readings.
    """
    first = microseconds(start)
    if metric in ENERGY_METRICS:
        energy = energy_of(session, reader, device_id, first, first + HOUR)
        kwh = energy.kwh if metric == ENERGY_METRICS[0] else energy.export_kwh
        share = energy.coverage or 0.0
        return (None, 0.0) if kwh is None or not share else (kwh / share, share)
    readings = reader.corrected().read(device_id, first + HOUR - CADENCE_SPAN, first + HOUR, metrics=[metric])
    readings = readings.select(["time", metric]).drop_null()
    times = readings["time"].cast("int64").to_numpy()
    values = readings[metric].to_numpy()
    within = times >= first
    if not within.any():
        return None, 0.0
    declared = metadata_of(session, device_id).cadence_seconds
    covered = coverage(times[within], first, first + HOUR, Cadences(declared, times))
    return float(values[within].mean()), covered.share or 0.0
