"""A machine as it is now: its state, its newest reading, the energy of today and the course of the last day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from fastapi import Request
from sqlmodel import Session

from assets.datasets import TelemetryReader, energy_of, states_of
from assets.energy import State
from serving.pages.cadence import silent_after
from serving.pages.recent import recent
from storage import maintenance
from storage.attention import MachineRow
from storage.devices import Device, DeviceMetadata, order_metrics
from storage.settings import Settings
from storage.times import DAY, HOUR, microseconds, midnight, moment, utc_now

# So many of the newest readings say how often the machine sends.
NEWEST = 20


@dataclass(frozen=True)
class MachineFigures:
    """A machine now. `hours`: its mean power (W) in each of the last 24 hours; None where nothing is known.

    `metric`, `value` and `at` are of the newest reading of the last day; None without any.
    """

    state: State
    metric: str | None
    value: float | None
    at: datetime | None
    kwh_today: float | None
    coverage: float
    hours: Sequence[float | None]
    fed_in_today: float | None = None


NEVER_SEEN = MachineFigures("silent", None, None, None, None, 0.0, ())


def figures_of(
    request: Request, session: Session, reader: TelemetryReader, settings: Settings, rows: Sequence[MachineRow]
) -> dict[str, MachineFigures]:
    """The figures of each machine; those worked out within the last 20 seconds are not worked out again."""
    kept, found = recent(request), {}
    for row in rows:
        device = row.device
        key = ("figures", device.device_id, device.updated_at)
        if row.last_seen_at is None:
            found[device.device_id] = NEVER_SEEN
        else:
            found[device.device_id] = kept.get(
                key, partial(_figures, session, reader, settings, device, row.last_seen_at)
            )
    return found


def _figures(
    session: Session, reader: TelemetryReader, settings: Settings, device: Device, seen: datetime
) -> MachineFigures:
    now = microseconds(utc_now())
    metadata = DeviceMetadata.parse(device.metadata_json)
    # The site's day, as the sum over all machines has it.
    today = midnight(moment(now).astimezone(settings.zone).date(), settings.zone)
    day_start, end = microseconds(today), now // HOUR * HOUR + HOUR
    start = min(day_start, end - DAY)
    energy = energy_of(session, reader, device.device_id, start, max(end, now))
    of_today = energy.part(day_start, max(end, now))
    hours = [energy.part(hour, hour + HOUR).mean_power for hour in range(end - DAY, end, HOUR)]
    rows = reader.read(device.device_id, now - DAY, now + HOUR, newest=NEWEST).to_pylist()
    metric, value, at = newest_value(rows)
    times = [microseconds(row["time"]) for row in rows]
    newest = max([microseconds(seen), *times[-1:]])
    state = state_now(session, reader, device, now, seen=newest, after=silent_after(metadata, times))
    return MachineFigures(state, metric, value, at, of_today.kwh, of_today.coverage, hours, of_today.export_kwh)


def newest_value(rows: Sequence[Mapping[str, Any]]) -> tuple[str | None, float | None, datetime | None]:
    """Metric, value and time of the newest reading; power, if the reading has it."""
    if not rows:
        return None, None, None
    at, row = rows[-1]["time"], {name: value for name, value in rows[-1].items() if name != "time"}
    names = [name for name in ("power", *order_metrics(set(row))) if row.get(name) is not None]
    return (names[0], row[names[0]], at) if names else (None, None, at)


def state_now(session: Session, reader: TelemetryReader, device: Device, now: int, *, seen: int, after: int) -> State:
    """The state of a machine that was last `seen` (µs) and is silent `after` that (µs); `unknown`: it does send."""
    planned = maintenance.windows_during(
        session, device.device_id, device.tenant_id, moment(now) - timedelta(hours=1), moment(now)
    )
    windows = [(microseconds(window.starts_at), microseconds(window.ends_at)) for window in planned]
    found, _ = states_of(session, reader, device.device_id, now - HOUR, now, maintenance=windows)
    last = found.spans[-1] if found.spans else None
    if last is not None and last.state != "silent":
        return last.state
    if now - seen >= after:
        return "silent"
    # Until the next reading the last state stands.
    before = found.spans[-2] if len(found.spans) > 1 else None
    return before.state if before and before.state != "maintenance" and seen - before.end < after else "unknown"
