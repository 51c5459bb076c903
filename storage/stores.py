"""Which telemetry store the settings name: PostgreSQL, or InfluxDB where its address is given."""

from storage.settings import Settings
from storage.telemetry import TelemetryStore


def open_telemetry_store(settings: Settings) -> TelemetryStore:
    """The store that the settings name; nothing is asked of its server yet."""
    if settings.influxdb_url:
        from storage.telemetry.influx import InfluxTelemetry  # noqa: PLC0415 - its client costs 60 ms and 20 MB

        return InfluxTelemetry(settings)
    from storage.telemetry.postgres import PostgresTelemetry  # noqa: PLC0415 - needed only where it is the store

    return PostgresTelemetry(settings)
