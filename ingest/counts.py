"""The books of intake: received = stored + quarantined + in flight, at every moment, in readings."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# Intake that kept nothing for so long, though something waits, hears nobody.
LONGEST_PAUSE_SECONDS = 10


class IntakeCounts(Collector):
    """Counts since the process started. One lock, so that a scrape never sees the books half written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = 0
        self.stored = 0
        self.quarantined = 0
        self.redelivered = 0
        self.ignored_keys = 0
        self.alerts = 0
        self.held_back = 0
        self.notifications: Counter[str] = Counter()
        self.store_failures = 0
        self.dropped_by_broker = 0
        self.last_processed = time.monotonic()

    def begin(self, readings: int, *, redelivered: int = 0, ignored_keys: int = 0) -> None:
        """A batch was decoded: these are in flight from now on."""
        with self._lock:
            self.received += readings
            self.redelivered += redelivered
            self.ignored_keys += ignored_keys

    def end(self, *, stored: int, quarantined: int, alerts: int, held_back: int = 0) -> None:
        """A batch was committed."""
        with self._lock:
            self.stored += stored
            self.quarantined += quarantined
            self.alerts += alerts
            self.held_back += held_back
            self.last_processed = time.monotonic()

    def silence(self, *, alerts: int, held_back: int) -> None:
        """Devices were found silent."""
        with self._lock:
            self.alerts += alerts
            self.held_back += held_back

    def notified(self, outcome: str) -> None:
        """A notification was tried."""
        with self._lock:
            self.notifications[outcome] += 1

    def fail(self) -> None:
        """A store did not answer; the batch stays in flight."""
        with self._lock:
            self.store_failures += 1

    @property
    def is_keeping_up(self) -> bool:
        """Whether nothing waits, or something was kept a moment ago: what devices send is heard."""
        return not self.in_flight or time.monotonic() - self.last_processed < LONGEST_PAUSE_SECONDS

    @property
    def in_flight(self) -> int:
        return self.received - self.stored - self.quarantined

    def collect(self) -> Iterator[Metric]:
        """For Prometheus."""
        with self._lock:
            counters = {
                "received": (self.received, "Readings decoded, or messages that could not be"),
                "stored": (self.stored, "Readings committed to the telemetry store"),
                "quarantined": (self.quarantined, "Readings and messages refused, kept with the reason"),
                "redelivered": (self.redelivered, "Readings that the broker delivered again"),
                "ignored_keys": (self.ignored_keys, "Keys of payloads that are no metrics"),
                "alerts": (self.alerts, "Alerts raised"),
                "alerts_held_back": (self.held_back, "Alerts not raised because of maintenance"),
                "store_failures": (self.store_failures, "Attempts at a batch that a store did not answer"),
            }
            in_flight = self.in_flight
            attempts = CounterMetricFamily(
                "energy_notifications", "Attempts at notifications, and those too old to try", labels=["outcome"]
            )
            for outcome, count in self.notifications.items():
                attempts.add_metric([outcome], count)
        for name, (value, meaning) in counters.items():
            yield CounterMetricFamily(f"energy_ingest_{name}", meaning, value=value)
        yield attempts
        yield GaugeMetricFamily("energy_ingest_in_flight", "Readings decoded and not yet committed", value=in_flight)
        dropped = self.dropped_by_broker
        yield GaugeMetricFamily(
            "energy_ingest_dropped_by_broker", "Messages that the broker dropped, by its own account", value=dropped
        )
