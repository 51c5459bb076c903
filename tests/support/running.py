"""Parts of the platform, running: a real broker, an ingester and the API's server, each as long as a block lasts."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import uvicorn
from sqlmodel import Session

from cli.local import nats
from ingest.devices.last_seen import LastSeen
from ingest.devices.registry import Registry
from ingest.intake.intake import Intake
from ingest.metrics import IngestMetrics
from ingest.mqtt import connect, disconnect, new_client
from ingest.mqtt.live import LivePublisher
from ingest.mqtt.subscription import Subscription
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.alerts import AlertRaiser
from serving.app import create_app
from serving.live.routes import SERVER_OPTIONS
from storage.database import open_engine
from storage.settings import Settings
from storage.stores import open_telemetry_store
from tests.support.servers import can_connect, program, started, wait_until
from web.protocol import BoundedHttp


@contextmanager
def nats_broker(settings: Settings) -> Iterator[None]:
    """The embedded broker on the settings' port."""
    settings.energy_home.mkdir(parents=True, exist_ok=True)
    command, port = nats.prepare(settings), settings.mqtt_broker_port
    with started(command, lambda: can_connect(port), settings.energy_home / "nats.log"):
        yield


@contextmanager
def mosquitto_broker(settings: Settings) -> Iterator[None]:
    """Mosquitto with the production profile's limits, without passwords."""
    settings.energy_home.mkdir(parents=True, exist_ok=True)
    file = settings.energy_home / "mosquitto.conf"
    production = Path("deploy/mosquitto.conf").read_text()
    kept = [line for line in production.splitlines() if line.startswith(("max_", "message_size_limit"))]
    door = [f"listener {settings.mqtt_broker_port} 127.0.0.1", "allow_anonymous true"]
    file.write_text("\n".join([*door, *kept, ""]))
    port = settings.mqtt_broker_port
    log = settings.energy_home / "mosquitto.log"
    with started([program("mosquitto"), "-c", file], lambda: can_connect(port), log):
        yield


BROKERS = {"nats": nats_broker, "mosquitto": mosquitto_broker}


class Ingester:
    """The parts of an ingestion process, in this one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = IngestMetrics()
        self.engine = open_engine(settings)
        self.store = open_telemetry_store(settings)
        self.registry = Registry(settings, self.engine)
        self.live = LivePublisher(settings)
        self.subscription = Subscription(settings)
        self.last_seen = LastSeen()
        raiser = AlertRaiser(self.registry, self.last_seen, Outbox(NotifySettings.load()))
        self.intake = Intake(
            settings.mqtt_topic, self.store, self.engine, self.registry, self.metrics, raiser=raiser, live=self.live
        )


@contextmanager
def ingesting(settings: Settings, *, connected: bool = True) -> Iterator[Ingester]:
    """An ingester; one that has subscribed, unless told that no broker is there yet."""
    ingester = Ingester(settings)
    stopping = threading.Event()
    thread = threading.Thread(target=ingester.intake.run, args=(ingester.subscription, stopping))
    with Session(ingester.engine) as session:
        ingester.last_seen.load(session)
    ingester.registry.start()
    ingester.live.start()
    ingester.subscription.start()
    thread.start()
    try:
        wait_until(lambda: ingester.subscription.connected or not connected, "the ingester has subscribed")
        yield ingester
    finally:
        stopping.set()
        thread.join()
        ingester.subscription.stop()
        ingester.live.stop()
        ingester.registry.stop()
        ingester.store.close()
        ingester.engine.dispose()


@contextmanager
def serving(settings: Settings) -> Iterator[Any]:
    """The API behind a real server; the answer is the app."""
    app = create_app(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=settings.api_port,
            log_level="warning",
            timeout_graceful_shutdown=2,
            http=BoundedHttp,
            **SERVER_OPTIONS,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the API answers")
        yield app
    finally:
        server.should_exit = True
        thread.join()


class Device:
    """A publisher of telemetry."""

    def __init__(self, settings: Settings) -> None:
        self._client = new_client(settings, "device")
        connect(self._client, settings)
        wait_until(self._client.is_connected, "the device is connected")

    def send(self, device_id: str, payload: Any) -> None:
        """Publish one reading or several, and wait for the broker's word."""
        self.post(device_id, payload).wait_for_publish(10)

    def post(self, device_id: str, payload: Any, *, retain: bool = False) -> mqtt.MQTTMessageInfo:
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self._client.publish(f"devices/{device_id}/telemetry", content, qos=1, retain=retain)

    def leave(self) -> None:
        disconnect(self._client)


@contextmanager
def device(settings: Settings) -> Iterator[Device]:
    one = Device(settings)
    try:
        yield one
    finally:
        one.leave()
