"""Intake: what happens to a batch of messages between the subscription and the acknowledgement.

Telemetry is stored first. Everything else follows in one transaction: dirty days, alerts with their notifications, and
quarantined items. The acknowledgement comes last. So a crash at any point loses nothing: what was not acknowledged is
delivered again, and doing a step twice changes nothing.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlmodel import Session

from ingest.devices.registry import Registry
from ingest.intake.decode import Decoded, Rejected, decode_payload, payload_of
from ingest.metrics import IngestMetrics
from ingest.mqtt.live import LivePublisher
from ingest.mqtt.subscription import Message, Subscription
from ingest.rules.alerts import AlertRaiser
from storage.dirty_days import mark_dirty
from storage.quarantine import QuarantinedReading, add_quarantined, mark_replayed
from storage.telemetry import StoreUnavailable, TelemetryStore
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
    """A message and what it holds. `items` counts its readings and rejected items; an undecodable message is one."""

    message: Message
    decoded: Decoded
    items: int
    has_failed: bool = False  # the platform failed on it, so it goes to quarantine as a whole

    def quarantined(self, refused: Refusals) -> Iterator[QuarantinedReading]:
        """Rows for the items that were rejected, and for the readings that the telemetry store refused."""
        for rejected in self.decoded.rejected:
            yield self._row(rejected)
        for reading in self.decoded.readings if refused else ():
            if reason := refused.get((reading.device_id, reading.time)):
                reason = f"the telemetry store refused it: {reason}"
                yield self._row(Rejected(self.message.topic, reading.device_id, payload_of(reading), reason))

    def _row(self, rejected: Rejected) -> QuarantinedReading:
        return QuarantinedReading(
            device_id=rejected.device_id,
            topic=rejected.topic,
            payload=rejected.payload,
            reason=rejected.reason,
            metric=rejected.metric,
            received_at=moment(self.message.received_at),
        )


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
        while not stopping.is_set():
            messages = subscription.take(MAX_BATCH_MESSAGES, MAX_BATCH_BYTES, timeout=1.0)
            if messages and self.process(messages, stopping):
                subscription.acknowledge(messages)
            self._metrics.dropped_by_broker = subscription.dropped
            if not subscription.alive:
                raise RuntimeError("the MQTT client's thread has ended; see the log above")

    def process(self, messages: Sequence[Message], stopping: threading.Event) -> bool:
        """Decode and keep a batch, however long the stores are away. False if `stopping` was set before it was kept."""
        batch = [self.decode(message) for message in messages]
        self._metrics.batch_decoded(
            sum(item.items for item in batch),
            redelivered=sum(item.items for item in batch if item.message.redelivered),
            ignored_keys=sum(item.decoded.ignored for item in batch),
        )
        return self._keep(batch, stopping)

    def decode(self, message: Message) -> DecodedMessage:
        """Decode a message with what the registry knows about its device now."""
        device_id = message.topic.split("/")[self._device_level]
        profile = self._registry.profile(device_id)
        decoded = decode_payload(message.topic, device_id, message.payload, message.received_at, profile)
        return DecodedMessage(message, decoded, len(decoded.readings) + len(decoded.rejected))

    def commit(self, batch: Sequence[DecodedMessage], *, replayed: Sequence[int] = ()) -> Refusals:
        """Keep a batch, or raise what a store raised.

        Args:
            batch: decoded messages.
            replayed: the quarantine's rows that the messages come from; they are marked in the same transaction.

        Returns:
            What the telemetry store refused. It is in quarantine.

        """
        readings = [reading for item in batch for reading in item.decoded.readings]
        started = time.perf_counter()
        refused = {(r.reading.device_id, r.reading.time): r.reason for r in self._store.write(readings)}
        store_seconds = time.perf_counter() - started
        stored = [reading for reading in readings if (reading.device_id, reading.time) not in refused]

        evaluated = self._raiser.evaluate(stored)
        with Session(self._engine, expire_on_commit=False) as session:
            mark_dirty(session, ((reading.device_id, reading.time) for reading in stored))
            outcome = self._raiser.raise_for_batch(session, evaluated)
            add_quarantined(session, [row for item in batch for row in item.quarantined(refused)])
            mark_replayed(session, replayed)
            session.commit()
        self._raiser.remember(stored, outcome)

        self._metrics.batch_committed(
            stored,
            quarantined=sum(item.items for item in batch) - len(stored),
            alerts=len(outcome.alerts),
            suppressed=outcome.suppressed,
            evaluations=evaluated.evaluations,
            store_seconds=store_seconds,
        )
        if self._live:
            tenants = [self._registry.profile(reading.device_id).tenant_id for reading in stored]
            self._live.publish(stored, tenants, outcome.alerts)
        return refused

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


def _failed(item: DecodedMessage) -> DecodedMessage:
    """The whole message, for the quarantine."""
    message = item.message
    reason = "the platform failed on it; see the log of ingestion"
    rejected = Rejected(message.topic, None, message.payload, reason)
    return DecodedMessage(message, Decoded([], [rejected]), item.items, has_failed=True)
