"""A test message over a channel, so that people know before the first alert whether it arrives."""

from uuid import uuid4

from ingest.notify.channels import Channels
from ingest.notify.messages import Message
from ingest.notify.settings import NotifySettings
from storage.times import rfc3339, utc_now


def send_test(settings: NotifySettings, channel: str, tenant_id: str | None) -> str | None:
    """Send a test message, and return the receiver's answer, if it gives one.

    Raises:
        Unconfigured: The channel has no address.
        DeliveryFailed: The receiver did not accept it; the message has its answer.
        SettingsError: Apprise does not know this kind of address.

    """
    name = settings.address_name(channel, tenant_id)
    addresses = {name: settings.notify[name]} if name else {}
    text = f"This is a test of the channel {channel}. No machine raised an alert."
    body = {"test": {"channel": channel, "text": text, "sent_at": rfc3339(utc_now())}}
    message = Message(tenant_id, f"Test of the channel {channel}", text, body)
    return Channels(settings.model_copy(update={"notify": addresses})).send(channel, message, str(uuid4()))
