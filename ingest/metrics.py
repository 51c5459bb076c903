"""The books of intake: received = stored + quarantined + in flight, at every moment, in readings.

One lock, so that a scrape never sees the books half written. Distributions are counted a batch at a time, columnwise.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from storage.telemetry import Reading
from storage.times import SECOND

# Intake that kept nothing for so long, though something waits, hears nobody.
MAX_PAUSE_SECONDS = 10

# Upper edges of the distributions, in seconds and in readings.
LAG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86_400)
LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1, 2.5, 5, 10, 60)
BATCH = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)


class Distribution:
    """How many values lie in each bucket, and their sum."""

    def __init__(self, name: str, meaning: str, edges: Sequence[float]) -> None:
        self._name = f"energy_ingest_{name}"
        self._meaning = meaning
        self._edges = edges
        self._counts = np.zeros(len(edges) + 1, np.int64)
        self._sum = 0.0

    def add(self, values: npt.ArrayLike) -> None:
        found = np.asarray(values, np.float64)
        self._counts += np.bincount(np.searchsorted(self._edges, found), minlength=len(self._counts))
        self._sum += float(found.sum())

    def metric(self) -> Metric:
        names = [*(f"{edge:g}" for edge in self._edges), "+Inf"]
        buckets = list(zip(names, np.cumsum(self._counts).tolist(), strict=True))
        return HistogramMetricFamily(self._name, self._meaning, buckets=buckets, sum_value=self._sum)


class IngestMetrics(Collector):
    """Counts since the process started."""

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
        self.evaluations = 0
        self.store_failures = 0
        self.dropped_by_broker = 0
        self.last_processed = time.monotonic()
        self._arrival = Distribution("arrival_lag_seconds", "From a reading's own time to its receipt", LAG)
        self._commit = Distribution("commit_seconds", "From a reading's receipt to its commit", LATENCY)
        self._store = Distribution("store_write_seconds", "One batch into the telemetry store", LATENCY)
        self._batch = Distribution("batch_readings", "Readings committed together", BATCH)

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

    def measure(self, readings: Sequence[Reading], *, store_seconds: float, evaluations: int) -> None:
        """What was just committed: how late it came and how long it took. `evaluations` are pairs (rule, reading)."""
        received_at = np.fromiter((reading.received_at for reading in readings), np.int64, len(readings))
        lag = received_at - np.fromiter((reading.time for reading in readings), np.int64, len(readings))
        took = time.time_ns() // 1000 - received_at
        with self._lock:
            self.evaluations += evaluations
            # A clock that goes ahead makes neither lag nor duration negative.
            self._arrival.add(np.maximum(lag, 0) / SECOND)
            self._commit.add(np.maximum(took, 0) / SECOND)
            self._store.add([store_seconds])
            self._batch.add([len(readings)])

    def fail(self) -> None:
        """A store did not answer; the batch stays in flight."""
        with self._lock:
            self.store_failures += 1

    @property
    def is_keeping_up(self) -> bool:
        """Whether nothing waits, or something was kept a moment ago: what devices send is heard."""
        return not self.in_flight or time.monotonic() - self.last_processed < MAX_PAUSE_SECONDS

    @property
    def in_flight(self) -> int:
        return self.received - self.stored - self.quarantined

    @property
    def idle_seconds(self) -> float:
        """Since a batch was committed last, or since the start."""
        return time.monotonic() - self.last_processed

    def collect(self) -> Iterator[Metric]:
        """For Prometheus."""
        with self._lock:
            counters = {
                "received": (self.received, "Readings decoded, or messages that could not be"),
                "stored": (self.stored, "Readings committed to the telemetry store"),
                "quarantined": (self.quarantined, "Readings and messages refused, kept with the reason"),
                "redelivered": (self.redelivered, "Readings that the broker delivered again"),
                "ignored_keys": (self.ignored_keys, "Keys of payloads that are no metrics"),
                "rule_evaluations": (self.evaluations, "Pairs of a rule and a reading that it was asked about"),
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
            distributions = [d.metric() for d in (self._arrival, self._commit, self._store, self._batch)]
        for name, (value, meaning) in counters.items():
            yield CounterMetricFamily(f"energy_ingest_{name}", meaning, value=value)
        yield attempts
        yield GaugeMetricFamily("energy_ingest_in_flight", "Readings decoded and not yet committed", value=in_flight)
        dropped = self.dropped_by_broker
        yield GaugeMetricFamily(
            "energy_ingest_dropped_by_broker", "Messages that the broker dropped, by its own account", value=dropped
        )
        yield GaugeMetricFamily("energy_ingest_idle_seconds", "Since the last commit", value=self.idle_seconds)
        yield from distributions
