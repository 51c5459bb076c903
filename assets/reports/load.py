"""Measures the load of a report: its duration curve, and its mean by weekday and hour."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.energy.figures import WELL_COVERED
from assets.reports.measures import Measured
from assets.reports.sections import Load
from storage.times import HOUR, QUARTER

SHARES = np.linspace(0, 1, 101)
HOURS, DAYS = 24, 7


def load(measured: Measured) -> Load | None:
    """The load of the period. None if no quarter hour was measured well, or nothing measures what is taken."""
    cells = measured.energy.cells
    well = cells.covered >= WELL_COVERED * QUARTER
    if not measured.energy.sources or not well.any():
        return None
    starts = cells.starts[well]
    watts = cells.amounts[well] / 1000 / (cells.covered[well] / HOUR)
    local = pc.local_timestamp(
        pa.array(starts, pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us", tz=measured.data.zone.key))
    )
    slots = pc.day_of_week(local).to_numpy() * HOURS + pc.hour(local).to_numpy()
    counts = np.bincount(slots, minlength=DAYS * HOURS)
    sums = np.bincount(slots, weights=watts, minlength=DAYS * HOURS)
    means = [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]
    return Load(
        quarter_hours=int(well.sum()),
        duration_curve_w=np.quantile(watts, 1 - SHARES).tolist(),
        by_hour_w=[means[day * HOURS : (day + 1) * HOURS] for day in range(DAYS)],
    )
