"""Device profiles: what ingestion needs to know of a device, from its registry row and its maintenance windows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from storage.devices import Device, DeviceMetadata
from storage.maintenance import MaintenanceWindow
from storage.times import microseconds

UTC = ZoneInfo("UTC")

# A half-open range of time, in microseconds.
Window = tuple[int, int]


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """What ingestion needs to know of a device. The defaults are those of a device that is not registered."""

    enrichment_status: str = "failed"
    tenant_id: str | None = None
    device_type: str | None = None
    location: str | None = None
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    zone: ZoneInfo = UTC
    # The registry's status; None if the device is deleted or not registered.
    status: str | None = None
    edited_at: int = 0  # when it was registered or last edited, in microseconds
    windows: Sequence[Window] = ()

    def in_maintenance(self, time: int) -> bool:
        """Whether the device is in maintenance at that time, by its present status or by a window."""
        return self.status == "maintenance" or any(start <= time < end for start, end in self.windows)


UNREGISTERED = DeviceProfile()


class Windows:
    """Maintenance windows, by the devices that they cover."""

    def __init__(self, windows: Iterable[MaintenanceWindow]) -> None:
        self._by_device: dict[str | None, list[MaintenanceWindow]] = {}
        for window in windows:
            self._by_device.setdefault(window.device_id, []).append(window)

    @property
    def devices(self) -> set[str]:
        """Devices that have a window of their own."""
        return {device_id for device_id in self._by_device if device_id is not None}

    def of(self, device_id: str | None, tenant_id: str | None) -> tuple[Window, ...]:
        """The windows that cover a device: its own, those of all devices, and those of all devices of its tenant."""
        own = self._by_device.get(device_id, []) if device_id is not None else []
        return tuple(
            (microseconds(window.starts_at), microseconds(window.ends_at))
            for window in [*own, *self._by_device.get(None, [])]
            if window.tenant_id in (None, tenant_id)
        )


def profile_of(device: Device, site: ZoneInfo = UTC, windows: Sequence[Window] = ()) -> DeviceProfile:
    """The profile of a device in the registry; `windows` are those that cover it."""
    metadata = DeviceMetadata.parse(device.metadata_json)
    deleted = device.deleted_at is not None
    return DeviceProfile(
        enrichment_status="skipped" if deleted else "success",
        tenant_id=device.tenant_id,
        device_type=None if deleted else device.device_type,
        location=None if deleted else device.location,
        limits=metadata.plausible_limits,
        bands=metadata.bands,
        ignore=frozenset(metadata.ignore),
        zone=metadata.zone(site),
        status=None if deleted else device.status,
        edited_at=microseconds(device.updated_at),
        windows=windows,
    )
