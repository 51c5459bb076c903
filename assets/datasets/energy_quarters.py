"""Energy of devices by quarter hours as a table, for SQL."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from assets.datasets.consumption import energy_of
from assets.datasets.reader import TelemetryReader
from assets.energy.cells import MILLIONTHS
from storage import catalogue
from storage.stores import Stores
from storage.telemetry import TIME
from storage.times import QUARTER, microseconds, midnight

SCHEMA = pa.schema(
    [
        ("device_id", pa.string()),
        ("start_time", TIME),
        ("energy_kwh", pa.float64()),
        ("energy_export_kwh", pa.float64()),
        ("coverage", pa.float64()),
        ("source", pa.string()),
    ]
)


def energy_quarters(
    stores: Stores, devices: Sequence[str] | None, start: date | None = None, end: date | None = None
) -> pa.Table:
    """Energy taken and fed in of every measured quarter hour of the days that have files, both ends inclusive.

    `coverage` is the measured share of the quarter hour. What registers counted over gaps is in no quarter hour.
    """
    first, last = start or date.min, end or date.max
    names = catalogue.devices_of_days(stores.session, first, last) if devices is None else devices
    return pa.concat_tables([SCHEMA.empty_table(), *_of_devices(stores, names, start, end)])


def _of_devices(stores: Stores, devices: Sequence[str], start: date | None, end: date | None) -> Iterator[pa.Table]:
    for device_id in devices:
        files = catalogue.datasets_of(stores.session, device_id, start=start, end=end, kind="day")
        if not files:
            continue
        reader = TelemetryReader(stores.session, stores.telemetry, stores.objects)
        since = microseconds(midnight(files[0].start_date))
        until = microseconds(midnight(files[-1].end_date + timedelta(days=1)))
        energy = energy_of(stores.session, reader, device_id, since, until, files_only=True)
        cells, count = energy.cells, len(energy.cells.starts)
        exported = pa.array(cells.out / MILLIONTHS) if energy.is_export_known else pa.nulls(count, pa.float64())
        yield pa.table(
            {
                "device_id": pa.array([device_id] * count, pa.string()),
                "start_time": pa.array(cells.starts).cast(TIME),
                "energy_kwh": pa.array(cells.amounts / MILLIONTHS) if energy.sources else pa.nulls(count, pa.float64()),
                "energy_export_kwh": exported,
                "coverage": np.minimum(cells.covered / QUARTER, 1.0),
                "source": pa.array([energy.source] * count, pa.string()),
            },
            schema=SCHEMA,
        )
