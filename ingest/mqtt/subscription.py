"""The subscription: messages from the broker, acknowledged only after what they hold is committed.

It uses QoS 1, a persistent session and manual acknowledgement. An acknowledgement is valid only on the connection that
the message came over: after a reconnect the broker redelivers unacknowledged messages, and may use other packet ids.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec
import paho.mqtt.client as mqtt

from ingest.mqtt.bulk_client import BulkClient, Publication
from ingest.mqtt.client import connect, disconnect, log_in
from storage.settings import Settings

log = logging.getLogger(__name__)

# Payload bytes that may wait here. Above that nothing is read, and the broker keeps the messages.
MAX_WAITING_BYTES = 32 * 1024 * 1024
# Mosquitto publishes here how many messages it has dropped because its queues were full. Other brokers do not.
DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message as it was received; `received_at` in microseconds."""

    topic: str
    payload: bytes
    received_at: int
    redelivered: bool
    packet_id: int  # 0 for QoS 0, which is not acknowledged
    connection: int


class Subscription:
    """A client of the broker, in a thread of its own.

    The broker's in-flight window and `MAX_WAITING_BYTES` limit what waits here.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        group = settings.mqtt_shared_group
        self._filter = f"$share/{group}/{settings.mqtt_topic}" if group else settings.mqtt_topic
        self._changed = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._unacknowledged: set[int] = set()
        self._connection = 0
        self.connected = False
        self.dropped = 0  # by the broker since it started, for any client
        self._client = BulkClient(settings.mqtt_client_id, self._receive, self._has_room)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        log_in(self._client, settings)

    def start(self) -> None:
        """Connect as soon as the broker answers, and again whenever the connection is lost."""
        connect(self._client, self._settings)

    def stop(self) -> None:
        """Disconnect; the broker keeps the session and the messages that arrive meanwhile."""
        disconnect(self._client)

    def take(self, max_messages: int, max_bytes: int, *, timeout: float) -> list[Message]:
        """Messages that have arrived; none only if none arrives within `timeout` seconds.

        Taking stops at `max_messages`, or once the payloads have `max_bytes` together.
        """
        taken: list[Message] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout)
            while self._waiting and len(taken) < max_messages and size < max_bytes:
                taken.append(self._waiting.popleft())
                size += len(taken[-1].payload)
            self._waiting_bytes -= size
            self._changed.notify_all()
        return taken

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Tell the broker that it may forget these messages."""
        with self._changed:
            packet_ids = [m.packet_id for m in messages if m.packet_id and m.connection == self._connection]
            self._unacknowledged.difference_update(packet_ids)
            self._client.acknowledge(packet_ids)

    @property
    def alive(self) -> bool:
        """Whether the client's thread still runs; an exception in a callback would end it."""
        thread = self._client._thread  # noqa: SLF001 - paho has no public way to ask
        return thread is not None and thread.is_alive()

    def _on_connect(self, client: mqtt.Client, _: Any, flags: mqtt.ConnectFlags, reason: Any, __: Any) -> None:
        if reason.is_failure:
            log.error("the broker refused the connection: %s", reason)
            return
        client.subscribe(
            [(self._filter, 1)] if self._settings.embeds_broker else [(self._filter, 1), (DROPPED_TOPIC, 0)]
        )
        log.info("connected to the broker; the session is %s", "resumed" if flags.session_present else "new")

    def _on_subscribe(self, _: mqtt.Client, __: Any, ___: int, granted: list[Any], ____: Any) -> None:
        if granted[0].is_failure:
            log.error("the broker refused the subscription to %s: %s", self._filter, granted[0])
            return
        self.connected = True
        log.info("subscribed to %s", self._filter)

    def _on_disconnect(self, _: mqtt.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        """Drop messages that the broker will deliver again; keeping them would only count them twice."""
        self.connected = False
        with self._changed:
            self._connection += 1
            self._unacknowledged.clear()
            self._waiting = deque(message for message in self._waiting if not message.packet_id)
            self._waiting_bytes = sum(len(message.payload) for message in self._waiting)
        if reason.is_failure:
            log.warning("lost the connection to the broker: %s", reason)

    def _receive(self, received: list[Publication]) -> None:
        """Queue messages. NATS may redeliver one whose first copy is still being processed; that copy is left out."""
        now = time.time_ns() // 1000
        with self._changed:
            unacknowledged = self._unacknowledged
            for topic, payload, packet_id, redelivered in received:
                if packet_id in unacknowledged:
                    continue
                if packet_id:
                    unacknowledged.add(packet_id)
                name = topic.decode(errors="replace")
                if name == DROPPED_TOPIC:
                    self._note_dropped(payload)
                    continue
                self._waiting.append(Message(name, payload, now, redelivered, packet_id, self._connection))
                self._waiting_bytes += len(payload)
            self._changed.notify_all()

    def _note_dropped(self, payload: bytes) -> None:
        count = int(payload) if payload.isdigit() else 0
        if count > self.dropped:
            log.error("the broker has dropped %d messages; raise its queue limit (max_queued_messages)", count)
        self.dropped = count

    def _has_room(self) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting_bytes < MAX_WAITING_BYTES, timeout=1)
