"""Where notifications go, and how many: NOTIFY_<NAME>, NOTIFICATION_…, WEBHOOK_…."""

import os
import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from storage.settings import EnvironmentSettings


def _addresses() -> dict[str, SecretStr]:
    """The addresses in the environment, by what follows `NOTIFY_`: `<NAME>` or `<NAME>__<TENANT>`."""
    return {
        name.removeprefix("NOTIFY_"): SecretStr(value)
        for name, value in os.environ.items()
        if name.startswith("NOTIFY_") and value
    }


def _hosts(value: Any) -> Any:
    return [host.strip().lower() for host in value.split(",") if host.strip()] if isinstance(value, str) else value


def _check_address(variable: str, address: str) -> None:
    if any(character.isspace() or not character.isprintable() for character in address):
        raise ValueError(f"{variable} has a blank or a line break in it; write one address, with blanks as %20")
    # Not `urlsplit(…).port`: Apprise has tokens with colons where others have a port.
    port = re.fullmatch(r"\[?[^\]]*\]?:([0-9]+)", urlsplit(address).netloc.rpartition("@")[2])
    if port and not 1 <= int(port[1][:9]) <= 65_535:
        raise ValueError(f"{variable}: the port {port[1]} does not exist; ports go from 1 to 65535")


def is_webhook(name: str) -> bool:
    """Whether the address NOTIFY_<name> belongs to the platform's own webhook sender."""
    return name.split("_", 1)[0] == "WEBHOOK"


class NotifySettings(EnvironmentSettings):
    """Addresses of notifications, and limits on how many are sent."""

    notify: dict[str, SecretStr] = Field(default_factory=_addresses, init=False, repr=False)
    notification_max_age_minutes: Annotated[float, Field(gt=0, le=525_600)] = 60
    notification_limit_per_hour: Annotated[int, Field(ge=1)] = 20
    webhook_secret: SecretStr | None = None
    webhook_allowed_hosts: Annotated[frozenset[str], NoDecode, BeforeValidator(_hosts)] = frozenset()

    @model_validator(mode="after")
    def _addresses_are_addresses(self) -> Self:
        for name, address in self.notify.items():
            _check_address(f"NOTIFY_{name}", address.get_secret_value())
            if is_webhook(name):
                self._check_webhook(f"NOTIFY_{name}", address.get_secret_value())
        return self

    def _check_webhook(self, variable: str, url: str) -> None:
        parts = urlsplit(url)
        schemes = ("https", "http") if parts.hostname in self.webhook_allowed_hosts else ("https",)
        if parts.scheme not in schemes or not parts.hostname or parts.username is not None:
            raise ValueError(
                f"{variable} is not a webhook's URL. Give it as https://host/path, without a login;"
                " http:// is allowed for hosts in WEBHOOK_ALLOWED_HOSTS"
            )

    def address_name(self, channel: str, tenant_id: str | None) -> str | None:
        """The name of the address that a channel stands for: the tenant's own if it has one, else everybody's."""
        name = channel.upper()
        if "__" in name:  # it would name a tenant
            return None
        return self.own_address_name(channel, tenant_id) or (name if name in self.notify else None)

    def channels(self, tenant_id: str | None) -> list[str]:
        """The channels that have an address for a tenant: its own addresses and everybody's."""
        names = {name.split("__", 1)[0].lower() for name in self.notify}
        return sorted(channel for channel in names if self.address_name(channel, tenant_id))

    def own_address_name(self, channel: str, tenant_id: str | None) -> str | None:
        """The name of the address that a tenant has for itself under the channel's name."""
        name = channel.upper()
        own = (f"{name}__{tenant_id}", f"{name}__{tenant_id.upper()}") if tenant_id else ()
        return next((known for known in own if known in self.notify), None)
