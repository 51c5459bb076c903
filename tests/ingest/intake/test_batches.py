"""One batch is written ahead: whatever fails meanwhile, batches end in turn, and the newer reading comes last."""

import json
import threading
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings as example, strategies as st
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from ingest.devices.last_seen import LastSeen
from ingest.devices.registry import Registry
from ingest.intake import intake as module
from ingest.intake.intake import Intake
from ingest.metrics import IngestMetrics
from ingest.mqtt.subscription import Message
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.alerts import AlertRaiser
from storage.settings import Settings
from storage.telemetry import Reading, StoreUnavailable
from storage.times import SECOND

START = 1_770_890_400 * SECOND  # 2026-02-12T10:00:00Z


class Store:
    """Keeps the newest write of a device and time; fails at the calls that are named."""

    def __init__(self, failing: set[int]) -> None:
        self._failing = failing
        self._calls = 0
        self._writing = threading.Lock()
        self.kept: dict[str, float] = {}

    def write(self, readings: Sequence[Reading]) -> list[object]:
        assert self._writing.acquire(blocking=False), "two threads write at the same time"
        try:
            self._calls += 1
            if self._calls in self._failing:
                raise StoreUnavailable("away")
            self.kept |= {reading.device_id: reading.metrics["power"] for reading in readings}
        finally:
            self._writing.release()
        return []


class Source:
    """A subscription that holds batches of one message; all are readings of one device and time."""

    alive, dropped = True, 0

    def __init__(self, batches: int, stopping: threading.Event) -> None:
        self._numbers = iter(range(batches))
        self._stopping = stopping
        self.acknowledged: list[int] = []

    def take(self, *_: int, timeout: float) -> list[Message]:
        number = next(self._numbers, None)
        if number is None:
            self._stopping.set()
            return []
        payload = json.dumps({"timestamp": START // 1000, "power": float(number)}).encode()
        return [Message("devices/D1/telemetry", payload, START, False, number + 1, 0)]

    def acknowledge(self, messages: Sequence[Message]) -> None:
        self.acknowledged += [message.packet_id - 1 for message in messages]


def intake_on(settings: Settings, engine: Engine, store: Store) -> tuple[Intake, IngestMetrics]:
    registry, metrics = Registry(settings, engine), IngestMetrics()
    raiser = AlertRaiser(registry, LastSeen(), Outbox(NotifySettings.load()))
    return Intake(settings.mqtt_topic, store, engine, registry, metrics, raiser=raiser), metrics  # type: ignore[arg-type]


FAILURES = st.sets(st.integers(1, 12), max_size=6)


@example(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FAILURES, FAILURES, st.integers(1, 7))
def test_batches_end_in_turn_and_the_newer_reading_comes_last(
    settings: Settings, engine: Engine, writes: set[int], commits: set[int], batches: int
) -> None:
    """`writes` and `commits` are the calls of the telemetry store and of the database that fail."""
    stopping = threading.Event()
    store, source = Store(writes), Source(batches, threading.Event())
    calls = 0
    committed: list[float] = []

    def mark_dirty(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls in commits:
            raise OperationalError("", None, Exception("away"))
        committed.append(len(source.acknowledged))

    source._stopping = stopping
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FIRST_PAUSE_SECONDS", 0.0)
        patch.setattr(module, "mark_dirty", mark_dirty)
        work, metrics = intake_on(settings, engine, store)
        # A failure after `stopping` was set may leave batches to the next start, so it is set only when all are taken.
        patch.setattr(stopping, "wait", lambda _: False)
        work.run(source, stopping)  # type: ignore[arg-type]
    assert source.acknowledged == list(range(batches))
    assert committed == list(range(batches)), "each batch is committed once, when all before it are acknowledged"
    assert store.kept == {"D1": batches - 1}
    assert (metrics.received, metrics.stored, metrics.in_flight) == (batches, batches, 0)


def test_what_is_not_kept_when_the_platform_stops_is_not_acknowledged(settings: Settings, engine: Engine) -> None:
    stopping = threading.Event()
    store, source = Store(set(range(1, 100))), Source(3, stopping)
    work, metrics = intake_on(settings, engine, store)
    stopping_soon = threading.Timer(0.3, stopping.set)
    stopping_soon.start()
    work.run(source, stopping)  # type: ignore[arg-type]
    assert source.acknowledged == []
    assert metrics.in_flight == 1
