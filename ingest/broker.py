"""A client of the broker as the settings describe it, for everything that speaks MQTT beside the subscription."""

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from storage.settings import Settings

# Seconds without a word after which the broker is asked for one; as many without an answer end the connection.
KEEPALIVE = 30


def new_client(settings: Settings, name: str) -> mqtt.Client:
    """A client with a clean session, not yet connected. Two with one `name` push each other out."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
    client.reconnect_delay_set(min_delay=1, max_delay=10)
    if settings.mqtt_username:
        password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else None
        client.username_pw_set(settings.mqtt_username, password)
    if settings.mqtt_tls_ca:
        client.tls_set(ca_certs=str(settings.mqtt_tls_ca))
    return client


def connect(client: mqtt.Client, settings: Settings) -> None:
    """Connect from a thread of the client's own, now or as soon as the broker is there, and again when it is lost."""
    client.connect_async(settings.broker_host, settings.mqtt_broker_port, keepalive=KEEPALIVE)
    client.loop_start()


def disconnect(client: mqtt.Client) -> None:
    """Send what waits, say goodbye and end the client's thread."""
    client.disconnect()
    client.loop_stop()
    # Its owner is in them: without that circle, paho closes its sockets as soon as nobody holds the client.
    client.on_connect = client.on_disconnect = client.on_message = None
