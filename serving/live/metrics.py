"""The live stream's metrics for Prometheus."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.live.hub import Hub


class LiveMetrics(Collector):
    """Counts of the hub; none before the app has started, when there is no hub."""

    def __init__(self, hub: Callable[[], Hub | None]) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        hub = self._hub()
        if hub is None:
            return
        yield GaugeMetricFamily("energy_api_live_clients", "WebSockets that watch a device", value=hub.clients)
        yield CounterMetricFamily("energy_api_live_frames", "Frames made for WebSockets", value=hub.frames)
        yield CounterMetricFamily(
            "energy_api_live_dropped", "Frames dropped because a client read too slowly", value=hub.dropped
        )
        yield CounterMetricFamily(
            "energy_api_live_skipped", "Messages and items of messages that could not be read", value=hub.skipped
        )
        yield CounterMetricFamily(
            "energy_api_live_interruptions", "Times the stream had a gap and its WebSockets were closed",
            value=hub.interruptions,
        )  # fmt: skip
