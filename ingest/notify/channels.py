"""Channels: from a name in a rule to an address of the configuration, and a message on its way.

`webhook` and names that begin with it go by our own sender; whatever else has an address goes by Apprise, which knows
mail, WhatsApp and a hundred other services.
"""

import json
import logging
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from ingest.notify import webhook
from ingest.notify.settings import NotifySettings, is_webhook
from ingest.notify.webhook import WebhookFailed
from storage.rules import Alert
from storage.settings import SettingsError

if TYPE_CHECKING:
    import apprise
    from apprise.logger import NotifyLogEntry


class DeliveryFailed(Exception):
    """The other side did not take it; the message says what it said."""


class Unconfigured(Exception):
    """The channel has no address."""


class Channels:
    """The channels that the settings name."""

    def __init__(self, settings: NotifySettings, zone: ZoneInfo) -> None:
        """Check every address; messages show times in the zone.

        Raises:
            SettingsError: Apprise knows no such address; the variable is named, the address, a secret, is not.

        """
        self._settings = settings
        self._zone = zone
        self._services = {
            name: _service(name, address) for name, address in settings.notify.items() if not is_webhook(name)
        }

    def send(self, channel: str, alert: Alert, notification: str) -> str | None:
        """Deliver an alert over a channel; what the other side answered, if it says anything.

        Raises:
            Unconfigured: no variable names an address for the alert's tenant or for all.
            DeliveryFailed: it did not arrive; trying again may help.

        """
        name = self._settings.address_name(channel, alert.tenant_id)
        if name is None:
            raise Unconfigured(f"NOTIFY_{channel.upper()} is not set; give it an address, and later alerts are sent")
        if is_webhook(name):
            return self._post(self._settings.notify[name], alert, notification)
        result = self._services[name].notify(
            title=_title(alert), body=self._text(alert), body_format="text", log_level=logging.DEBUG
        )
        if not result:
            said = dict.fromkeys(str(entry.message) for entry in result.logs() if _may_be_told(entry))
            raise DeliveryFailed("; ".join(said) or "the service did not take it, and did not say why")
        return None

    def _post(self, url: SecretStr, alert: Alert, notification: str) -> str:
        body = json.dumps({"notification_id": notification, "alert": alert.model_dump(mode="json")}).encode()
        try:
            return webhook.post(
                url.get_secret_value(),
                body,
                notification=notification,
                secret=self._settings.webhook_secret,
                allowed_hosts=self._settings.webhook_allowed_hosts,
            )
        except WebhookFailed as error:
            raise DeliveryFailed(str(error)) from error

    def _text(self, alert: Alert) -> str:
        at = alert.reading_time.astimezone(self._zone)
        return (
            f"{alert.message}\n\nDevice: {alert.device_id}\nRule: {_line(alert.rule.get('rule_name'))}\n"
            f"Severity: {alert.severity}\nTime: {at:%Y-%m-%d %H:%M:%S %Z}\nAlert: {alert.alert_id}\n"
        )


def _service(name: str, address: SecretStr) -> "apprise.Apprise":
    import apprise  # noqa: PLC0415 - half a second and 35 MB, for those who use it
    from apprise.plugins.email import NotifyEmail  # noqa: PLC0415

    # Its log has the addresses, which are secrets, in it. What may be told of an attempt is on record.
    own_log = logging.getLogger("apprise")
    own_log.setLevel(logging.DEBUG)
    own_log.addHandler(logging.NullHandler())
    own_log.propagate = False
    service = apprise.Apprise()
    if not service.add(address.get_secret_value()):
        raise SettingsError(f"NOTIFY_{name}=…: no address that Apprise knows; https://appriseit.com lists them")
    if isinstance(service[0], NotifyEmail):
        service[0].request_rate_per_sec = 0  # the plant's own server needs no five seconds between two mails
    return service


_SERVER_SAID = ("Socket Exception: (", "Socket Exception: [Errno")


def _may_be_told(entry: "NotifyLogEntry") -> bool:
    """Warnings, and of the rest only what a mail server said: other exceptions quote addresses."""
    return entry.level in {"WARNING", "ERROR", "CRITICAL"} or entry.message.startswith(_SERVER_SAID)


def _title(alert: Alert) -> str:
    return f"[{alert.severity}] {alert.device_id}: {_line(alert.rule.get('rule_name'))}"


def _line(text: object) -> str:
    """In one line: a mail's subject has no second one."""
    return " ".join(str(text).split())
