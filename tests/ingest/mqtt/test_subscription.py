"""The queue between the broker and intake, without a broker: which message is a copy, and what is acknowledged when."""

from collections.abc import Iterable
from types import SimpleNamespace

import pytest
from hypothesis import given, strategies as st

from ingest.mqtt.bulk_client import Publication
from ingest.mqtt.probe import DEAD_SECONDS, MAX_DOUBLINGS, Probe
from ingest.mqtt.subscription import Message, Subscription
from storage.settings import Settings


class Broker:
    """A broker that gives packet ids in turn, whether they are free or not, as Mosquitto does with a long queue.

    An acknowledgement is for the oldest message with its id. `redeliver` sends again what is not acknowledged, over the
    same connection, as NATS does.
    """

    def __init__(self, ids: int) -> None:
        self.ids = ids
        self.sent = 0
        self.in_flight: list[Publication] = []
        self.subscription = Subscription(Settings.load())
        self.subscription._client._reset_sockets()
        self.subscription._client.acknowledge = self._acknowledged  # type: ignore[method-assign]
        self.taken: list[Message] = []
        self.acknowledged: list[bytes] = []
        self._being_kept: list[Message] = []

    def send(self) -> None:
        one = Publication(b"devices/D1/telemetry", b"%d" % self.sent, self.sent % self.ids + 1, redelivered=False)
        self.sent += 1
        self.in_flight.append(one)
        self.subscription._receive([one])

    def redeliver(self) -> None:
        self.subscription._receive([one._replace(redelivered=True) for one in self.in_flight])

    def take(self) -> None:
        taken = self.subscription.take(3, 10**6, timeout=0)
        self.taken += taken
        self._being_kept += taken

    def keep(self) -> None:
        self.subscription.acknowledge(self._being_kept)
        self._being_kept = []

    def _acknowledged(self, packet_ids: Iterable[int]) -> None:
        for packet_id in packet_ids:
            first = next(one for one in self.in_flight if one.packet_id == packet_id)
            self.in_flight.remove(first)
            self.acknowledged.append(first.payload)


STEPS = st.lists(st.sampled_from(["send", "send", "send", "take", "keep"]), max_size=80)


@given(STEPS, st.integers(1, 8))
def test_messages_that_share_a_packet_id_are_all_taken_and_acknowledged_in_turn(steps: list[str], ids: int) -> None:
    broker = Broker(ids)
    for step in [*steps, *(["take", "keep"] * 80)]:
        getattr(broker, step)()
        assert broker.acknowledged == [m.payload for m in broker.taken][: len(broker.acknowledged)]
    assert [m.payload for m in broker.taken] == [b"%d" % i for i in range(broker.sent)]
    assert broker.in_flight == []


@given(st.lists(st.sampled_from(["send", "send", "take", "keep", "redeliver"]), max_size=60))
def test_what_is_redelivered_while_it_is_being_kept_is_taken_once(steps: list[str]) -> None:
    broker = Broker(ids=1_000)
    for step in [*steps, *(["take", "keep"] * 80)]:
        getattr(broker, step)()
    assert [m.payload for m in broker.taken] == [b"%d" % i for i in range(broker.sent)]
    assert broker.in_flight == []


def test_another_message_that_is_redelivered_under_the_same_id_is_not_a_copy() -> None:
    """Mosquitto, connected to again, redelivers all that is in flight, two messages with one id among them."""
    broker = Broker(ids=2)
    first, second = (Publication(b"devices/D1/telemetry", payload, 1, redelivered=True) for payload in (b"1", b"2"))
    broker.in_flight = [first, second]
    broker.subscription._receive([first, second])
    broker.take()
    broker.keep()
    assert [m.payload for m in broker.taken] == [b"1", b"2"]
    assert broker.in_flight == []


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr("ingest.mqtt.probe.time", SimpleNamespace(monotonic=lambda: self.now))

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_connection_over_which_nothing_comes_is_given_up(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe("test")
    probe.sent()
    probe.came_back()
    clock.passes(10 * DEAD_SECONDS)
    assert not probe.wants_reconnect(), "no probe was sent meanwhile"
    probe.sent()
    clock.passes(DEAD_SECONDS - 1)
    assert not probe.is_unanswered
    probe.sign_of_life()
    probe.sent()
    clock.passes(DEAD_SECONDS - 1)
    assert not probe.wants_reconnect(), "a message has come meanwhile"
    clock.passes(1)
    assert probe.is_unanswered
    assert probe.wants_reconnect()
    assert "connecting again" in caplog.text
    probe.connected()
    assert probe.is_unanswered, "the new connection has brought nothing yet"
    assert not probe.wants_reconnect()
    probe.came_back()
    assert not probe.is_unanswered
    assert (probe.returned, probe.reconnects) == (2, 1)


def test_connections_that_bring_nothing_are_given_up_ever_more_slowly(clock: Clock) -> None:
    probe = Probe("test")
    probe.came_back()
    waited: list[float] = []
    for _ in range(MAX_DOUBLINGS + 2):
        probe.connected()
        probe.sent()
        start = clock.now
        while not probe.wants_reconnect():
            clock.passes(1)
        waited.append((clock.now - start) / DEAD_SECONDS)
    assert waited == [1, 2, 4, 8, 16, 32, 32]


def test_a_broker_that_lets_no_probe_through_is_told_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe("test")
    for _ in range(100):
        probe.sent()
        clock.passes(5)
        assert not probe.wants_reconnect()
    assert probe.has_never_returned
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "energy/probe/#" in caplog.text


def test_a_store_that_is_away_is_not_a_dead_connection(clock: Clock) -> None:
    """What is being kept may fill the broker's window, so that no probe can come."""
    broker = Broker(ids=1_000)
    subscription = broker.subscription
    subscription.connected = True
    subscription.probe.came_back()
    broker.send()
    broker.take()
    subscription.probe.sent()
    clock.passes(10 * DEAD_SECONDS)
    assert subscription.is_receiving
    broker.keep()
    assert subscription.is_receiving
    subscription.probe.sent()
    clock.passes(DEAD_SECONDS)
    assert not subscription.is_receiving


def test_probes_are_acknowledged_and_are_no_messages(clock: Clock) -> None:
    broker = Broker(ids=1_000)
    probe = Publication(broker.subscription.probe.topic.encode(), b"probe", 7, redelivered=False)
    broker.in_flight.append(probe)
    broker.subscription._receive([probe])
    broker.send()
    broker.take()
    assert [m.payload for m in broker.taken] == [b"0"]
    assert broker.acknowledged == [b"probe"]
    assert broker.subscription.probe.returned == 1
