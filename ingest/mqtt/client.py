"""A client of the broker as the settings describe it, for everything that speaks MQTT beside the subscription."""

import select
from contextlib import suppress

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from storage.settings import Settings

# Seconds without a word after which the broker is asked for one; as many without an answer end the connection.
KEEPALIVE = 30


class PollingClient(mqtt.Client):
    """paho's client where a process has many sockets.

    paho waits with select(), which takes a socket beyond number 1,023, as they are in an API with a thousand watchers,
    for a lost connection. This leans on paho's insides, whose version `requirements.txt` pins.
    """

    def _loop(self, timeout: float = 1.0) -> MQTTErrorCode:
        """Wait for the socket or for something to send, and handle it: paho's method with poll() in it."""
        end, wake = self._sock, self._sockpairR
        if end is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        number, waker = end.fileno(), wake.fileno() if wake else -1
        if number < 0:  # closed in another thread just now
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        waiting = select.poll()
        waiting.register(number, select.POLLIN | (select.POLLOUT if self.want_write() else 0))
        if waker >= 0:
            waiting.register(waker, select.POLLIN)
        pending = end.pending() if hasattr(end, "pending") else 0  # TLS has read what poll() does not see any more
        ready = dict(waiting.poll(0 if pending else timeout * 1000))
        if pending or ready.get(number, 0) & ~select.POLLOUT:
            outcome = self.loop_read()
            if outcome or self._sock is None:
                return outcome
        if wake and waker in ready:
            with suppress(BlockingIOError):
                wake.recv(10_000)
        if waker in ready or ready.get(number, 0) & select.POLLOUT:
            outcome = self.loop_write()
            if outcome or self._sock is None:
                return outcome
        return self.loop_misc()


def new_client(settings: Settings, name: str) -> mqtt.Client:
    """A client with a clean session, not yet connected. Two with one `name` push each other out."""
    client = PollingClient(CallbackAPIVersion.VERSION2, client_id=name)
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
