"""The live stream's first half: what was just committed goes to whoever watches, and costs nothing while nobody does.

An API process with watchers says so in a retained message below `WATCHERS`, which its last will clears, and says it
again every `ANNOUNCE_EVERY` seconds. While there is one, each committed batch is published on `BATCHES`, QoS 0. Batches
are numbered by publisher, so that the other side notices a gap instead of showing a stream that looks whole.
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
from storage.rules import Alert
from storage.settings import Settings
from storage.telemetry import Reading

log = logging.getLogger(__name__)

WATCHERS = "energy/live/watchers"
BATCHES = "energy/live/batches"
ANNOUNCE_EVERY = 30.0
# An API process that died together with the broker could not have its message cleared.
FORGET_AFTER = 3.5 * ANNOUNCE_EVERY

# A message stays well below the broker's limit of 1 MiB; one that is larger is halved.
MAX_MESSAGE_BYTES = 512 * 1024
MAX_ITEMS = 1000
# Messages that wait for the socket. With a broker slower than intake the stream has gaps; intake does not wait.
MAX_WAITING = 64


class LiveItem(msgspec.Struct, array_like=True, gc=False):
    """A reading (`storage.telemetry.Reading`) or an alert (columns of `storage.rules.Alert`), not decoded yet."""

    device_id: str
    tenant_id: str | None
    kind: Literal["telemetry", "alert"]
    data: msgspec.Raw


class LiveBatch(msgspec.Struct, array_like=True):
    """What one message holds; `number` counts the publisher's messages, those too that it could not send."""

    publisher: str
    number: int
    items: list[LiveItem]


decode = msgspec.msgpack.Decoder(LiveBatch).decode
_encode = msgspec.msgpack.Encoder().encode
_Item = tuple[str, str | None, str, Any]


class LivePublisher:
    """Publishes committed batches while somebody watches. `publish` is for one thread, and never waits or raises."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = uuid4().hex
        self._number = 0
        self._lost = False
        self._watchers: dict[str, float] = {}
        self._waiting: deque[mqtt.MQTTMessageInfo] = deque()
        self._client = new_client(settings, f"energy-publish-{self._name}")
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Connect, now or as soon as the broker is there."""
        connect(self._client, self._settings)

    def stop(self) -> None:
        disconnect(self._client)

    @property
    def watched(self) -> bool:
        """Whether an API process has watchers, as far as is known here."""
        return bool(self._watchers)

    def publish(self, readings: Sequence[Reading], tenants: Sequence[str | None], alerts: Sequence[Alert]) -> None:
        """Send what a batch brought; `tenants` are those of the readings' devices."""
        if not self._watchers:
            return
        try:
            if self._lost:  # what was committed meanwhile is a gap
                self._lost = False
                self._number += 1
                self._waiting.clear()
            self._forget_the_dead()
            if self._watchers:
                for message in self._messages([*_readings(readings, tenants), *_alerts(alerts)]):
                    self._send(message)
        except Exception:
            # The batch is committed: whatever is wrong here must not make intake do it again.
            log.exception("a batch cannot be published to the live stream")
            self._number += 1

    def _messages(self, items: list[_Item]) -> Iterator[bytes]:
        for start in range(0, len(items), MAX_ITEMS):
            yield from self._halved(items[start : start + MAX_ITEMS])

    def _halved(self, items: list[_Item]) -> Iterator[bytes]:
        message = _encode((self._name, self._number, items))
        if len(message) <= MAX_MESSAGE_BYTES:
            self._number += 1
            yield message
        elif len(items) > 1:
            yield from self._halved(items[: len(items) // 2])
            yield from self._halved(items[len(items) // 2 :])
        else:
            self._number += 1  # a gap: no message may be that large
            log.warning("%s of %s is too large for the live stream", items[0][2], items[0][0])

    def _send(self, message: bytes) -> None:
        while self._waiting and self._waiting[0].is_published():
            self._waiting.popleft()
        if len(self._waiting) < MAX_WAITING:
            info = self._client.publish(BATCHES, message, qos=0)
            if info.rc == mqtt.MQTT_ERR_SUCCESS:
                self._waiting.append(info)

    def _forget_the_dead(self) -> None:
        for watcher, seen in list(self._watchers.items()):
            if time.monotonic() - seen > FORGET_AFTER:
                self._watchers.pop(watcher, None)

    def _on_connect(self, client: mqtt.Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if not reason.is_failure:
            client.subscribe(f"{WATCHERS}/+", qos=1)

    def _on_disconnect(self, *_: Any) -> None:
        self._lost = True
        self._watchers.clear()  # those that are still there come again with the connection

    def _on_message(self, _: mqtt.Client, __: Any, message: mqtt.MQTTMessage) -> None:
        if message.payload:
            self._watchers[message.topic] = time.monotonic()
        else:
            self._watchers.pop(message.topic, None)


def _readings(readings: Sequence[Reading], tenants: Sequence[str | None]) -> Iterator[_Item]:
    for reading, tenant in zip(readings, tenants, strict=True):
        yield reading.device_id, tenant, "telemetry", reading


def _alerts(alerts: Sequence[Alert]) -> Iterator[_Item]:
    for alert in alerts:
        yield alert.device_id, alert.tenant_id, "alert", alert.model_dump(mode="json")
