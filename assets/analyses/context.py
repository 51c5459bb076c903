"""What an analysis knows of a device besides its readings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from zoneinfo import ZoneInfo

from assets.datasets.consumption import energy_of
from assets.datasets.history import LeftOutDay
from assets.datasets.reader import TelemetryReader
from assets.energy import EnergyFigures, SiteSettings
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

    `left_out` are the UTC days that are not used.
    """

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    metadata: DeviceMetadata = field(default_factory=DeviceMetadata)
    is_holiday: Callable[[date], bool] = _no_holiday
    energy: Callable[[], EnergyFigures | None] = _no_energy
    left_out: frozenset[date] = frozenset()


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
    )
