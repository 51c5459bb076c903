"""A machine as it is now: its state, its newest reading, the energy of today and the course of the last day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from fastapi import Request
from sqlmodel import Session

from assets.datasets import TelemetryReader, energy_of, states_of
from assets.energy import State
from serving.pages.recent import recent
from storage import maintenance
from storage.attention import MachineRow
from storage.devices import Device, DeviceMetadata, order_metrics
from storage.settings import Settings
from storage.times import DAY, HOUR, MINUTE, SECOND, microseconds, moment, utc_now

# A state stands from the last reading on for so long, or for three of the device's usual steps.
STANDS = 15 * MINUTE


@dataclass(frozen=True)
class MachineFigures:
    """A machine now. `hours`: its mean power (W) in each of the last 24 hours; None where nothing is known.

    `metric`, `value` and `at` are of the newest reading of the last day; None without any.
    """

    state: State | None
    metric: str | None
    value: float | None
    at: datetime | None
    kwh_today: float | None
    coverage: float
    hours: Sequence[float | None]


NEVER_SEEN = MachineFigures(None, None, None, None, None, 0.0, ())


def figures_of(
    request: Request, session: Session, reader: TelemetryReader, settings: Settings, rows: Sequence[MachineRow]
) -> dict[str, MachineFigures]:
    """The figures of each machine; those worked out within the last 20 seconds are not worked out again."""
    kept, found = recent(request), {}
    for row in rows:
        device = row.device
        key = ("figures", device.device_id, device.updated_at)
        make = partial(_figures, session, reader, settings, device)
        found[device.device_id] = kept.get(key, make) if row.last_seen_at else NEVER_SEEN
    return found


def _figures(session: Session, reader: TelemetryReader, settings: Settings, device: Device) -> MachineFigures:
    now = microseconds(utc_now())
    metadata = DeviceMetadata.parse(device.metadata_json)
    today = moment(now).astimezone(metadata.zone(settings.zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    midnight, end = microseconds(today), now // HOUR * HOUR + HOUR
    start = min(midnight, end - DAY)
    energy = energy_of(session, reader, device.device_id, start, max(end, now))
    of_today = energy.part(midnight, max(end, now))
    hours = [energy.part(hour, hour + HOUR).mean_power for hour in range(end - DAY, end, HOUR)]
    metric, value, at = newest_reading(reader, device.device_id, now)
    state = state_now(session, reader, device, metadata, now)
    return MachineFigures(state, metric, value, at, of_today.kwh, of_today.coverage, hours)


def newest_reading(
    reader: TelemetryReader, device_id: str, now: int
) -> tuple[str | None, float | None, datetime | None]:
    """Metric, value and time of the newest reading within a day; power, if the reading has it."""
    rows = reader.read(device_id, now - DAY, now + HOUR, newest=1)
    if not len(rows):
        return None, None, None
    row = rows.to_pylist()[-1]
    at = row.pop("time")
    names = [name for name in ("power", *order_metrics(set(row))) if row.get(name) is not None]
    return (names[0], row[names[0]], at) if names else (None, None, at)


def state_now(
    session: Session, reader: TelemetryReader, device: Device, metadata: DeviceMetadata, now: int
) -> State | None:
    """The state that a machine has; None if nothing was known of it for hours."""
    planned = maintenance.windows_during(
        session, device.device_id, device.tenant_id, moment(now) - timedelta(hours=1), moment(now)
    )
    windows = [(microseconds(window.starts_at), microseconds(window.ends_at)) for window in planned]
    found, source = states_of(session, reader, device.device_id, now - HOUR, now, maintenance=windows)
    if not found.spans or source is None:
        return None
    last = found.spans[-1]
    stands = max(STANDS, int(3 * (metadata.cadence_seconds or 0) * SECOND))
    if last.state == "silent" and last.end - last.start <= stands and len(found.spans) > 1:
        return found.spans[-2].state
    return last.state
