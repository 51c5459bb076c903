"""How every MQTT client of the platform reaches the broker, and a client for everything but the subscription."""

import hashlib
import logging
import secrets
import ssl
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from storage.secret_files import secret_of
from storage.settings import Settings

# The platform's login at the embedded broker, unless MQTT_USERNAME gives another.
EMBEDDED_LOGIN = "platform"
log = logging.getLogger(__name__)

# After so many silent seconds the client pings the broker; after as many without an answer it reconnects.
KEEPALIVE_SECONDS = 30


@dataclass(frozen=True)
class ConnectionOptions:
    """The broker's address, the login and the TLS context, as the settings give them."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    tls_context: ssl.SSLContext | None


def connection_options(settings: Settings) -> ConnectionOptions:
    """How to reach the broker. With MQTT_TLS_CA, its certificate must be signed by that authority.

    Who may not read the platform's login at the embedded broker connects without one.

    Raises:
        OSError: the file of the certificate authority cannot be read.

    """
    tls_context = ssl.create_default_context(cafile=settings.mqtt_tls_ca) if settings.mqtt_tls_ca else None
    username = settings.mqtt_username
    password = settings.mqtt_password.get_secret_value() if settings.mqtt_password and username else None
    if username is None and settings.embeds_broker and (password := embedded_password(settings)):
        username = EMBEDDED_LOGIN
    return ConnectionOptions(
        host=settings.broker_host,
        port=settings.mqtt_broker_port,
        username=username,
        password=password,
        tls_context=tls_context,
    )


def ingester_id(settings: Settings) -> str:
    """The client id of this ingester, which names its session.

    NATS gives a session to any client that names its id, whatever its login. So at the embedded broker, the id has a
    part that only those know who can read the platform's secret.
    """
    secret = embedded_password(settings) if settings.embeds_broker else None
    if secret is None:
        return settings.mqtt_client_id
    return f"{settings.mqtt_client_id}-{hashlib.sha256(f'client id of {secret}'.encode()).hexdigest()[:32]}"


def embedded_password(settings: Settings) -> str | None:
    """The password of the platform's login at the embedded broker; None if this process may not read it."""
    try:
        return secret_of(settings.energy_home / "broker-password", lambda: secrets.token_urlsafe(24).encode()).decode()
    except PermissionError:
        return None


def new_client(settings: Settings, client_id: str) -> mqtt.Client:
    """A client with a clean session, not yet connected. The broker drops the older of two with one `client_id`."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
    client.suppress_exceptions = True  # otherwise a callback that fails ends the client's thread
    client.on_log = _log_failure
    log_in(client, settings)
    return client


def _log_failure(_: mqtt.Client, __: Any, level: int, message: str) -> None:
    if level == mqtt.MQTT_LOG_ERR and "exception" in message:  # of a callback; the rest is paho's own chatter
        log.error(message)


def log_in(client: mqtt.Client, settings: Settings) -> None:
    """Give a client the login and TLS context that it connects with."""
    options = connection_options(settings)
    if options.username:
        client.username_pw_set(options.username, options.password)
    if options.tls_context:
        client.tls_set_context(options.tls_context)
    client.reconnect_delay_set(min_delay=1, max_delay=10)


def connect(client: mqtt.Client, settings: Settings) -> None:
    """Connect in a thread of the client's own, as soon as the broker answers, and again whenever it is lost."""
    client.connect_async(settings.broker_host, settings.mqtt_broker_port, keepalive=KEEPALIVE_SECONDS)
    client.loop_start()


def disconnect(client: mqtt.Client) -> None:
    """Send what is queued, disconnect and end the client's thread."""
    client.disconnect()
    client.loop_stop()
    # These refer to the client's owner. Without that cycle, paho closes its sockets as soon as the client is dropped.
    client.on_connect = client.on_disconnect = client.on_message = None
