"""The subscription: messages from the broker, acknowledged only after what they hold is committed.

It uses QoS 1, a persistent session and manual acknowledgement. An acknowledgement is valid only on the connection that
the message came over: after a reconnect the broker redelivers unacknowledged messages, and may use other packet ids.

A packet id does not name a message. With a long queue, Mosquitto sends more than 65,535 messages ahead of their
acknowledgements, and so gives two of them one id. Each is then acknowledged, in the order of their arrival: Mosquitto
takes an acknowledgement for the older one.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import paho.mqtt.client as mqtt

from ingest.mqtt.bulk_client import BulkClient, Publication
from ingest.mqtt.client import connect, disconnect, ingester_id, log_in
from ingest.mqtt.probe import Probe
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
    retained: bool = False  # the topic's last message, sent because we subscribed


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
        self._being_kept = 0  # messages that were taken and are not acknowledged yet
        self._unacknowledged: dict[int, Message] = {}  # by packet id; of two with one id, the newer one
        self._connection = 0
        self.connected = False
        self.dropped = 0  # by the broker since it started, for any client
        client_id = ingester_id(settings)
        self.probe = Probe(client_id)
        self._probing: mqtt.MQTTMessageInfo | None = None
        self._client = BulkClient(client_id, self._receive, self._has_room, self._check_connection)
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
        """Messages that have arrived; none if none arrives within `timeout` seconds.

        Taking stops at `max_messages`, or once the payloads have `max_bytes` together. Probes are taken out here, and
        acknowledged: so few messages are being kept that none of them has a probe's packet id.
        """
        taken: list[Message] = []
        probes: list[Message] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout)
            while self._waiting and len(taken) < max_messages and size < max_bytes:
                message = self._waiting.popleft()
                size += len(message.payload)
                (probes if message.topic == self.probe.topic else taken).append(message)
            self._waiting_bytes -= size
            if taken:
                self.probe.sign_of_life()
                self._being_kept += len(taken)
            if probes:
                self.probe.came_back()
                self._acknowledge(probes)
            self._changed.notify_all()
        return taken

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Tell the broker that it may forget these messages."""
        if not messages:
            return
        with self._changed:
            self._being_kept -= len(messages)
            self.probe.sign_of_life()  # nothing else could arrive if they had filled the broker's window
            self._acknowledge(messages)

    def _acknowledge(self, messages: Sequence[Message]) -> None:
        current = [m for m in messages if m.packet_id and m.connection == self._connection]
        for message in current:
            if self._unacknowledged.get(message.packet_id) is message:
                del self._unacknowledged[message.packet_id]
        self._client.acknowledge(message.packet_id for message in current)

    @property
    def is_receiving(self) -> bool:
        """Whether what devices send arrives here, as far as we know."""
        return self.connected and not self.is_dead

    @property
    def is_dead(self) -> bool:
        """Whether neither a probe nor a message comes back, although intake has nothing left to do."""
        with self._changed:
            return self._is_idle() and bool(self.probe.returned) and self.probe.is_unanswered

    @property
    def alive(self) -> bool:
        """Whether the client's thread still runs; an exception in a callback would end it."""
        thread = self._client._thread  # noqa: SLF001 - paho has no public way to ask
        return thread is not None and thread.is_alive()

    def _on_connect(self, client: mqtt.Client, _: Any, flags: mqtt.ConnectFlags, reason: Any, __: Any) -> None:
        if reason.is_failure:
            log.error("the broker refused the connection: %s", reason)
            return
        filters = [(self._filter, 1), (self.probe.topic, 1)]
        client.subscribe(filters if self._settings.embeds_broker else [*filters, (DROPPED_TOPIC, 0)])
        log.info("connected to the broker; the session is %s", "resumed" if flags.session_present else "new")

    def _on_subscribe(self, _: mqtt.Client, __: Any, ___: int, granted: list[Any], ____: Any) -> None:
        if granted[0].is_failure:
            log.error("the broker refused the subscription to %s: %s", self._filter, granted[0])
            return
        with self._changed:
            self.probe.connected()
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
        """Queue messages, without copies: NATS redelivers what is still being processed over the same connection."""
        now = time.time_ns() // 1000
        with self._changed:
            for topic, payload, packet_id, redelivered, retained in received:
                name = topic.decode(errors="replace")
                if name == DROPPED_TOPIC:
                    self._note_dropped(payload)
                    continue
                message = Message(name, payload, now, redelivered, packet_id, self._connection, retained)
                if packet_id:
                    if redelivered and self._is_copy(message):
                        continue
                    self._unacknowledged[packet_id] = message
                self._waiting.append(message)
                self._waiting_bytes += len(payload)
            self._changed.notify_all()

    def _is_copy(self, message: Message) -> bool:
        known = self._unacknowledged.get(message.packet_id)
        return known is not None and known.payload == message.payload and known.topic == message.topic

    def _check_connection(self) -> bool:
        """Asked by the client's thread at least once a second: send the next probe; True if the connection is dead."""
        if not self.connected:
            return False
        if self.probe.is_due and (self._probing is None or self._probing.is_published()):
            self._probing = self._client.publish(self.probe.topic, b"probe", qos=1)
        with self._changed:
            if self.probe.is_due:
                self.probe.sent()
            return self._is_idle() and self.probe.wants_reconnect()

    def _is_idle(self) -> bool:
        """Whether nothing waits here or is being kept. If a store is away, the broker may have nothing more to send."""
        return not self._waiting and not self._being_kept

    def _note_dropped(self, payload: bytes) -> None:
        count = int(payload) if payload.isdigit() else 0
        if count > self.dropped:
            log.error("the broker has dropped %d messages; raise its queue limit (max_queued_messages)", count)
        self.dropped = count

    def _has_room(self) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting_bytes < MAX_WAITING_BYTES, timeout=1)
