"""Intake without a broker, into either store: what a device, a clock or a race can do to it."""

import json
import random
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, func, select

from ingest.devices.last_seen import LastSeen
from ingest.devices.registry import Registry
from ingest.intake.intake import Intake
from ingest.metrics import IngestMetrics
from ingest.mqtt.subscription import Message
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.alerts import AlertRaiser
from storage.alerts import Alert
from storage.devices import Device
from storage.dirty_days import DirtyDay
from storage.quarantine import QuarantinedReading
from storage.rules import Rule
from storage.settings import Settings
from storage.stores import open_telemetry_store
from storage.times import DAY, SECOND
from tests.support.mutations import mutated

pytestmark = pytest.mark.slow

START = 1_770_890_400 * SECOND  # 2026-02-12T10:00:00Z
GOING = threading.Event()  # never set: intake goes on


@pytest.fixture(params=["embedded", "production"])
def settings(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A database of the test's own, and telemetry in it or in InfluxDB."""
    if request.param == "embedded":
        return settings
    for name, value in request.getfixturevalue("influxdb_server").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("INFLUXDB_BUCKET", f"test-{secrets.token_hex(6)}")
    return Settings.load()


class ObservedMetrics(IngestMetrics):
    @property
    def balance(self) -> tuple[int, int, int]:
        return self.received, self.stored + self.quarantined, self.in_flight


@contextmanager
def intake(settings: Settings, engine: Engine) -> Iterator[tuple[Intake, ObservedMetrics]]:
    """One ingester's work on the settings' stores."""
    metrics = ObservedMetrics()
    registry = Registry(settings, engine)
    registry.load()
    with closing(open_telemetry_store(settings)) as store:
        raiser = AlertRaiser(registry, LastSeen(), Outbox(NotifySettings.load()))
        yield Intake(settings.mqtt_topic, store, engine, registry, metrics, raiser=raiser), metrics


def message(payload: bytes, device_id: str = "D1", received_at: int = START + SECOND) -> Message:
    topic = f"devices/{device_id}/telemetry"
    return Message(topic, payload, received_at, redelivered=False, packet_id=1, connection=0)


def payload(second: int, **metrics: float) -> bytes:
    return json.dumps({"timestamp": (START // SECOND + second) * 1000, **(metrics or {"power": 100.0})}).encode()


def test_whatever_comes_is_stored_or_kept_with_the_reason(settings: Settings, engine: Engine) -> None:
    chosen = random.Random(20)
    sent = [message(mutated(chosen), chosen.choice(["D1", "D2", "", "a b", "x" * 60])) for _ in range(2_500)]
    with intake(settings, engine) as (work, metrics), Session(engine) as session:
        for start in range(0, len(sent), 500):
            assert work.process(sent[start : start + 500], GOING)
        received, settled, in_flight = metrics.balance
        assert (received, in_flight) == (settled, 0)
        assert received >= len(sent)
        rows = session.exec(select(QuarantinedReading)).all()
        assert len(rows) == metrics.quarantined > 1_000
        assert all(row.reason and row.topic for row in rows)
        assert not [row.reason for row in rows if "the platform failed" in row.reason]
        assert metrics.stored > 100


def test_a_message_that_the_platform_fails_on_does_not_stop_the_others(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with intake(settings, engine) as (work, metrics), Session(engine) as session:
        write = work._store.write

        def fails_on_one(readings: Sequence[object]) -> object:
            if any(getattr(reading, "device_id", "") == "D7" for reading in readings):
                raise ZeroDivisionError
            return write(readings)  # type: ignore[arg-type]

        monkeypatch.setattr(work._store, "write", fails_on_one)
        assert work.process([message(payload(0), f"D{i}") for i in range(20)], GOING)
        assert (metrics.stored, metrics.quarantined, metrics.in_flight) == (19, 1, 0)
        (row,) = session.exec(select(QuarantinedReading)).all()
        assert "the platform failed on it" in row.reason
        assert row.payload == payload(0)


def test_clocks_that_jump_lose_nothing(settings: Settings, engine: Engine) -> None:
    """The server's clock goes a day back and forth: what then seems to come from the future is kept with the reason."""
    with intake(settings, engine) as (work, metrics), Session(engine) as session:
        for i, clock in enumerate([START, START - DAY, START + DAY, START, START - DAY]):
            assert work.process([message(payload(10 * i + j), received_at=clock) for j in range(10)], GOING)
        assert (metrics.stored, metrics.quarantined) == (30, 20)
        reasons = session.exec(select(QuarantinedReading.reason)).all()
        assert all("Check the device's clock" in reason for reason in reasons)


def test_one_alert_for_each_breach_with_four_racing_ingesters(settings: Settings, engine: Engine) -> None:
    with Session(engine) as session:
        session.add(Device(device_id="D1", device_name="D1", device_type="pump"))
        session.add(Rule(rule_name="Hot", scope="all_devices", property="power", condition=">", threshold=50.0,
                         cooldown_minutes=1))  # fmt: skip
        session.commit()
    batches = [[message(payload(60 * j), f"D{i}") for i in range(4) for j in range(10)] for _ in range(6)]

    def ingester(seed: int) -> None:
        with intake(settings, engine) as (work, _):
            for batch in batches:
                shuffled = random.Random(seed).sample(batch, len(batch))
                assert work.process(shuffled, GOING)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ingester, range(4)))
    with Session(engine) as session:
        keys = session.exec(select(Alert.device_id, Alert.reading_time)).all()
        assert len(keys) == len(set(keys)) == 40
        assert session.exec(select(func.count()).select_from(DirtyDay)).one() == 4
    with closing(open_telemetry_store(settings)) as store:
        assert [store.statistics(f"D{i}", START, START + DAY).readings for i in range(4)] == [10] * 4
