"""The live stream's second half: batches from the broker become frames in the queues of the subscribed WebSockets.

A frame is made once for each tenant that its device has subscribers of, however many, and only if it has any.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import aiomqtt

from ingest import mqtt
from serving.live.broker import open_client
from serving.live.frames import frame_of
from serving.live.subscriber import Subscriber
from storage.access import Principal
from storage.settings import Settings

log = logging.getLogger(__name__)

# How long a WebSocket that connects waits for the broker.
CONNECT_TIMEOUT_SECONDS = 3.0
# How long the broker may take to answer.
ANSWER_TIMEOUT_SECONDS = 10.0
RECONNECT_SECONDS = 1.0
# A connection that is lost for longer is a matter of readiness.
LOST_SECONDS = 30.0


class Hub:
    """The subscribers of this process, and its connection to the broker. Use it in the event loop's thread only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._subscribers: dict[str, list[Subscriber]] = {}
        self._numbers: dict[str, int] = {}
        self._running: asyncio.Task[None] | None = None
        self._is_connected = asyncio.Event()
        self._first_came = asyncio.Event()
        name = uuid4().hex
        self._identifier = f"energy-live-{name}"
        self._topic = f"{mqtt.SUBSCRIBERS_TOPIC}/{name}"
        self.clients = 0
        self.frames = 0
        self.interruptions = 0
        # Messages, and items of messages, that cannot be read.
        self.skipped = 0
        self._disconnected_at: float | None = None
        self._dropped = 0

    def check(self) -> None:
        """Return if the connection stands, or no stream has needed one yet.

        Raises:
            ConnectionError: it has been lost for a while.

        """
        if self._running is not None and self._running.done():
            raise ConnectionError("the live stream has ended; restart the API")
        if self._disconnected_at is not None and time.monotonic() - self._disconnected_at > LOST_SECONDS:
            raise ConnectionError(f"the live stream has had no connection to the broker for {LOST_SECONDS:.0f} s")

    async def is_connected(self) -> bool:
        """Whether the broker answers. The first call connects; the connection is then kept until the process ends."""
        if self._running is None or self._running.done():
            self._disconnected_at = time.monotonic()
            self._running = asyncio.create_task(self._run())
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await self._is_connected.wait()
        return self._is_connected.is_set()

    async def stop(self) -> None:
        """Announce that nobody is subscribed any more, and disconnect."""
        if self._running:
            self._running.cancel()
            await asyncio.wait([self._running], timeout=ANSWER_TIMEOUT_SECONDS)

    @contextmanager
    def subscribe(self, device_id: str, principal: Principal) -> Iterator[Subscriber]:
        """A queue that is filled with a device's frames while the principal's tenant, if any, owns the device."""
        subscriber = Subscriber(device_id, principal)
        if not self._subscribers:
            self._first_came.set()
        self._subscribers.setdefault(device_id, []).append(subscriber)
        self.clients += 1
        try:
            yield subscriber
        finally:
            self._subscribers[device_id].remove(subscriber)
            if not self._subscribers[device_id]:
                del self._subscribers[device_id]
            self.clients -= 1
            self._dropped += subscriber.dropped

    def principals(self) -> set[Principal]:
        """The principals of the subscribers."""
        return {subscriber.principal for subscriber in self._all()}

    def refuse(self, principals: Collection[Principal]) -> None:
        """End the streams of these principals."""
        for subscriber in self._all():
            if subscriber.principal in principals:
                subscriber.refuse()

    @property
    def dropped(self) -> int:
        """Frames that were dropped because their clients read too slowly."""
        return self._dropped + sum(subscriber.dropped for subscriber in self._all())

    def _all(self) -> Iterator[Subscriber]:
        for subscribers in self._subscribers.values():
            yield from subscribers

    async def _run(self) -> None:
        """Stay connected to the broker."""
        while True:
            try:
                await self._run_once()
            except* (aiomqtt.MqttError, OSError) as errors:
                log.warning("the live stream has no connection to the broker: %s", errors.exceptions[0])
            except* Exception:
                log.exception("the live stream failed and starts again")
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _run_once(self) -> None:
        # The broker clears our announcement if this process dies.
        will = aiomqtt.Will(self._topic, b"", qos=1, retain=True)
        async with open_client(self._settings, self._identifier, timeout=ANSWER_TIMEOUT_SECONDS, will=will) as client:
            self._numbers.clear()
            self._is_connected.set()
            self._disconnected_at = None
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._announce(client))
                    tasks.create_task(self._receive(client))
            except asyncio.CancelledError:
                with suppress(aiomqtt.MqttError):
                    await client.publish(self._topic, b"", qos=1, retain=True)
                raise
            finally:
                self._is_connected.clear()
                self._disconnected_at = time.monotonic()
                self._interrupt()

    async def _announce(self, client: aiomqtt.Client) -> None:
        """Tell ingesters whether there are subscribers: when the first one comes, and every `ANNOUNCE_SECONDS`.

        When the last one has left, they learn it only at the next of these times: a page that reloads comes back soon.
        """
        is_announced = False
        while True:
            self._first_came.clear()
            if self._subscribers:
                if not is_announced:
                    await client.subscribe(mqtt.BATCHES_TOPIC, qos=0)
                    is_announced = True
                await client.publish(self._topic, b"watching", qos=1, retain=True)
            elif is_announced:
                is_announced = False
                await client.unsubscribe(mqtt.BATCHES_TOPIC)
                await client.publish(self._topic, b"", qos=1, retain=True)
                self._numbers.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(mqtt.ANNOUNCE_SECONDS):
                    await self._first_came.wait()

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if message.retain:
                continue  # no ingester retains a batch
            try:
                self._distribute(mqtt.decode_batch(message.payload))
            except Exception as error:  # noqa: BLE001 - whatever somebody publishes, the stream goes on
                self._skip(f"a message on {message.topic}", error)

    def _skip(self, what: str, error: Exception) -> None:
        """Count what cannot be read, and leave it out."""
        self.skipped += 1
        log.warning("%s cannot be read and is left out: %s: %.200s", what, type(error).__name__, error)

    def _distribute(self, batch: mqtt.LiveBatch) -> None:
        expected = self._numbers.get(batch.publisher, batch.number - 1) + 1
        self._numbers[batch.publisher] = batch.number
        if batch.number != expected:
            self._interrupt()
        for item in batch.items:
            subscribers = [s for s in self._subscribers.get(item.device_id, ()) if s.may_see(item.tenant_id)]
            if subscribers:
                readers = {subscriber.principal.tenant_id for subscriber in subscribers}
                try:
                    frames = {tenant_id: frame_of(item, tenant_id) for tenant_id in readers}
                except Exception as error:  # noqa: BLE001 - one item must not cost the others
                    self._skip(f"an item about {item.device_id}", error)
                    for subscriber in subscribers:
                        subscriber.interrupt()
                    continue
                self.frames += len(subscribers)
                for subscriber in subscribers:
                    subscriber.put(frames[subscriber.principal.tenant_id])

    def _interrupt(self) -> None:
        self.interruptions += 1
        for subscriber in self._all():
            subscriber.interrupt()
