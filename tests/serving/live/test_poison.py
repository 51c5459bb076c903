"""Rubbish on the live topic costs itself alone: the other frames arrive, over the same connection."""

from typing import Any

import msgspec
import pytest

from ingest import mqtt
from ingest.mqtt import connect, disconnect, new_client
from storage.settings import Settings
from tests.serving.live.test_live import frame, platform, reading, watching
from tests.support.running import Ingester, device
from tests.support.servers import wait_until

__all__ = ["platform"]

encode = msgspec.msgpack.encode
DEEP = b"\x91" * 100_000 + b"\xc0"
POISON = {
    "no batch": b"\xff\xff",
    "nothing": b"",
    "another batch": encode({"publisher": "p"}),
    "a name that is not UTF-8": b"\x93\xa1\xff\x00\x90",
    "a number beyond all": encode(["q", 2**63, []]),
    "a device that is not UTF-8": b"\x93\xa1a\x00\x91\x94\xa2\xff\xfe\xc0\xa9telemetry\x80",
    "deeply nested": b"\x93\xa1a\x01\x91\x94\xa2D2\xc0\xa9telemetry" + DEEP,
    "an alert that is none": encode(["p", 1, [["D2", None, "alert", {"a": 1}]]]),
    "a reading that is none": encode(["p", 2, [["D2", None, "telemetry", {"a": 1}]]]),
}


def test_rubbish_is_counted_and_left_out(platform: tuple[Settings, Ingester, Any]) -> None:
    settings, ingester, app = platform
    attacker = new_client(settings, "attacker")
    connect(attacker, settings)
    try:
        # Whoever subscribes gets this at once, each time again.
        wait_until(attacker.is_connected, "the attacker is connected")
        rubbish = POISON["a name that is not UTF-8"]
        attacker.publish(mqtt.BATCHES_TOPIC, rubbish, qos=1, retain=True).wait_for_publish(10)
        with watching(settings, "D1") as client, watching(settings, "D2"), device(settings) as machine:
            wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
            for poison in POISON.values():
                attacker.publish(mqtt.BATCHES_TOPIC, poison, qos=1).wait_for_publish(10)
            machine.send("D1", reading(7.0))
            assert frame(client)["data"]["power"] == 7.0
            assert app.state.hub.skipped >= 6  # those about D2 only until its stream has ended
        app.state.hub.check()
    finally:
        disconnect(attacker)


def test_a_live_stream_that_is_lost_is_known(platform: tuple[Settings, Ingester, Any]) -> None:
    settings, ingester, app = platform
    hub = app.state.hub
    hub.check()  # nobody has needed it yet
    with watching(settings, "D1"):
        wait_until(lambda: ingester.live.has_subscribers, "the ingester knows of watchers")
        hub.check()
        hub._disconnected_at = 0.0
        with pytest.raises(ConnectionError, match="no connection"):
            hub.check()
        hub._running.get_loop().call_soon_threadsafe(hub._running.cancel)
        wait_until(hub._running.done, "the loop has ended")
        with pytest.raises(ConnectionError, match="has ended"):
            hub.check()
