"""The subscription: messages from the broker, acknowledged only when what they hold is committed.

QoS 1, a persistent session, manual acknowledgement. An acknowledgement belongs to the connection that its message came
over: after a reconnect the broker delivers again what was not acknowledged, under packet ids that may be others'.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from storage.settings import Settings

log = logging.getLogger(__name__)

CLIENT_ID = "energy-ingest"


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came; `received_at` in microseconds."""

    topic: str
    payload: bytes
    received_at: int
    redelivered: bool
    packet_id: int  # 0 for QoS 0, which is not acknowledged
    connection: int


class Subscription:
    """A client of the broker in a thread of its own. The broker's in-flight window bounds what waits here."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._arrived = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._unacknowledged: set[int] = set()
        self._connection = 0
        self.connected = False
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, clean_session=False, manual_ack=True
        )
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(min_delay=1, max_delay=10)
        if settings.mqtt_username:
            password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else None
            self._client.username_pw_set(settings.mqtt_username, password)
        if settings.mqtt_tls_ca:
            self._client.tls_set(ca_certs=str(settings.mqtt_tls_ca))

    def start(self) -> None:
        """Connect, now or as soon as the broker is there, and again whenever the connection is lost."""
        self._client.connect_async(self._settings.broker_host, self._settings.mqtt_broker_port, keepalive=30)
        self._client.loop_start()

    def stop(self) -> None:
        """Leave; the broker keeps the session and what comes meanwhile."""
        self._client.disconnect()
        self._client.loop_stop()

    def take(self, most: int, *, timeout: float) -> list[Message]:
        """What arrived, at least one message unless nothing came in `timeout` seconds."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._waiting, timeout)
            return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Tell the broker that it may forget these."""
        with self._arrived:
            for message in messages:
                if message.packet_id and message.connection == self._connection:
                    self._unacknowledged.discard(message.packet_id)
                    self._client.ack(message.packet_id, 1)

    @property
    def alive(self) -> bool:
        """Whether the client's thread still runs; paho's dies of an exception in a callback."""
        thread = self._client._thread  # noqa: SLF001 - paho tells no other way
        return thread is not None and thread.is_alive()

    def _on_connect(self, client: mqtt.Client, _: Any, flags: mqtt.ConnectFlags, reason: Any, __: Any) -> None:
        if reason.is_failure:
            log.error("the broker refused the connection: %s", reason)
            return
        with self._arrived:
            self._connection += 1
            self._unacknowledged.clear()
            # The broker delivers these again: to keep both copies would only count them twice.
            self._waiting = deque(message for message in self._waiting if not message.packet_id)
        client.subscribe(self._settings.mqtt_topic, qos=1)
        self.connected = True
        log.info("subscribed to %s (%s session)", self._settings.mqtt_topic, "kept" if flags.session_present else "new")

    def _on_disconnect(self, _: mqtt.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        self.connected = False
        if reason.is_failure:
            log.warning("the connection to the broker was lost: %s", reason)

    def _on_message(self, _: mqtt.Client, __: Any, message: mqtt.MQTTMessage) -> None:
        packet_id = message.mid if message.qos else 0
        with self._arrived:
            if packet_id in self._unacknowledged:
                return  # NATS delivers again while the first copy is still at work: the same message
            if packet_id:
                self._unacknowledged.add(packet_id)
            self._waiting.append(
                Message(
                    topic=message.topic,
                    payload=bytes(message.payload),
                    received_at=time.time_ns() // 1000,
                    redelivered=message.dup,
                    packet_id=packet_id,
                    connection=self._connection,
                )
            )
            self._arrived.notify()
