"""A disk that is full under a store or a broker, and what a broker does at its own limit.

Whatever was acknowledged arrives; what cannot be kept is not acknowledged.
"""

import json
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import Session, col, func, select

from cli.local import nats, postgres
from ingest.mqtt.subscription import Subscription
from storage.database import migrate, open_engine
from storage.dirty_days import DirtyDay
from storage.settings import Settings
from storage.times import DAY
from tests.faults.test_one_intake import GOING, START, intake, message, payload
from tests.support.disk import Disk, needs_disk, small_disk
from tests.support.publisher import Publisher, message as packet
from tests.support.servers import can_connect, free_port, wait_until
from tests.support.stack import PLATFORM, SOURCE, Server, can_log_in, mosquitto

pytestmark = pytest.mark.slow


class Source:
    """Publishes numbered messages of a kilobyte, and knows which of them the broker has acknowledged."""

    def __init__(self, port: int, login: tuple[str, str] | None = None) -> None:
        self._connect: Callable[[], Publisher] = lambda: Publisher(port, login, window=500)
        self.acknowledged: set[int] = set()
        self.sent = 0
        self.refusals = 0

    def publish(self, count: int, seconds: float = 10) -> bool:
        """Whether all were acknowledged, over one connection."""
        before = len(self.acknowledged)
        try:
            publisher = self._connect()
        except ConnectionError:
            self.refusals += 1
            return False
        with suppress(ConnectionError):
            for _ in range(count):
                body = b"%d " % self.sent + b"x" * 1_000
                publisher.publish([self.sent], packet("devices/D1/telemetry", body, self.sent))
                self.sent += 1
            publisher.settle(seconds)
        publisher.close()
        self.acknowledged |= publisher.acknowledged
        all_were = len(self.acknowledged) - before == count
        self.refusals += not all_were
        return all_were


class Reader:
    """An ingester's subscription, and the numbers that came over it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.numbers: list[int] = []
        self.connect()

    def connect(self) -> None:
        self.subscription = Subscription(self._settings)
        self.subscription.start()
        wait_until(lambda: self.subscription.connected, "subscribed")

    def gets(self, expected: set[int]) -> None:
        """Wait until all of them came, and see that none came twice."""

        def everything_came() -> bool:
            messages = self.subscription.take(5_000, 10**9, timeout=0.2)
            self.subscription.acknowledge(messages)
            self.numbers += [int(m.payload.split()[0]) for m in messages]
            return expected <= set(self.numbers)

        wait_until(everything_came, "everything that was acknowledged")
        assert len(self.numbers) == len(set(self.numbers))


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("ENERGY_HOME", str(tmp_path))
    monkeypatch.setenv("MQTT_BROKER_PORT", str(free_port()))
    return Settings.load()


def nats_server(settings: Settings) -> Server:
    port = settings.mqtt_broker_port
    return Server(nats.prepare(settings), port, settings.energy_home / "nats.log", lambda: can_connect(port))


def on(disk: Disk, server: Server) -> Server:
    return replace(server, command=[*disk.inside, *server.command])


@needs_disk
def test_a_full_disk_under_nats_acknowledges_nothing_that_is_not_kept(embedded: Settings) -> None:
    """It does not write again by itself when there is room again: it is to be started again."""
    server = nats_server(embedded)
    source = Source(embedded.mqtt_broker_port)
    with small_disk(embedded.energy_home / "broker", 40) as disk:
        with on(disk, server).running():
            reader = Reader(embedded)
            reader.subscription.stop()
            assert source.publish(2_000)
            disk.fill()
            assert not source.publish(2_000)
            kept = set(source.acknowledged)
            assert len(kept) < 4_000
            disk.free()
        with on(disk, server).running():
            assert source.publish(1_000)
            reader.connect()
            reader.gets(source.acknowledged)
            reader.subscription.stop()


def test_nats_at_its_limit_refuses_and_goes_on_when_messages_are_read(
    embedded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats, "_room", lambda _: 5_000_000)
    source = Source(embedded.mqtt_broker_port)
    with nats_server(embedded).running():
        reader = Reader(embedded)
        assert not source.publish(10_000)
        assert 3_000 < len(source.acknowledged) < 5_000
        reader.gets(source.acknowledged)
        wait_until(lambda: source.publish(100), "it takes messages again")
        reader.gets(source.acknowledged)
        reader.subscription.stop()


def test_nats_started_again_has_room_for_what_it_kept(embedded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its limit it lets nobody in, not the ingester either; each start gives it what it has and more."""
    source = Source(embedded.mqtt_broker_port)
    free = [6_000_000, 1_000_000]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": free[0]}))
    with nats_server(embedded).running():
        reader = Reader(embedded)
        reader.subscription.stop()
        assert not source.publish(10_000)
        assert not source.publish(1)
    free.pop(0)
    server = nats_server(embedded)
    limit = json.loads((embedded.energy_home / "broker" / "nats.conf").read_text())["jetstream"]["max_file_store"]
    assert limit > 4_500_000 + 700_000
    with server.running():
        reader.connect()
        reader.gets(source.acknowledged)
        assert source.publish(100)
        reader.gets(source.acknowledged)
        reader.subscription.stop()


@pytest.fixture
def production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Mosquitto with a folder `data` of its own for its store."""
    acl = f"\nuser {SOURCE[0]}\ntopic write devices/+/telemetry\n"
    server = mosquitto(tmp_path, dict([PLATFORM, SOURCE]), acl)
    file = tmp_path / "mosquitto.conf"
    file.write_text(
        file.read_text()
        .replace(f"persistence_location {tmp_path}/", f"persistence_location {tmp_path}/data/")
        .replace("autosave_interval 5", "autosave_interval 1")
    )
    (tmp_path / "data").mkdir()
    for name, value in (("HOST", "127.0.0.1"), ("PORT", str(server.port))):
        monkeypatch.setenv(f"MQTT_BROKER_{name}", value)
    monkeypatch.setenv("MQTT_USERNAME", PLATFORM[0])
    monkeypatch.setenv("MQTT_PASSWORD", PLATFORM[1])
    return server


@needs_disk
def test_a_full_disk_under_mosquitto_costs_nothing_while_it_lives(production: Server, tmp_path: Path) -> None:
    """Killed on a full disk it has what it saved last: what came since is its own loss, and the platform adds none."""
    source = Source(production.port, SOURCE)
    with small_disk(tmp_path / "data", 20) as disk:
        broker = on(disk, production)
        with broker.running() as process:
            reader = Reader(Settings.load())
            reader.subscription.stop()
            assert source.publish(1_000)
            wait_until(lambda: disk.size("mosquitto.db") > 1_000_000, "it has saved")
            saved = set(source.acknowledged)
            disk.fill()
            assert source.publish(1_000)
            wait_until(lambda: "No space left" in production.log.read_text(), "it cannot save")
            reader.connect()
            reader.gets(source.acknowledged)
            reader.subscription.stop()
            arrived = set(reader.numbers)
            assert source.publish(1_000)
            process.kill()
            process.wait(10)
        disk.free()
        with broker.running():
            reader.numbers.clear()
            reader.connect()
            reader.gets(saved)  # again: that they were acknowledged could not be saved either
            assert source.publish(500)
            reader.gets(saved | set(range(3_000, 3_500)))
            lost = source.acknowledged - arrived - set(reader.numbers)
            print(f"Mosquitto, killed on a full disk, lost {len(lost)} of {len(source.acknowledged)} messages")
            assert lost == set(range(2_000, 3_000))
            reader.subscription.stop()


def test_mosquitto_at_its_limit_drops_and_says_how_many(production: Server, tmp_path: Path) -> None:
    file = tmp_path / "mosquitto.conf"
    given = file.read_text()
    assert "max_queued_messages 4000000" in given
    file.write_text(given.replace("max_queued_messages 4000000", "max_queued_messages 2000") + "sys_interval 1\n")
    source = Source(production.port, SOURCE)
    with production.running():
        reader = Reader(Settings.load())
        reader.subscription.stop()
        assert source.publish(3_000), "it acknowledges what it drops"
        reader.connect()
        reader.gets(set(range(2_000)))
        wait_until(lambda: reader.subscription.dropped, "it says that it dropped some")
        assert reader.subscription.dropped == len(source.acknowledged) - len(reader.numbers) == 1_000
        reader.subscription.stop()


@needs_disk
def test_a_full_disk_under_the_database_loses_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "full-disk"
    folder.mkdir(mode=0o755)
    monkeypatch.setenv("ENERGY_HOME", str(folder))
    monkeypatch.setenv("POSTGRES_PORT", str(free_port()))
    settings = Settings.load()
    server = postgres.prepare(settings)
    identity = [str(server.identity["user"]), str(server.identity["group"])]
    with small_disk(folder / "postgres", 90) as disk:
        as_user = ["setpriv", "--reuid", identity[0], "--regid", identity[1], "--clear-groups"]
        small = ["-c", "max_wal_size=32MB", "-c", "min_wal_size=32MB", "-c", "fsync=off"]
        database = Server(
            [*disk.inside, *as_user, *server.command, *small],
            settings.postgres_port,
            home / "full-disk.log",
            lambda: can_log_in(settings.database_url),
            options={"cwd": "/"},
        )
        with database.running() as process:
            migrate(settings)
            engine = open_engine(settings)
            disk.fill()
            messages = [
                message(payload(i, power=float(i), oil=0.5 * i), f"D{i % 50}", START + DAY) for i in range(20_000)
            ]
            with intake(settings, engine) as (work, metrics):
                running = threading.Thread(target=lambda: [work.process(messages[i : i + 5_000], GOING)
                                                           for i in range(0, 20_000, 5_000)])  # fmt: skip
                running.start()
                wait_until(lambda: metrics.store_failures > 0, "the disk is full")
                assert metrics.in_flight == 5_000
                disk.free()
                if process.poll() is None:
                    running.join(60)
                else:  # PostgreSQL gave up: somebody starts it again
                    with database.running():
                        running.join(60)
                assert not running.is_alive()
                assert (metrics.stored, metrics.quarantined, metrics.in_flight) == (20_000, 0, 0)
                with Session(engine) as session:
                    assert session.exec(select(func.count(col(DirtyDay.device_id)))).one() >= 50
            engine.dispose()
