"""What an analysis knows of a device besides its readings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache, partial
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from assets.analyses.label import Label
from assets.analyses.prognostics.recorded import RecordedFailure
from assets.datasets.consumption import energy_of
from assets.datasets.export import NoTelemetry
from assets.datasets.history import LeftOutDay, UnfitDatasets, read_history
from assets.datasets.reader import TelemetryReader
from assets.energy import EnergyFigures, SiteSettings
from storage import failures
from storage.anomaly_feedback import AnomalyFeedback, Verdict, newest_labels
from storage.devices import DeviceMetadata, metadata_of
from storage.failures import Failure
from storage.fleet import devices_like
from storage.stores import Stores
from storage.times import microseconds

MAX_PEERS = 50


def _no_holiday(_day: date) -> bool:
    return False


def _no_energy() -> EnergyFigures | None:
    return None


@dataclass(frozen=True)
class Peer:
    """Another device of the same type and tenant: its recorded failures, and how to read its rows of the same days."""

    device_id: str
    failures: tuple[RecordedFailure, ...]
    read: Callable[[], pa.Table | None]


def _no_peers() -> Sequence[Peer]:
    return ()


@dataclass(frozen=True)
class DeviceContext:
    """The device's time zone and metadata, the site's holidays, and the device's energy over the analysed range.

    `left_out` are the UTC days that are not used. `labels` are what people said of the device's anomalies.
    `kept` is what an earlier analysis with the same parameters has fitted (`Result.fitted`). `failures` are the
    recorded ones of the device. `peers` are other devices of its type and tenant, those with the most failures first.
    """

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    metadata: DeviceMetadata = field(default_factory=DeviceMetadata)
    is_holiday: Callable[[date], bool] = _no_holiday
    energy: Callable[[], EnergyFigures | None] = _no_energy
    left_out: frozenset[date] = frozenset()
    labels: tuple[Label, ...] = ()
    kept: Any = None
    failures: tuple[RecordedFailure, ...] = ()
    peers: Callable[[], Sequence[Peer]] = _no_peers


def device_context(
    stores: Stores, device_id: str, start: datetime, end: datetime, left_out: Sequence[LeftOutDay] = ()
) -> DeviceContext:
    """The context of a device; its energy is that of the files from `start` up to `end`, and read when asked for."""
    metadata = metadata_of(stores.session, device_id)

    @cache
    def energy() -> EnergyFigures | None:
        reader = TelemetryReader(stores.session, stores.telemetry, stores.objects)
        return energy_of(stores.session, reader, device_id, microseconds(start), microseconds(end), files_only=True)

    return DeviceContext(
        zone=metadata.zone(stores.zone),
        metadata=metadata,
        is_holiday=SiteSettings.load().is_holiday,
        energy=energy,
        left_out=frozenset(day.day for day in left_out),
        labels=tuple(_label(row) for row in newest_labels(stores.session, device_id)),
        failures=_recorded(failures.of_devices(stores.session, [device_id]).get(device_id, ())),
        peers=lambda: _peers(stores, device_id, start, end),
    )


def _label(row: AnomalyFeedback) -> Label:
    verdict: Verdict = "fault" if row.verdict == "fault" else "none"
    return Label(row.starts_at, row.ends_at, verdict, row.kind, row.model_name, row.exceeds)


def _peers(stores: Stores, device_id: str, start: datetime, end: datetime) -> list[Peer]:
    others = devices_like(stores.session, device_id)
    recorded = failures.of_devices(stores.session, others)
    others = sorted(others, key=lambda name: (-len(recorded.get(name, ())), name))[:MAX_PEERS]
    return [Peer(name, _recorded(recorded.get(name, ())), partial(_rows, stores, name, start, end)) for name in others]


def _rows(stores: Stores, device_id: str, start: datetime, end: datetime) -> pa.Table | None:
    """A device's rows without days in which quality checks found errors; None if nothing remains."""
    last = (end - timedelta(microseconds=1)).date()
    try:
        return read_history(stores, device_id, start=start.date(), end=last)[1]
    except (NoTelemetry, UnfitDatasets):
        return None


def _recorded(rows: Iterable[Failure]) -> tuple[RecordedFailure, ...]:
    return tuple(RecordedFailure(row.failed_at, row.repaired_at) for row in rows)
