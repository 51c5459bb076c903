"""The publishing half of the live stream: committed batches go to API processes that have subscribers.

An API process with subscribers says so in a retained message below `SUBSCRIBERS_TOPIC`, and repeats it every
`ANNOUNCE_SECONDS`. Its last will clears the message. While there is one, each committed batch is published on
`BATCHES_TOPIC` with QoS 0; otherwise publishing costs nothing. Each publisher numbers its batches, so that receivers
notice a gap.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Literal
from uuid import uuid4

import msgspec
import paho.mqtt.client as mqtt

from ingest.mqtt.client import connect, disconnect, new_client
from storage.alerts import Alert
from storage.loops import Loop
from storage.settings import Settings
from storage.telemetry import Reading

log = logging.getLogger(__name__)

SUBSCRIBERS_TOPIC = "energy/live/watchers"
BATCHES_TOPIC = "energy/live/batches"
ANNOUNCE_SECONDS = 30.0
# An API process that dies together with the broker leaves its message behind; the publisher then forgets it.
FORGET_SECONDS = 3.5 * ANNOUNCE_SECONDS

# Messages stay well below the broker's limit of 1 MiB: a larger one is split in half.
MAX_MESSAGE_BYTES = 512 * 1024
MAX_ITEMS = 1000
# Messages that may wait for the socket. If the broker is slower than intake, the stream has gaps; intake never waits.
MAX_WAITING = 64


class LiveItem(msgspec.Struct, array_like=True, gc=False):
    """A reading (`storage.telemetry.Reading`) or an alert (the columns of its table); `data` is not decoded yet."""

    device_id: str
    tenant_id: str | None
    kind: Literal["telemetry", "alert"]
    data: msgspec.Raw


class LiveBatch(msgspec.Struct, array_like=True):
    """One message of the stream. `number` counts the publisher's messages, including those it could not send."""

    publisher: str
    number: int
    items: list[LiveItem]


decode_batch = msgspec.msgpack.Decoder(LiveBatch).decode
_encode = msgspec.msgpack.Encoder().encode
_Item = tuple[str, str | None, str, Any]


class LivePublisher:
    """Publishes committed batches while there are subscribers. `publish`, for one thread, never waits or raises."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = uuid4().hex
        self._number = 0
        self._connection_lost = False
        self._subscribers: dict[str, float] = {}
        self._waiting: deque[mqtt.MQTTMessageInfo] = deque()
        self._client = new_client(settings, f"energy-publish-{self._name}")
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self.loop = Loop("live")

    def start(self) -> None:
        """Connect as soon as the broker answers."""
        connect(self._client, self._settings)

    def stop(self) -> None:
        disconnect(self._client)

    @property
    def has_subscribers(self) -> bool:
        """Whether an API process has announced subscribers."""
        return bool(self._subscribers)

    def publish(self, readings: Sequence[Reading], tenants: Sequence[str | None], alerts: Sequence[Alert]) -> None:
        """Send a committed batch. `tenants` has the tenant of each reading's device."""
        if not self._subscribers:
            return
        try:
            if self._connection_lost:
                self._connection_lost = False
                self._number += 1  # what was committed meanwhile is a gap
                self._waiting.clear()
            self._forget_silent_subscribers()
            if self._subscribers:
                for message in self._messages([*_reading_items(readings, tenants), *_alert_items(alerts)]):
                    self._send(message)
        except Exception:
            # The batch is committed: a failure of the live stream must not make intake repeat it.
            self.loop.skipped()
            log.exception("A batch could not be published to the live stream.")
            self._number += 1

    def _messages(self, items: list[_Item]) -> Iterator[bytes]:
        for start in range(0, len(items), MAX_ITEMS):
            yield from self._encoded(items[start : start + MAX_ITEMS])

    def _encoded(self, items: list[_Item]) -> Iterator[bytes]:
        """The items in one message, or in several where one would be too large."""
        message = _encode((self._name, self._number, items))
        if len(message) <= MAX_MESSAGE_BYTES:
            self._number += 1
            yield message
        elif len(items) > 1:
            yield from self._encoded(items[: len(items) // 2])
            yield from self._encoded(items[len(items) // 2 :])
        else:
            self._number += 1  # a gap
            log.warning("%s of %s is too large for the live stream", items[0][2], items[0][0])

    def _send(self, message: bytes) -> None:
        while self._waiting and self._waiting[0].is_published():
            self._waiting.popleft()
        if len(self._waiting) < MAX_WAITING:
            info = self._client.publish(BATCHES_TOPIC, message, qos=0)
            if info.rc == mqtt.MQTT_ERR_SUCCESS:
                self._waiting.append(info)

    def _forget_silent_subscribers(self) -> None:
        for topic, announced_at in list(self._subscribers.items()):
            if time.monotonic() - announced_at > FORGET_SECONDS:
                self._subscribers.pop(topic, None)

    def _on_connect(self, client: mqtt.Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if not reason.is_failure:
            client.subscribe(f"{SUBSCRIBERS_TOPIC}/+", qos=1)

    def _on_disconnect(self, *_: Any) -> None:
        self._connection_lost = True
        self._subscribers.clear()  # the retained messages come again with the next connection

    def _on_message(self, _: mqtt.Client, __: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.loop.skipped()
            return
        if message.payload:
            self._subscribers[topic] = time.monotonic()
        else:
            self._subscribers.pop(topic, None)


def _reading_items(readings: Sequence[Reading], tenants: Sequence[str | None]) -> Iterator[_Item]:
    for reading, tenant in zip(readings, tenants, strict=True):
        yield reading.device_id, tenant, "telemetry", reading


def _alert_items(alerts: Sequence[Alert]) -> Iterator[_Item]:
    for alert in alerts:
        yield alert.device_id, alert.tenant_id, "alert", alert.model_dump(mode="json")
