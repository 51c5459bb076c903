"""Where machines send to, as a page can say it."""

from fastapi import Request

from serving.settings import ApiSettings
from storage.settings import Settings


def broker_of(request: Request, settings: Settings, limits: ApiSettings) -> tuple[str, str]:
    """Host and port of the broker for machines: as declared, or as the platform and this browser reach it."""
    known = f"{settings.mqtt_broker_host or request.url.hostname}:{settings.mqtt_broker_port}"
    host, _, port = (limits.mqtt_public_address or known).rpartition(":")
    return host, port
