"""Intake: what happens to a batch of messages between the subscription and the acknowledgement.

Telemetry is stored first. Everything else follows in one transaction: dirty days, alerts with their notifications, and
quarantined items. The acknowledgement comes last. So a crash at any point loses nothing: what was not acknowledged is
delivered again, and doing a step twice changes nothing.

While a batch is evaluated, committed and acknowledged, a thread of its own writes the telemetry of the next one.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlmodel import Session

from ingest.devices.registry import Registry
from ingest.intake.decode import Decoded, Rejected, decode_payload, payload_of
from ingest.intake.excess import drop_excess
from ingest.metrics import IngestMetrics
from ingest.mqtt.live import LivePublisher
from ingest.mqtt.subscription import Message, Subscription
from ingest.rules.alerts import AlertRaiser
from storage.dirty_days import mark_dirty
from storage.quarantine import QuarantinedReading, add_quarantined, mark_replayed, without_known
from storage.telemetry import Reading, StoreUnavailable, TelemetryStore
from storage.times import moment

log = logging.getLogger(__name__)

MAX_BATCH_MESSAGES = 5_000
MAX_BATCH_BYTES = 2 * 1024 * 1024
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 5.0

STORE_ERRORS = (StoreUnavailable, OperationalError, InterfaceError, InternalError)

# Why the telemetry store refused readings, by device and time.
Refusals = Mapping[tuple[str, int], str]


@dataclass(frozen=True, slots=True)
class DecodedMessage:
    """A message and what it holds. `items` counts its readings and rejected items; an undecodable message is one.

    `copies` counts readings that the broker had retained and that were received before; they are left out.
    """

    message: Message
    decoded: Decoded
    items: int
    copies: int = 0
    has_failed: bool = False  # the platform failed on it, so it goes to quarantine as a whole

    def quarantined(self, refused: Refusals) -> Iterator[QuarantinedReading]:
        """Rows for the items that were rejected, and for the readings that the telemetry store refused."""
        received_at = moment(self.message.received_at)
        for rejected in self.decoded.rejected:
            yield quarantined(rejected, received_at)
        for reading in self.decoded.readings if refused else ():
            if reason := refused.get((reading.device_id, reading.time)):
                reason = f"the telemetry store refused it: {reason}"
                rejected = Rejected(self.message.topic, reading.device_id, payload_of(reading), reason)
                yield quarantined(rejected, received_at)


def quarantined(rejected: Rejected, received_at: datetime) -> QuarantinedReading:
    """The row of the quarantine for a rejected item."""
    return QuarantinedReading(
        device_id=rejected.device_id,
        topic=rejected.topic,
        payload=rejected.payload,
        reason=rejected.reason,
        metric=rejected.metric,
        received_at=received_at,
    )


@dataclass(frozen=True, slots=True)
class Written:
    """The telemetry store's answer to a batch, and how long it took."""

    refused: Refusals
    seconds: float


@dataclass(slots=True)
class _Begun:
    """A batch whose telemetry is being written."""

    messages: list[Message]
    batch: list[DecodedMessage]
    write: Future[Written]


class Intake:
    """Takes messages from the subscription, keeps what they hold, and acknowledges them."""

    def __init__(
        self,
        topic_filter: str,
        store: TelemetryStore,
        engine: Engine,
        registry: Registry,
        metrics: IngestMetrics,
        *,
        raiser: AlertRaiser,
        live: LivePublisher | None = None,
    ) -> None:
        self._device_level = topic_filter.split("/").index("+")
        self._store = store
        self._engine = engine
        self._registry = registry
        self._metrics = metrics
        self._raiser = raiser
        self._live = live

    def run(self, subscription: Subscription, stopping: threading.Event) -> None:
        """Process batches until `stopping` is set. What arrives while one is being kept becomes the next one."""
        with ThreadPoolExecutor(1, "telemetry") as writer:
            current: _Begun | None = None
            while current or not stopping.is_set():
                following = None
                if not stopping.is_set():
                    messages = subscription.take(MAX_BATCH_MESSAGES, MAX_BATCH_BYTES, timeout=0.0 if current else 1.0)
                    following = self._begin(messages, writer) if messages else None
                if current:
                    if not self._finish(current, following, writer, stopping):
                        return
                    subscription.acknowledge(current.messages)
                current = following
                self._metrics.dropped_by_broker = subscription.dropped
                if not subscription.alive:
                    raise RuntimeError("the MQTT client's thread has ended; see the log above")

    def process(self, messages: Sequence[Message], stopping: threading.Event) -> bool:
        """Decode and keep a batch, however long the stores are away. False if `stopping` was set before it was kept."""
        batch = [self.decode(message) for message in messages]
        self._count(batch)
        return self._keep(batch, stopping)

    def _begin(self, messages: list[Message], writer: ThreadPoolExecutor) -> _Begun:
        batch = [self.decode(message) for message in messages]
        return _Begun(messages, batch, writer.submit(self._write, batch))

    def _finish(
        self, current: _Begun, following: _Begun | None, writer: ThreadPoolExecutor, stopping: threading.Event
    ) -> bool:
        """Keep a batch whose telemetry is being written. False if `stopping` was set before it was kept.

        If that fails, the next batch waits: its telemetry is written again when this batch is kept, because the newer
        of two readings for one time must come last.
        """
        self._count(current.batch)
        try:
            self._settle(current.batch, current.write.result())
        except STORE_ERRORS:
            self._metrics.store_failed()
        except Exception as error:  # noqa: BLE001 - `_keep` finds the message that fails, and logs it
            log.debug("a batch failed and is tried again: %r", error)
        else:
            return True
        if following and not following.write.cancel():
            wait([following.write])
        kept = self._keep(current.batch, stopping)
        if following and kept:
            following.write = writer.submit(self._write, following.batch)
        return kept

    def _count(self, batch: Sequence[DecodedMessage]) -> None:
        """Count a batch as in flight. Before, it is as uncounted as what waits in the subscription."""
        self._metrics.batch_decoded(
            sum(item.items for item in batch),
            redelivered=sum(item.items for item in batch if item.message.redelivered),
            ignored_keys=sum(item.decoded.ignored for item in batch),
            retained_copies=sum(item.copies for item in batch),
            empty_messages=sum(not item.message.payload for item in batch),
        )

    def decode(self, message: Message) -> DecodedMessage:
        """Decode a message with what the registry knows about its device now. An empty one has no items.

        An empty message tells the broker to forget what it has retained under that topic.
        """
        if not message.payload:
            return DecodedMessage(message, Decoded([], []), 0)
        device_id = message.topic.split("/")[self._device_level]
        profile = self._registry.profile(device_id)
        decoded = decode_payload(message.topic, device_id, message.payload, message.received_at, profile)
        copies = 0
        if message.retained:
            new = [reading for reading in decoded.readings if self._raiser.is_newer(reading)]
            copies = len(decoded.readings) - len(new)
            decoded.readings = new
        return DecodedMessage(message, decoded, len(decoded.readings) + len(decoded.rejected), copies)

    def commit(self, batch: Sequence[DecodedMessage], *, replayed: Sequence[int] = ()) -> Refusals:
        """Keep a batch, or raise what a store raised.

        Args:
            batch: decoded messages.
            replayed: the quarantine's rows that the messages come from; they are marked in the same transaction.

        Returns:
            What the telemetry store refused. It is in quarantine.

        """
        written = self._write(batch)
        self._settle(batch, written, replayed=replayed)
        return written.refused

    def _write(self, batch: Sequence[DecodedMessage]) -> Written:
        """Write a batch's telemetry, without metrics beyond what a device may have."""
        decoded = [(item.message.topic, item.decoded) for item in batch]
        self._metrics.values_dropped(drop_excess(self._registry.metric_names, decoded))
        readings = [reading for item in batch for reading in item.decoded.readings]
        started = time.perf_counter()
        refused = {(r.reading.device_id, r.reading.time): r.reason for r in self._store.write(readings)}
        return Written(refused, time.perf_counter() - started)

    def _settle(self, batch: Sequence[DecodedMessage], written: Written, *, replayed: Sequence[int] = ()) -> None:
        """Evaluate and commit a batch whose telemetry is written.

        What the broker had retained is stored, but it may be old: it raises no alerts, and does not count as seen.
        """
        refused = written.refused
        live = [item for item in batch if not item.message.retained]
        retained = [item for item in batch if item.message.retained]
        readings, old = _stored(live, refused), _stored(retained, refused)
        evaluated = self._raiser.evaluate(readings)
        with Session(self._engine, expire_on_commit=False) as session:
            mark_dirty(session, ((reading.device_id, reading.time) for reading in (*readings, *old)))
            outcome = self._raiser.raise_for_batch(session, evaluated)
            again = [row for item in retained for row in item.quarantined(refused)]
            add_quarantined(session, [row for item in live for row in item.quarantined(refused)])
            add_quarantined(session, without_known(session, again))
            mark_replayed(session, replayed)
            session.commit()
        self._raiser.remember(readings, old, outcome)

        self._metrics.batch_committed(
            [*readings, *old],
            quarantined=sum(item.items for item in batch) - len(readings) - len(old),
            alerts=len(outcome.alerts),
            suppressed=outcome.suppressed,
            evaluations=evaluated.evaluations,
            store_seconds=written.seconds,
        )
        if self._live:
            tenants = [self._registry.profile(reading.device_id).tenant_id for reading in readings]
            self._live.publish(readings, tenants, outcome.alerts)

    def _keep(self, batch: list[DecodedMessage], stopping: threading.Event) -> bool:
        """Commit a batch, and try again while a store is away. A message that fails by itself is quarantined."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                self.commit(batch)
            except STORE_ERRORS as error:
                reason = str(error).splitlines()[0]
            except Exception as error:
                # No message may stop the others: find the one that fails, quarantine it, and log the failure.
                if len(batch) > 1:
                    middle = len(batch) // 2
                    return self._keep(batch[:middle], stopping) and self._keep(batch[middle:], stopping)
                if not batch[0].has_failed:
                    log.exception("failed to keep a message on %s; it goes to quarantine", batch[0].message.topic)
                    batch = [_failed(batch[0])]
                    continue
                reason = f"the quarantine does not accept a message: {error}"
            else:
                return True
            if pause == FIRST_PAUSE_SECONDS:
                log.warning("intake is waiting, and the broker keeps new messages: %s", reason)
            self._metrics.store_failed()
            if stopping.wait(pause):
                return False
            pause = min(2 * pause, MAX_PAUSE_SECONDS)


def _stored(items: Iterable[DecodedMessage], refused: Refusals) -> list[Reading]:
    """The readings of messages, without those that the telemetry store refused."""
    readings = [reading for item in items for reading in item.decoded.readings]
    return [r for r in readings if (r.device_id, r.time) not in refused] if refused else readings


def _failed(item: DecodedMessage) -> DecodedMessage:
    """The whole message, for the quarantine."""
    message = item.message
    reason = "the platform failed on it; see the log of ingestion"
    rejected = Rejected(message.topic, None, message.payload, reason)
    return DecodedMessage(message, Decoded([], [rejected]), item.items, item.copies, has_failed=True)
