"""The bands in which readings are usual: intake, checks and reports judge by the same."""

from storage.devices import DeviceMetadata

# As far as a device's metadata name no other.
NOMINAL_BANDS = {"voltage": (200.0, 250.0), "current": (0.0, 2.0), "power": (0.0, 500.0), "temperature": (20.0, 80.0)}


def nominal_bands(metadata: DeviceMetadata) -> dict[str, tuple[float, float]]:
    """The band of each metric outside which a reading is marked: the declared one, else the usual one."""
    usual = {metric: band for metric, band in NOMINAL_BANDS.items() if metric not in metadata.ignore}
    return {**usual, **metadata.bands}
