"""The ingestion process, `python -m ingest`. Several can run side by side; each has metrics and readiness over HTTP."""

import gc
import logging
import signal
import sys
import threading

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from ingest.devices.last_seen import LastSeen
from ingest.devices.registry import Registry
from ingest.intake.intake import Intake
from ingest.metrics import IngestMetrics
from ingest.monitor import Monitor
from ingest.mqtt.live import LivePublisher
from ingest.mqtt.subscription import Subscription
from ingest.notify.outbox import Outbox
from ingest.notify.sender import Senders
from ingest.notify.settings import NotifySettings
from ingest.rules.alerts import AlertRaiser
from ingest.rules.no_data import NoDataMonitor
from storage.database import ANSWER_TIMEOUT_SECONDS, open_engine
from storage.logs import start_logging
from storage.settings import Settings, SettingsError, check_settings
from storage.stores import open_telemetry_store

log = logging.getLogger("ingest")

# Python collects garbage each time so many new objects exist; a batch makes a few for each message.
GC_THRESHOLD = 50_000


def main() -> None:
    """Run until SIGTERM or SIGINT. The exit code is 2 if a setting is wrong."""
    try:
        check_settings()
        settings = Settings.load()
        start_logging(settings.log_level)
        run(settings)
    except SettingsError as error:
        print(f"ingest: {error}", file=sys.stderr)
        sys.exit(2)


def run(settings: Settings) -> None:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    metrics = IngestMetrics()
    store = open_telemetry_store(settings)
    engine = open_engine(settings, answer_timeout=ANSWER_TIMEOUT_SECONDS)
    subscription = Subscription(settings)
    registry = Registry(settings, engine)
    last_seen = LastSeen()
    notify_settings = NotifySettings.load()
    outbox = Outbox(notify_settings)
    senders = Senders(notify_settings, settings, engine, metrics)
    no_data = NoDataMonitor(
        engine,
        registry,
        last_seen,
        outbox,
        metrics=metrics,
        is_receiving=lambda: subscription.is_receiving and metrics.is_keeping_up,
    )
    live = LivePublisher(settings)
    loops = [registry.loop, no_data.loop, live.loop, *senders.loops]
    monitor = Monitor(settings.ingest_metrics_port, subscription, store, metrics, loops)
    monitor.start()
    while not stopping.is_set():
        try:
            with Session(engine) as session:
                last_seen.load(session)
            registry.start()
            break
        except OperationalError as error:
            log.warning("waiting for the database: %s", str(error.orig).strip().splitlines()[0])
            stopping.wait(1)
    live.start()
    subscription.start()
    # Everything that exists now stays. To search it for garbage again and again would take a fifth of intake's time.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    no_data.start()
    senders.start()
    try:
        raiser = AlertRaiser(registry, last_seen, outbox)
        intake = Intake(settings.mqtt_topic, store, engine, registry, metrics, raiser=raiser, live=live)
        intake.run(subscription, stopping)
    finally:
        subscription.stop()
        no_data.stop()
        senders.stop()
        live.stop()
        monitor.stop()
        registry.stop()
        store.close()
        engine.dispose()


if __name__ == "__main__":
    main()
