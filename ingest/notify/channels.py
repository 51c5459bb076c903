"""Channels: from a name in a rule to an address in the settings, and over it to a person.

`webhook`, and names that begin with it, are sent by `ingest.notify.webhook`. All other addresses are sent by Apprise,
which knows e-mail, WhatsApp and a hundred other services.
"""

import json
import logging
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from ingest.notify import webhook
from ingest.notify.settings import NotifySettings, is_webhook
from ingest.notify.webhook import WebhookFailed
from storage.alerts import Alert, rule_shown
from storage.deadlines import BoundedCalls
from storage.settings import SettingsError

if TYPE_CHECKING:
    import apprise
    from apprise.logger import NotifyLogEntry


# For one attempt altogether, from the look-up of the name to the last byte of the answer.
DEADLINE_SECONDS = 20.0
# Attempts over one address that may be under way, those included that did not end in time.
MAX_CALLS = 6


class DeliveryFailed(Exception):
    """The receiver did not accept the notification; the message has its answer."""


class Unconfigured(Exception):
    """The channel has no address in the settings."""


class Channels:
    """The channels that the settings name."""

    def __init__(self, settings: NotifySettings, zone: ZoneInfo) -> None:
        """Check every address; messages show times in the zone.

        Raises:
            SettingsError: Apprise does not know such an address. The message names the variable, but not its value,
                which is a secret.

        """
        self._settings = settings
        self._zone = zone
        self._calls = {name: BoundedCalls(DEADLINE_SECONDS, MAX_CALLS) for name in settings.notify}
        self._services = {
            name: _service(name, address) for name, address in settings.notify.items() if not is_webhook(name)
        }

    def send(self, channel: str, alert: Alert, notification: str) -> str | None:
        """Deliver an alert over a channel and return the receiver's answer, if it gives one.

        Raises:
            Unconfigured: no variable has an address for the alert's tenant, or for all tenants.
            DeliveryFailed: the alert was not delivered; another attempt may succeed.

        """
        name = self._settings.address_name(channel, alert.tenant_id)
        if name is None:
            raise Unconfigured(
                f"NOTIFY_{channel.upper()} is not set. Once it has an address, new alerts are sent to it."
            )
        try:
            if is_webhook(name):
                return self._calls[name].call(self._post, self._settings.notify[name], alert, notification)
            text = {"title": _title(alert), "body": self._text(alert), "body_format": "text"}
            result = self._calls[name].call(self._services[name].notify, **text, log_level=logging.DEBUG)
        except TimeoutError as error:
            raise DeliveryFailed(str(error)) from None
        if not result:
            reasons = dict.fromkeys(str(entry.message) for entry in result.logs() if _is_public(entry))
            raise DeliveryFailed("; ".join(reasons) or "the service refused the notification without a reason")
        return None

    def _post(self, url: SecretStr, alert: Alert, notification: str) -> str:
        shown = {**alert.model_dump(mode="json"), "rule": rule_shown(alert, alert.tenant_id)}
        body = json.dumps({"notification_id": notification, "alert": shown}).encode()
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
    import apprise  # noqa: PLC0415 - costs half a second and 35 MB
    from apprise.plugins.email import NotifyEmail  # noqa: PLC0415

    # Apprise logs the addresses, which are secrets. What may be shown of an attempt is recorded in the outbox.
    own_log = logging.getLogger("apprise")
    own_log.setLevel(logging.DEBUG)
    own_log.addHandler(logging.NullHandler())
    own_log.propagate = False
    service = apprise.Apprise()
    if not service.add(address.get_secret_value()):
        raise SettingsError(
            f"NOTIFY_{name}=…: Apprise does not know this kind of address. Choose one from https://appriseit.com"
        )
    if isinstance(service[0], NotifyEmail):
        service[0].request_rate_per_sec = 0  # a plant's own mail server takes mails without pauses
    return service


_SERVER_ANSWERS = ("Socket Exception: (", "Socket Exception: [Errno")


def _is_public(entry: "NotifyLogEntry") -> bool:
    """Whether an entry is a warning or a mail server's answer. Other entries may quote addresses, which are secrets."""
    return entry.level in {"WARNING", "ERROR", "CRITICAL"} or entry.message.startswith(_SERVER_ANSWERS)


def _title(alert: Alert) -> str:
    return f"[{alert.severity}] {alert.device_id}: {_line(alert.rule.get('rule_name'))}"


def _line(text: object) -> str:
    """The text in one line, as the subject of a mail must be."""
    return " ".join(str(text).split())
