"""What the registers of a device counted in a report's period."""

from collections.abc import Iterator

from assets.reports.measures import Measured
from assets.reports.sections import Register
from storage.times import moment


def registers(measured: Measured) -> Iterator[Register]:
    """Every register that the device sent: consumption says what it counted, and not its mean or its range."""
    consumption = measured.energy.consumption
    for metric in measured.metrics:
        if metric not in measured.data.counters and metric not in consumption:
            continue
        times, values = measured.track(metric)
        counted, unit = consumption.get(metric, (None, measured.unit(metric)))
        yield Register(
            metric=metric,
            unit=unit,
            consumption=counted,
            first=float(values[0]) if len(values) else None,
            first_at=moment(times[0].item()) if len(times) else None,
            last=float(values[-1]) if len(values) else None,
            last_at=moment(times[-1].item()) if len(times) else None,
        )
