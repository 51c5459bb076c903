"""The settings of the API alone: limits of requests, trusted proxies, addresses on pages, defaults of rules."""

from ipaddress import ip_network
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, FilePath, model_validator
from pydantic_settings import NoDecode

from storage.settings import EnvironmentSettings, HttpUrl


def _networks(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    addresses = tuple(part.strip() for part in value.split(",") if part.strip())
    for address in addresses:
        try:
            ip_network(address)
        except ValueError:
            raise ValueError(
                f"{address!r} is not an IP address or network; write them with commas between: 127.0.0.1,10.0.0.0/8"
            ) from None
    return addresses


class ApiSettings(EnvironmentSettings):
    """Limits of requests, trusted proxies, and limits and defaults of rules."""

    # Requests per second from one key, or from one address without a key; bursts may be ten times as many. 0: no limit.
    api_rate_limit: Annotated[float, Field(ge=0)] = 100
    api_max_body_mb: Annotated[float, Field(gt=0)] = 8
    # Files of a certificate with its chain, and of its key. With them the API speaks HTTPS.
    api_tls_cert: FilePath | None = None
    api_tls_key: FilePath | None = None

    # Whose X-Forwarded-For and X-Forwarded-Proto count. Anybody else could write any address there.
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_networks)] = ()

    # Where people and devices find Dagster and the broker, if that differs from where the platform does.
    dagster_public_url: HttpUrl | None = None
    mqtt_public_address: Annotated[str, Field(pattern=r"^[^\s:/]+:\d{1,5}$")] | None = None

    notification_cooldown_minutes: Annotated[int, Field(ge=0, le=525_600)] = 15
    rule_evaluation_timeout: Annotated[float, Field(gt=0, le=300)] = 5  # seconds
    max_devices_per_tenant: Annotated[int, Field(ge=1)] = 10_000
    max_rules_per_device: Annotated[int, Field(ge=1)] = 100

    @model_validator(mode="after")
    def _has_both_files(self) -> Self:
        if (self.api_tls_cert is None) != (self.api_tls_key is None):
            raise ValueError("API_TLS_CERT and API_TLS_KEY belong together; set both, or neither")
        return self
