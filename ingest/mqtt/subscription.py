"""The subscription: messages from the broker, acknowledged only when what they hold is committed.

QoS 1, a persistent session, manual acknowledgement. An acknowledgement belongs to the connection that its message came
over: after a reconnect the broker delivers again what was not acknowledged, under packet ids that may be others'.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec
import paho.mqtt.client as mqtt

from ingest.mqtt.bulk_client import Arrived, BulkClient
from ingest.mqtt.client import connect, disconnect, log_in
from storage.settings import Settings

log = logging.getLogger(__name__)

# Payloads that may wait here. Beyond it nothing is read, and the broker keeps what comes.
MAX_WAITING_BYTES = 32 * 1024 * 1024
# Where Mosquitto says how many messages it has dropped for want of room; other brokers have no such topic.
DROPPED = "$SYS/broker/publish/messages/dropped"


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message as it came; `received_at` in microseconds."""

    topic: str
    payload: bytes
    received_at: int
    redelivered: bool
    packet_id: int  # 0 for QoS 0, which is not acknowledged
    connection: int


class Subscription:
    """A client of the broker in a thread of its own.

    What waits here is bounded by the broker's in-flight window, and by `MAX_WAITING_BYTES`.
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
        self.dropped = 0  # by the broker, for whomever, since it started
        self._client = BulkClient(settings.mqtt_client_id, self._put, self._has_room)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        log_in(self._client, settings)

    def start(self) -> None:
        """Connect, now or as soon as the broker is there, and again whenever the connection is lost."""
        connect(self._client, self._settings)

    def stop(self) -> None:
        """Leave; the broker keeps the session and what comes meanwhile."""
        disconnect(self._client)

    def take(self, most: int, most_bytes: int, *, timeout: float) -> list[Message]:
        """What arrived, at least one message unless nothing came in `timeout` seconds.

        No more than `most` messages, and none after those that have `most_bytes` of payload together.
        """
        taken: list[Message] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout)
            while self._waiting and len(taken) < most and size < most_bytes:
                taken.append(self._waiting.popleft())
                size += len(taken[-1].payload)
            self._waiting_bytes -= size
            self._changed.notify_all()
        return taken

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Tell the broker that it may forget these."""
        with self._changed:
            ours = [m.packet_id for m in messages if m.packet_id and m.connection == self._connection]
            self._unacknowledged.difference_update(ours)
            self._client.acknowledge(ours)

    @property
    def alive(self) -> bool:
        """Whether the client's thread still runs; paho's dies of an exception in a callback."""
        thread = self._client._thread  # noqa: SLF001 - paho tells no other way
        return thread is not None and thread.is_alive()

    def _on_connect(self, client: mqtt.Client, _: Any, flags: mqtt.ConnectFlags, reason: Any, __: Any) -> None:
        if reason.is_failure:
            log.error("the broker refused the connection: %s", reason)
            return
        client.subscribe([(self._filter, 1)] if self._settings.embeds_broker else [(self._filter, 1), (DROPPED, 0)])
        log.info("connected to the broker, with %s session", "a kept" if flags.session_present else "a new")

    def _on_subscribe(self, _: mqtt.Client, __: Any, ___: int, granted: list[Any], ____: Any) -> None:
        if granted[0].is_failure:
            log.error("the broker does not let us subscribe to %s: %s", self._filter, granted[0])
            return
        self.connected = True
        log.info("subscribed to %s", self._filter)

    def _on_disconnect(self, _: mqtt.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        """The broker delivers again what was not acknowledged: to keep those copies would only count them twice."""
        self.connected = False
        with self._changed:
            self._connection += 1
            self._unacknowledged.clear()
            self._waiting = deque(message for message in self._waiting if not message.packet_id)
            self._waiting_bytes = sum(len(message.payload) for message in self._waiting)
        if reason.is_failure:
            log.warning("the connection to the broker was lost: %s", reason)

    def _put(self, arrived: list[Arrived]) -> None:
        """Queue what arrived. What NATS delivers again while its first copy is still at work is the same message."""
        now = time.time_ns() // 1000
        with self._changed:
            known = self._unacknowledged
            for topic, payload, packet_id, again in arrived:
                if packet_id in known:
                    continue
                if packet_id:
                    known.add(packet_id)
                name = topic.decode(errors="replace")
                if name == DROPPED:
                    self._note_dropped(payload)
                    continue
                self._waiting.append(Message(name, payload, now, again, packet_id, self._connection))
                self._waiting_bytes += len(payload)
            self._changed.notify_all()

    def _note_dropped(self, payload: bytes) -> None:
        count = int(payload) if payload.isdigit() else 0
        if count > self.dropped:
            log.error("the broker has dropped %d messages: its queue limit is too low for what comes", count)
        self.dropped = count

    def _has_room(self) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting_bytes < MAX_WAITING_BYTES, timeout=1)
