"""HTTP on loopback for each ingester: `/metrics` for Prometheus and `/ready` for probes."""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from ingest.metrics import IngestMetrics
from ingest.mqtt.probe import Probe
from ingest.mqtt.subscription import Subscription
from storage.loops import Loop
from storage.settings import SettingsError
from storage.telemetry import StoreUnavailable, TelemetryStore

# Intake is stuck if readings are in flight and none was committed for so long.
STUCK_SECONDS = 30.0


def readiness(
    subscription: Subscription, store: TelemetryStore, metrics: IngestMetrics, loops: Sequence[Loop] = ()
) -> dict[str, Any]:
    """Whether messages get through: broker and store answer, readings in flight are committed, and all loops work."""
    try:
        store.check()
        store_state = "connected"
    except StoreUnavailable as error:
        store_state = str(error)
    idle, in_flight = metrics.idle_seconds, metrics.in_flight
    stuck = in_flight > 0 and idle > STUCK_SECONDS
    failing = [f"{loop.name} {loop.state}" for loop in loops if loop.state != "works"]
    checks = {
        "broker": _broker_state(subscription),
        "telemetry_store": store_state,
        "intake": f"{in_flight} readings have been waiting for {idle:.0f} s" if stuck else "works",
        "loops": "; ".join(failing) or "work",
    }
    return {
        "ready": subscription.is_receiving and store_state == "connected" and not stuck and not failing,
        "checks": checks,
        "last_processed_seconds_ago": round(idle, 1),
        "in_flight": in_flight,
        "probe_came_back_seconds_ago": round(subscription.probe.age_seconds, 1),
    }


def _broker_state(subscription: Subscription) -> str:
    if not subscription.connected:
        return "not connected"
    if not subscription.is_receiving:
        return f"nothing arrives, not even a probe; the last one came back {subscription.probe.age_seconds:.0f} s ago"
    if subscription.probe.has_never_returned:
        return "connected, but it lets no probe through; see the log"
    return "connected"


class _LoopCollector(Collector):
    """What the loops of the process could not do."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = loops

    def collect(self) -> Iterator[Metric]:
        failures = CounterMetricFamily(
            "energy_ingest_loop_failures", "What a loop could not do, or left out, by loop", labels=["loop"]
        )
        for loop in self._loops:
            failures.add_metric([loop.name], loop.failures)
        yield failures


class _ProbeCollector(Collector):
    """Metrics of the connection to the broker."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def collect(self) -> Iterator[Metric]:
        probe = self._probe
        yield CounterMetricFamily("energy_ingest_probes", "Probes that came back from the broker", value=probe.returned)
        yield CounterMetricFamily(
            "energy_ingest_probe_reconnects", "Connections given up because nothing came back", value=probe.reconnects
        )
        yield GaugeMetricFamily(
            "energy_ingest_probe_age_seconds", "Seconds since the last probe came back", value=probe.age_seconds
        )


class Monitor:
    """The HTTP server. Each request has its own thread, so `/metrics` answers while `/ready` waits for a store."""

    def __init__(
        self,
        port: int,
        subscription: Subscription,
        store: TelemetryStore,
        metrics: IngestMetrics,
        loops: Sequence[Loop] = (),
    ) -> None:
        registry = CollectorRegistry()
        registry.register(metrics)
        registry.register(_ProbeCollector(subscription.probe))
        registry.register(_LoopCollector(loops))
        ProcessCollector(registry=registry)
        metrics_app = make_wsgi_app(registry)

        def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if environ["PATH_INFO"] != "/ready":
                return cast("Iterable[bytes]", metrics_app(environ, start_response))
            answer = readiness(subscription, store, metrics, loops)
            status = "200 OK" if answer["ready"] else "503 Service Unavailable"
            start_response(status, [("Content-Type", "application/json")])
            return [json.dumps(answer).encode()]

        try:
            self._server = make_server("127.0.0.1", port, application, ThreadingWSGIServer, _Quiet)
        except OSError as error:
            raise SettingsError(
                f"INGEST_METRICS_PORT={port} cannot be opened ({error.strerror}); choose another port"
            ) from None

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Log nothing: probes come every few seconds."""
