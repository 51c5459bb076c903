"""The settings of the services that run on this machine: MQTT_ANONYMOUS_DEVICES."""

from storage.settings import EnvironmentSettings, Settings


class LocalSettings(EnvironmentSettings):
    """Whether the embedded broker takes telemetry from clients without a login. Not given: unless MQTT_USERNAME is."""

    mqtt_anonymous_devices: bool | None = None


def allows_anonymous_devices(settings: Settings) -> bool:
    """Whether the embedded broker takes telemetry from clients without a login."""
    given = LocalSettings.load().mqtt_anonymous_devices
    return settings.mqtt_username is None if given is None else given
