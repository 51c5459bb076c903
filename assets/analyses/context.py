"""What an analysis knows of a device besides its readings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from assets.analyses.label import Label
from assets.datasets.consumption import energy_of
from assets.datasets.history import LeftOutDay
from assets.datasets.reader import TelemetryReader
from assets.energy import EnergyFigures, SiteSettings
from storage.anomaly_feedback import AnomalyFeedback, Verdict, newest_labels
from storage.devices import DeviceMetadata, metadata_of
from storage.stores import Stores
from storage.times import microseconds


def _no_holiday(_day: date) -> bool:
    return False


def _no_energy() -> EnergyFigures | None:
    return None


@dataclass(frozen=True)
class DeviceContext:
    """The device's time zone and metadata, the site's holidays, and the device's energy over the analysed range.

    `left_out` are the UTC days that are not used. `labels` are what people said of the device's anomalies.
    `kept` is what an earlier analysis with the same parameters has fitted (`Result.fitted`).
    """

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    metadata: DeviceMetadata = field(default_factory=DeviceMetadata)
    is_holiday: Callable[[date], bool] = _no_holiday
    energy: Callable[[], EnergyFigures | None] = _no_energy
    left_out: frozenset[date] = frozenset()
    labels: tuple[Label, ...] = ()
    kept: Any = None


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
    )


def _label(row: AnomalyFeedback) -> Label:
    verdict: Verdict = "fault" if row.verdict == "fault" else "none"
    return Label(row.starts_at, row.ends_at, verdict, row.kind, row.model_name, row.exceeds)
