"""Intake: a batch of messages becomes telemetry, quarantine, marks in the ledger and alerts, then is acknowledged.

The order makes dying safe anywhere: telemetry first, the rest in one transaction after it, the acknowledgement last.
What was not acknowledged comes again, and every step is the same when done twice.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from sqlalchemy import Engine, insert
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlmodel import Session

from ingest.devices.registry import Registry
from ingest.intake.decode import Decoded, Rejected, decode, payload_of
from ingest.metrics import IngestMetrics
from ingest.mqtt.live import LivePublisher
from ingest.mqtt.subscription import Message, Subscription
from ingest.rules.alerts import AlertRaiser
from storage import dirty_days
from storage.quarantine import QuarantinedReading
from storage.telemetry import StoreUnavailable, TelemetryStore
from storage.times import moment

log = logging.getLogger(__name__)

MAX_BATCH = 5_000
MAX_BATCH_BYTES = 2 * 1024 * 1024
FIRST_PAUSE, MAX_PAUSE = 0.1, 5.0


class Work:
    """A message and what it held; `count` readings, an undecodable message being one."""

    def __init__(self, message: Message, decoded: Decoded, count: int | None = None) -> None:
        self.message = message
        self.decoded = decoded
        self.count = len(decoded.readings) + len(decoded.rejected) if count is None else count
        self.is_given_up = count is not None

    def given_up(self) -> "Work":
        """The message as a whole, for the quarantine."""
        reason = "the platform failed on it; see the log of ingestion"
        rejected = Rejected(self.message.topic, None, self.message.payload, reason)
        return Work(self.message, Decoded([], [rejected]), self.count)

    def quarantined(self, refused: Mapping[tuple[str, int], str]) -> Iterator[QuarantinedReading]:
        """Rows for what was rejected here, and for what the store refused, by device and time."""
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
    """Turns messages into what is kept of them."""

    def __init__(
        self,
        topic_filter: str,
        store: TelemetryStore,
        engine: Engine,
        registry: Registry,
        counts: IngestMetrics,
        *,
        raiser: AlertRaiser,
        live: LivePublisher | None = None,
    ) -> None:
        self._device_level = topic_filter.split("/").index("+")
        self._store = store
        self._engine = engine
        self._registry = registry
        self._counts = counts
        self._raiser = raiser
        self._live = live

    def run(self, subscription: Subscription, stopping: threading.Event) -> None:
        """Take batches until told to stop; what arrived while one was being stored is the next one."""
        while not stopping.is_set():
            messages = subscription.take(MAX_BATCH, MAX_BATCH_BYTES, timeout=1.0)
            if messages and self.process(messages, stopping):
                subscription.acknowledge(messages)
            self._counts.dropped_by_broker = subscription.dropped
            if not subscription.alive:
                raise RuntimeError("the MQTT client's thread has ended; see the log above")

    def process(self, messages: Sequence[Message], stopping: threading.Event) -> bool:
        """Keep a batch, however long a store takes to come back. False: told to stop before it was kept."""
        batch = [self.work(message) for message in messages]
        self._counts.begin(
            sum(work.count for work in batch),
            redelivered=sum(work.count for work in batch if work.message.redelivered),
            ignored_keys=sum(work.decoded.ignored for work in batch),
        )
        return self._keep(batch, stopping)

    def work(self, message: Message) -> Work:
        """A message, decoded with what the registry knows now."""
        device_id = message.topic.split("/")[self._device_level]
        profile_of = self._registry.facts
        return Work(message, decode(message.topic, device_id, message.payload, message.received_at, profile_of))

    def _keep(self, batch: list[Work], stopping: threading.Event) -> bool:
        pause = FIRST_PAUSE
        while True:
            try:
                self.commit(batch)
            except (StoreUnavailable, OperationalError, InterfaceError, InternalError) as error:
                reason = str(error).splitlines()[0]
            except Exception as error:
                # Nothing that a device sends may stop the others: find the message, quarantine it, say so loudly.
                if len(batch) > 1:
                    middle = len(batch) // 2
                    return self._keep(batch[:middle], stopping) and self._keep(batch[middle:], stopping)
                if not batch[0].is_given_up:
                    log.exception("a message on %s cannot be kept and goes to quarantine", batch[0].message.topic)
                    batch = [batch[0].given_up()]
                    continue
                reason = f"quarantine does not take a message: {error}"
            else:
                return True
            if pause == FIRST_PAUSE:
                log.warning("intake waits, the broker keeps what comes: %s", reason)
            self._counts.fail()
            if stopping.wait(pause):
                return False
            pause = min(2 * pause, MAX_PAUSE)

    def commit(
        self, batch: Sequence[Work], also: Callable[[Session], None] | None = None
    ) -> Mapping[tuple[str, int], str]:
        """Keep a batch, or raise; `also` is done in the same transaction.

        The answer: what the store refused, by device and time, with its reasons; it is in quarantine.
        """
        readings = [reading for work in batch for reading in work.decoded.readings]
        began = time.perf_counter()
        refused = {(r.reading.device_id, r.reading.time): r.reason for r in self._store.write(readings)}
        store_seconds = time.perf_counter() - began
        kept = [reading for reading in readings if (reading.device_id, reading.time) not in refused]
        evaluated = self._raiser.evaluate(kept)
        with Session(self._engine, expire_on_commit=False) as session:
            dirty_days.mark_dirty(session, ((r.device_id, r.time) for r in kept))
            raised = self._raiser.raise_alerts(session, evaluated)
            if rows := [row.model_dump(exclude={"id"}) for work in batch for row in work.quarantined(refused)]:
                session.execute(insert(QuarantinedReading), rows)
            if also:
                also(session)
            session.commit()
        self._raiser.committed(kept, raised)
        count = sum(work.count for work in batch)
        self._counts.end(
            stored=len(kept), quarantined=count - len(kept), alerts=len(raised.alerts), held_back=raised.suppressed
        )
        self._counts.measure(kept, store_seconds=store_seconds, evaluations=evaluated.pairs)
        if self._live:
            tenants = [self._registry.facts(reading.device_id).tenant_id for reading in kept]
            self._live.publish(kept, tenants, raised.alerts)
        return refused
