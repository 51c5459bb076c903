"""The ingester's loops: what cannot be read costs itself alone, and a loop that has died is known."""

import threading
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session

from ingest.devices import profile, registry as registry_module
from ingest.devices.registry import Registry
from ingest.metrics import IngestMetrics
from ingest.monitor import readiness
from ingest.mqtt.live import SUBSCRIBERS_TOPIC, LivePublisher
from ingest.notify.sender import Senders
from ingest.notify.settings import NotifySettings
from storage.devices import Device
from storage.loops import Loop
from storage.settings import Settings
from tests.ingest.test_metrics import Connected
from tests.support.servers import wait_until


def test_readiness_knows_a_loop_that_does_not_work_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, metrics, loop = Connected(), IngestMetrics(), Loop("registry")
    now = [1000.0]
    monkeypatch.setattr("storage.loops.time.monotonic", lambda: now[0])

    def ready() -> tuple[bool, str]:
        answer = readiness(answers, answers, metrics, [loop])  # type: ignore[arg-type]
        return answer["ready"], answer["checks"]["loops"]

    assert ready() == (True, "work")  # it has not begun
    loop.worked()
    now[0] += 50
    assert ready() == (True, "work")
    now[0] += 11
    assert ready() == (False, "registry has not worked for 61 s: it has ended")
    loop.failed(ValueError("no such table\nand more"))
    assert ready() == (False, "registry has not worked for 61 s: no such table")
    loop.worked()
    assert ready() == (True, "work")


def test_a_device_that_cannot_be_read_keeps_no_other_away(
    registry: Registry, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = profile.profile_of

    def profile_of(device: Device, *more: Any) -> Any:
        if device.device_id == "BAD":
            raise ValueError("a row of another release")
        return read(device, *more)

    monkeypatch.setattr(registry_module, "profile_of", profile_of)
    for device_id in ("BAD", "GOOD"):
        session.add(Device(device_id=device_id, device_name="n", device_type="t"))
    session.commit()
    wait_until(lambda: registry.profile("GOOD").enrichment_status == "success", "the other device is known")
    assert registry.profile("BAD").enrichment_status == "failed"
    assert registry.loop.state == "works"
    assert registry.loop.failures >= 1  # once each time that the registry is read


def test_an_announcement_that_is_not_text_ends_no_thread(settings: Settings) -> None:
    publisher = LivePublisher(settings)

    class Message:
        payload = b"watching"

        @property
        def topic(self) -> str:
            return (SUBSCRIBERS_TOPIC.encode() + b"/\xff").decode()

    publisher._client.on_message(publisher._client, None, Message())  # type: ignore[misc, arg-type] # as paho calls it
    assert publisher.loop.failures == 1
    assert publisher._client.suppress_exceptions
    assert not publisher.has_subscribers


def test_a_sender_that_fails_goes_on_and_says_so(
    settings: Settings, engine: Engine, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    senders = Senders(NotifySettings.load(), settings, engine, IngestMetrics())
    failed = threading.Event()

    def send_one() -> bool:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a row that nobody foresaw")
        return False

    monkeypatch.setattr(senders, "send_one", send_one)
    session.execute(text("SELECT 1"))
    senders.start()
    wait_until(lambda: sum(loop.failures for loop in senders.loops) == 1, "one has failed")
    assert {loop.state for loop in senders.loops} == {"works"}
    senders.stop()
