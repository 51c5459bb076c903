"""The live stream's second half: batches from the broker become frames in the bounded queue of each watcher.

Frames are made once per reading, in the thread of the broker's client, and only for devices that somebody watches. The
event loop is told once per batch which watchers have something to send; it never waits for the broker nor for a lock
that is held longer than one append.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import msgspec
import paho.mqtt.client as mqtt

from ingest import mqtt as broker
from serving.alerts.schemas import AlertPublic
from storage.access import Principal
from storage.devices import NAMED_METRICS
from storage.settings import Settings
from storage.telemetry import Reading
from storage.times import moment, rfc3339

log = logging.getLogger(__name__)

# A message from a device holds up to 1,000 readings, so that many may come at once.
QUEUE = 1000
# Seconds that a client waits for the broker before it is told to come again.
PATIENCE = 3.0

_decode_reading = msgspec.msgpack.Decoder(Reading).decode


class Subscriber:
    """One WebSocket's queue: filled by the broker's thread, emptied by the event loop; the oldest frame gives way."""

    def __init__(self, device_id: str, principal: Principal) -> None:
        self.device_id = device_id
        self.principal = principal
        self.arrived = asyncio.Event()
        self.interrupted = False
        self.turned_away = False
        self.dropped = 0
        self._lock = threading.Lock()
        self._frames: deque[str] = deque()
        self._untold = 0
        self._woken = False

    def may_see(self, tenant_id: str | None) -> bool:
        """A tenant sees its own devices; one that is bound to no tenant sees all."""
        return self.principal.tenant_id is None or self.principal.tenant_id == tenant_id

    def put(self, frame: str) -> bool:
        """Add a frame. True: the event loop has to be told, which it was not since it last took everything."""
        with self._lock:
            if len(self._frames) == QUEUE:
                self._frames.popleft()
                self._untold += 1
                self.dropped += 1
            self._frames.append(frame)
            woken, self._woken = self._woken, True
            return not woken

    def take(self, most: int) -> list[str]:
        """Up to `most` frames, oldest first; where some are missing, a frame before them says how many."""
        with self._lock:
            frames = [dropped_frame(self._untold)] if self._untold else []
            self._untold = 0
            frames.extend(self._frames.popleft() for _ in range(min(most, len(self._frames))))
            if not self._frames:
                self._woken = False
                self.arrived.clear()
            return frames

    def interrupt(self) -> None:
        """Something is missing from the stream, and nobody knows how much."""
        self.interrupted = True
        self.arrived.set()

    def turn_away(self) -> None:
        """Whoever watches would not be let in any more."""
        self.turned_away = True
        self.arrived.set()


class Hub:
    """The watchers of this process, and its client of the broker. Methods are for the event loop's thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        # Tuples, replaced as a whole: the broker's thread reads them while the event loop changes who watches.
        self._watching: dict[str, tuple[Subscriber, ...]] = {}
        self._numbers: dict[str, int] = {}
        self._announced = False
        self._ticking: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self.clients = 0
        self.frames = 0
        self.interruptions = 0
        self._dropped = 0
        name = uuid4().hex
        self._topic = f"{broker.SUBSCRIBERS_TOPIC}/{name}"
        self._client = broker.new_client(settings, f"energy-live-{name}")
        self._client.will_set(self._topic, b"", qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    async def is_connected(self) -> bool:
        """Whether the broker's stream can be had. The first to ask has it connected, until the process ends."""
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())
            broker.connect(self._client, self._settings)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._connected.wait()
        return self._connected.is_set()

    async def stop(self) -> None:
        """Say that nobody watches any more, and leave."""
        if self._ticking is None:
            return
        self._ticking.cancel()
        if self._announced:
            self._client.publish(self._topic, b"", qos=1, retain=True)
        await asyncio.to_thread(broker.disconnect, self._client)

    @contextmanager
    def watch(self, device_id: str, principal: Principal) -> Iterator[Subscriber]:
        """A queue that fills with a device's frames; for a tenant, as long as the device is that tenant's."""
        watcher = Subscriber(device_id, principal)
        self._watching[device_id] = (*self._watching.get(device_id, ()), watcher)
        self.clients += 1
        if not self._announced:
            self._announced = True
            self._announce()
        try:
            yield watcher
        finally:
            left = tuple(other for other in self._watching[device_id] if other is not watcher)
            if left:
                self._watching[device_id] = left
            else:
                del self._watching[device_id]
            self.clients -= 1
            self._dropped += watcher.dropped

    def identities(self) -> set[Principal]:
        """Who watches."""
        return {watcher.principal for watcher in self._all()}

    def turn_away(self, identities: Collection[Principal]) -> None:
        """End the streams of these."""
        for watcher in self._all():
            if watcher.principal in identities:
                watcher.turn_away()

    @property
    def dropped(self) -> int:
        """Frames that gave way to newer ones because their clients read too slowly."""
        return self._dropped + sum(watcher.dropped for watcher in self._all())

    def _all(self) -> Iterator[Subscriber]:
        for watchers in list(self._watching.values()):
            yield from watchers

    def _announce(self) -> None:
        """Ask for the stream. Nothing here waits: without a connection it is done when there is one."""
        self._client.subscribe(broker.BATCHES_TOPIC, qos=0)
        self._client.publish(self._topic, b"watching", qos=1, retain=True)

    async def _tick(self) -> None:
        """Say again that there are watchers, or that there are none; a page that is loaded anew is not worth a word."""
        while True:
            await asyncio.sleep(broker.ANNOUNCE_SECONDS)
            if self._watching:
                self._client.publish(self._topic, b"watching", qos=1, retain=True)
            elif self._announced:
                self._announced = False
                self._client.unsubscribe(broker.BATCHES_TOPIC)
                self._client.publish(self._topic, b"", qos=1, retain=True)
                self._numbers.clear()

    def _came(self) -> None:
        self._connected.set()
        if self._announced:
            self._announce()

    def _left(self) -> None:
        self._connected.clear()
        self._interrupt()

    def _interrupt(self) -> None:
        self.interruptions += 1
        for watcher in self._all():
            watcher.interrupt()

    # In the thread of the broker's client

    def _on_connect(self, _: mqtt.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            log.error("the broker refused the live stream's connection: %s", reason)
            return
        self._numbers.clear()
        self._loop.call_soon_threadsafe(self._came)

    def _on_disconnect(self, *_: Any) -> None:
        self._loop.call_soon_threadsafe(self._left)

    def _on_message(self, _: mqtt.Client, __: Any, message: mqtt.MQTTMessage) -> None:
        try:
            batch = broker.decode_batch(message.payload)
        except msgspec.DecodeError as error:
            log.warning("a message on %s is no batch: %s", message.topic, error)
            return
        last = self._numbers.get(batch.publisher, batch.number - 1)
        self._numbers[batch.publisher] = batch.number
        if batch.number != last + 1:
            self._loop.call_soon_threadsafe(self._interrupt)
        woken: list[Subscriber] = []
        for item in batch.items:
            watchers = [w for w in self._watching.get(item.device_id, ()) if w.may_see(item.tenant_id)]
            if watchers:
                frame = frame_of(item)
                self.frames += len(watchers)
                woken.extend(watcher for watcher in watchers if watcher.put(frame))
        if woken:
            self._loop.call_soon_threadsafe(_wake, woken)


def frame_of(item: broker.LiveItem) -> str:
    """What clients get, as the contract words it: a reading as REST gives it, or an alert as REST gives it."""
    if item.kind == "telemetry":
        return _frame("telemetry", _public(_decode_reading(item.data)))
    alert = AlertPublic.model_validate(msgspec.msgpack.decode(item.data))
    return _frame("alert", alert.model_dump(mode="json"))


def dropped_frame(count: int) -> str:
    return msgspec.json.encode({"type": "dropped", "count": count}).decode()


def _frame(kind: str, data: dict[str, Any]) -> str:
    return msgspec.json.encode({"type": kind, "data": data}).decode()


def _public(reading: Reading) -> dict[str, Any]:
    item = {
        "timestamp": rfc3339(moment(reading.time)),
        "device_id": reading.device_id,
        **dict.fromkeys(NAMED_METRICS),
        **reading.metrics,
        "device_type": reading.device_type,
        "location": reading.location,
        "schema_version": reading.schema_version,
        "enrichment_status": reading.enrichment_status,
    }
    return item | {"out_of_band": reading.out_of_band} if reading.out_of_band else item


def _wake(watchers: Iterable[Subscriber]) -> None:
    for watcher in watchers:
        watcher.arrived.set()
