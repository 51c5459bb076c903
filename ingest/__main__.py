"""The ingestion process: `python -m ingest`, one or several of them, with metrics and readiness over HTTP."""

import gc
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, cast
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from sqlalchemy.exc import OperationalError

from ingest.counts import IntakeCounts
from ingest.intake import Intake
from ingest.live import LivePublisher
from ingest.registry import Registry
from ingest.subscription import Subscription
from storage.database import open_engine
from storage.settings import Settings, SettingsError
from storage.telemetry import StoreUnavailable, TelemetryStore, open_telemetry_store

log = logging.getLogger("ingest")

GARBAGE = 50_000  # objects more than before, at which Python looks for some; a batch makes a few for each message


def main() -> None:
    """Run until SIGTERM or SIGINT; exit code 2 when a variable is wrong."""
    try:
        settings = Settings.load()
        logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
        run(settings)
    except SettingsError as error:
        print(f"ingest: {error}", file=sys.stderr)
        sys.exit(2)


def run(settings: Settings) -> None:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    counts = IntakeCounts()
    store = open_telemetry_store(settings)
    engine = open_engine(settings)
    subscription = Subscription(settings)
    registry = Registry(settings, engine)
    live = LivePublisher(settings)
    serve_metrics(settings.ingest_metrics_port, counts, lambda: _state(subscription, store, counts))
    while not stopping.is_set():
        try:
            registry.start()
            break
        except OperationalError as error:
            log.warning("waiting for the database: %s", str(error.orig).strip().splitlines()[0])
            stopping.wait(1)
    live.start()
    subscription.start()
    # What is there now stays: looking through it again and again for garbage would take a fifth of intake's time.
    gc.freeze()
    gc.set_threshold(GARBAGE)
    try:
        Intake(settings.mqtt_topic, store, engine, registry, counts, live=live).run(subscription, stopping)
    finally:
        subscription.stop()
        live.stop()
        registry.stop()
        store.close()
        engine.dispose()


def _state(subscription: Subscription, store: TelemetryStore, counts: IntakeCounts) -> dict[str, Any]:
    try:
        store.check()
        kept = "connected"
    except StoreUnavailable as error:
        kept = str(error)
    broker = "connected" if subscription.connected else "not connected"
    return {
        "ready": broker == kept == "connected",
        "checks": {"broker": broker, "telemetry_store": kept},
        "last_processed_seconds_ago": round(time.monotonic() - counts.last_processed, 1),
        "in_flight": counts.in_flight,
    }


def serve_metrics(port: int, counts: IntakeCounts, state: Callable[[], dict[str, Any]]) -> None:
    """Answer `/metrics` and `/ready` on loopback, from a thread of its own."""
    registry = CollectorRegistry()
    registry.register(counts)
    ProcessCollector(registry=registry)
    metrics = make_wsgi_app(registry)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/ready":
            return cast("Iterable[bytes]", metrics(environ, start_response))
        answer = state()
        start_response(
            "200 OK" if answer["ready"] else "503 Service Unavailable", [("Content-Type", "application/json")]
        )
        return [json.dumps(answer).encode()]

    server = make_server("127.0.0.1", port, application, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing: probes come every few seconds."""


if __name__ == "__main__":
    main()
