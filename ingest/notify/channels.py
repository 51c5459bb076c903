"""Channels: from a name in a rule to an address in the settings, and over it to a person.

`webhook`, and names that begin with it, are sent by `ingest.notify.webhook`. All other addresses are sent by Apprise,
which knows e-mail, WhatsApp and a hundred other services.
"""

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ingest.notify import webhook
from ingest.notify.messages import Message
from ingest.notify.settings import NotifySettings, is_webhook
from ingest.notify.webhook import WebhookFailed
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

    def __init__(self, settings: NotifySettings) -> None:
        """Check every address.

        Raises:
            SettingsError: Apprise does not know such an address. The message names the variable, but not its value,
                which is a secret.

        """
        self._settings = settings
        self._calls = {name: BoundedCalls(DEADLINE_SECONDS, MAX_CALLS) for name in settings.notify}
        self._services = {
            name: _service(name, address) for name, address in settings.notify.items() if not is_webhook(name)
        }

    def send(self, channel: str, message: Message, notification: str) -> str | None:
        """Deliver a message over a channel and return the receiver's answer, if it gives one.

        Raises:
            Unconfigured: no variable has an address for the message's tenant, or for all tenants.
            DeliveryFailed: the message was not delivered; another attempt may succeed.

        """
        name = self._settings.address_name(channel, message.tenant_id)
        if name is None:
            raise Unconfigured(
                f"NOTIFY_{channel.upper()} is not set. Once it has an address, new notifications are sent to it."
            )
        try:
            if is_webhook(name):
                return self._calls[name].call(self._post, self._settings.notify[name], message, notification)
            service = self._services[name]
            result = self._calls[name].call(service.notify, **_content(service, message), log_level=logging.DEBUG)
        except TimeoutError as error:
            raise DeliveryFailed(str(error)) from None
        if not result:
            reasons = dict.fromkeys(str(entry.message) for entry in result.logs() if _is_public(entry))
            raise DeliveryFailed("; ".join(reasons) or "the service refused the notification without a reason")
        return None

    def _post(self, url: SecretStr, message: Message, notification: str) -> str:
        body = json.dumps({"notification_id": notification, **message.body}).encode()
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


def _content(service: "apprise.Apprise", message: Message) -> dict[str, Any]:
    """The message for Apprise: files are attached if the service takes files, and otherwise are links."""
    from apprise.attachment.memory import AttachMemory  # noqa: PLC0415 - as below

    takes_files = all(part.attachment_support for part in service)
    attached = [file for file in message.files if takes_files and file.content is not None]
    links = [f"{file.name}: {file.link}" for file in message.files if file not in attached]
    content: dict[str, Any] = {
        "title": message.title,
        "body": "\n\n".join([message.text, *links]),
        "body_format": "text",
    }
    if attached:
        make: Callable[..., Any] = AttachMemory
        content["attach"] = [make(file.content, file.name, file.media_type) for file in attached]
    return content


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
