"""Metrics of ingestion. At every moment received = stored + quarantined + in flight, in readings.

One lock guards them, so that a scrape never sees a batch half counted.
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

# If nothing was committed for so long although something is in flight, intake is not keeping up.
MAX_PAUSE_SECONDS = 10

# Upper edges of the histograms' buckets, in seconds and in readings.
LAG_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86_400)
DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1, 2.5, 5, 10, 60)
BATCH_BUCKETS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)


class Histogram:
    """Counts values by bucket, a whole batch at a time, and sums them."""

    def __init__(self, name: str, description: str, edges: Sequence[float]) -> None:
        self._name = f"energy_ingest_{name}"
        self._description = description
        self._edges = edges
        self._counts = np.zeros(len(edges) + 1, np.int64)
        self._sum = 0.0

    def observe(self, values: npt.ArrayLike) -> None:
        numbers = np.asarray(values, np.float64)
        self._counts += np.bincount(np.searchsorted(self._edges, numbers), minlength=len(self._counts))
        self._sum += float(numbers.sum())

    def metric(self) -> Metric:
        names = [*(f"{edge:g}" for edge in self._edges), "+Inf"]
        buckets = list(zip(names, np.cumsum(self._counts).tolist(), strict=True))
        return HistogramMetricFamily(self._name, self._description, buckets=buckets, sum_value=self._sum)


class IngestMetrics(Collector):
    """What ingestion has done since the process started. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = 0
        self.stored = 0
        self.quarantined = 0
        self.redelivered = 0
        self.ignored_keys = 0
        self.dropped_values = 0
        self.retained_copies = 0
        self.empty_messages = 0
        self.alerts = 0
        self.suppressed = 0
        self.notifications: Counter[str] = Counter()
        self.evaluations = 0
        self.store_failures = 0
        self.dropped_by_broker = 0
        self._last_commit = time.monotonic()
        self._lag = Histogram("arrival_lag_seconds", "Time from a reading's timestamp to its receipt", LAG_BUCKETS)
        self._commit = Histogram("commit_seconds", "Time from a reading's receipt to its commit", DURATION_BUCKETS)
        self._store = Histogram("store_write_seconds", "Time to write a batch to the telemetry store", DURATION_BUCKETS)
        self._batch = Histogram("batch_readings", "Readings per committed batch", BATCH_BUCKETS)

    def batch_decoded(
        self,
        readings: int,
        *,
        redelivered: int = 0,
        ignored_keys: int = 0,
        retained_copies: int = 0,
        empty_messages: int = 0,
    ) -> None:
        """Count readings that are in flight from now on. Retained copies and empty messages are counted apart."""
        with self._lock:
            self.received += readings
            self.redelivered += redelivered
            self.ignored_keys += ignored_keys
            self.retained_copies += retained_copies
            self.empty_messages += empty_messages

    def batch_committed(
        self,
        readings: Sequence[Reading],
        *,
        quarantined: int,
        alerts: int = 0,
        suppressed: int = 0,
        evaluations: int = 0,
        store_seconds: float = 0.0,
    ) -> None:
        """Count a batch that is not in flight any more: its stored readings, and how many items were quarantined."""
        received_at = np.fromiter((reading.received_at for reading in readings), np.int64, len(readings))
        lag = received_at - np.fromiter((reading.time for reading in readings), np.int64, len(readings))
        duration = time.time_ns() // 1000 - received_at
        with self._lock:
            self.stored += len(readings)
            self.quarantined += quarantined
            self.alerts += alerts
            self.suppressed += suppressed
            self.evaluations += evaluations
            self._last_commit = time.monotonic()
            # Clocks that run ahead make neither negative.
            self._lag.observe(np.maximum(lag, 0) / SECOND)
            self._commit.observe(np.maximum(duration, 0) / SECOND)
            self._store.observe([store_seconds])
            self._batch.observe([len(readings)])

    def no_data_evaluated(self, *, alerts: int, suppressed: int) -> None:
        """Count the alerts of rules about missing data."""
        with self._lock:
            self.alerts += alerts
            self.suppressed += suppressed

    def notification_attempted(self, outcome: str) -> None:
        with self._lock:
            self.notifications[outcome] += 1

    def values_dropped(self, values: int) -> None:
        """Count values of metrics that are too many for their device."""
        with self._lock:
            self.dropped_values += values

    def store_failed(self) -> None:
        """Count an attempt that a store did not answer; the batch stays in flight."""
        with self._lock:
            self.store_failures += 1

    @property
    def in_flight(self) -> int:
        return self.received - self.stored - self.quarantined

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last commit, or since the process started."""
        return time.monotonic() - self._last_commit

    @property
    def is_keeping_up(self) -> bool:
        """Whether nothing is in flight, or something was committed a moment ago."""
        return not self.in_flight or self.idle_seconds < MAX_PAUSE_SECONDS

    def collect(self) -> Iterator[Metric]:
        """The metrics, as Prometheus's client asks for them."""
        with self._lock:
            counters = {
                "received": (self.received, "Readings decoded, and messages that could not be decoded"),
                "stored": (self.stored, "Readings committed to the telemetry store"),
                "quarantined": (self.quarantined, "Readings and messages quarantined, with the reason"),
                "redelivered": (self.redelivered, "Readings that the broker delivered again"),
                "retained_copies": (self.retained_copies, "Retained readings that were received before"),
                "empty_messages": (self.empty_messages, "Empty messages, which clear what the broker has retained"),
                "ignored_keys": (self.ignored_keys, "Keys of payloads that are not metrics, or beyond ±1e12"),
                "dropped_values": (self.dropped_values, "Values of metrics beyond MAX_METRICS_PER_DEVICE"),
                "rule_evaluations": (self.evaluations, "Pairs of a rule and a reading that were compared"),
                "alerts": (self.alerts, "Alerts raised"),
                "alerts_held_back": (self.suppressed, "Alerts suppressed by maintenance"),
                "store_failures": (self.store_failures, "Attempts to keep a batch that a store did not answer"),
            }
            in_flight = self.in_flight
            notifications = CounterMetricFamily(
                "energy_notifications", "Attempts to send notifications, by outcome", labels=["outcome"]
            )
            for outcome, count in self.notifications.items():
                notifications.add_metric([outcome], count)
            histograms = [h.metric() for h in (self._lag, self._commit, self._store, self._batch)]
        for name, (value, description) in counters.items():
            yield CounterMetricFamily(f"energy_ingest_{name}", description, value=value)
        yield notifications
        yield from (
            GaugeMetricFamily(f"energy_ingest_{name}", description, value=value)
            for name, value, description in (
                ("in_flight", in_flight, "Readings decoded and not yet committed"),
                ("dropped_by_broker", self.dropped_by_broker, "Messages that the broker says it has dropped"),
                ("idle_seconds", self.idle_seconds, "Seconds since the last commit"),
            )
        )
        yield from histograms
