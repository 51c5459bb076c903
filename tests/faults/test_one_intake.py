"""Intake without a broker: what a device, a clock, a full disk or a race can do to it."""

import json
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, func, select

from cli import postgres
from ingest.alerts import AlertRaiser
from ingest.counts import IntakeCounts
from ingest.intake import Intake
from ingest.notifications.outbox import Outbox
from ingest.presence import Presence
from ingest.registry import Registry
from ingest.subscription import Message
from storage.catalogue import TouchedDay
from storage.database import migrate, open_engine
from storage.devices import Device
from storage.quarantine import QuarantinedReading
from storage.rules import Alert, Rule
from storage.settings import Settings
from storage.telemetry import DAY, SECOND
from storage.telemetry_stores import open_telemetry_store
from tests.faults.mutations import mutated
from tests.servers import free_port, wait_until
from tests.stack import Server, can_log_in

START = 1_770_890_400 * SECOND  # 2026-02-12T10:00:00Z
GOING = threading.Event()  # never set: intake goes on


class Books(IntakeCounts):
    @property
    def balance(self) -> tuple[int, int, int]:
        return self.received, self.stored + self.quarantined, self.in_flight


@contextmanager
def intake(settings: Settings, engine: Engine) -> Iterator[tuple[Intake, Books]]:
    """One ingester's work on the settings' stores."""
    counts = Books()
    registry = Registry(settings, engine)
    registry.load()
    with closing(open_telemetry_store(settings)) as store:
        raiser = AlertRaiser(registry, Presence(), Outbox(settings))
        yield Intake(settings.mqtt_topic, store, engine, registry, counts, raiser=raiser), counts


def message(payload: bytes, device_id: str = "D1", received_at: int = START + SECOND) -> Message:
    topic = f"devices/{device_id}/telemetry"
    return Message(topic, payload, received_at, redelivered=False, packet_id=1, connection=0)


def payload(second: int, **metrics: float) -> bytes:
    return json.dumps({"timestamp": (START // SECOND + second) * 1000, **(metrics or {"power": 100.0})}).encode()


def test_whatever_comes_is_stored_or_kept_with_the_reason(settings: Settings, engine: Engine) -> None:
    chosen = random.Random(20)
    sent = [message(mutated(chosen), chosen.choice(["D1", "D2", "", "a b", "x" * 60])) for _ in range(2_500)]
    with intake(settings, engine) as (work, books), Session(engine) as session:
        for start in range(0, len(sent), 500):
            assert work.process(sent[start : start + 500], GOING)
        received, settled, in_flight = books.balance
        assert (received, in_flight) == (settled, 0)
        assert received >= len(sent)
        rows = session.exec(select(QuarantinedReading)).all()
        assert len(rows) == books.quarantined > 1_000
        assert all(row.reason and row.topic for row in rows)
        assert not [row.reason for row in rows if "the platform failed" in row.reason]
        assert books.stored > 100


def test_a_message_that_the_platform_fails_on_does_not_stop_the_others(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with intake(settings, engine) as (work, books), Session(engine) as session:
        write = work._store.write

        def fails_on_one(readings: Sequence[object]) -> object:
            if any(getattr(reading, "device_id", "") == "D7" for reading in readings):
                raise ZeroDivisionError
            return write(readings)  # type: ignore[arg-type]

        monkeypatch.setattr(work._store, "write", fails_on_one)
        assert work.process([message(payload(0), f"D{i}") for i in range(20)], GOING)
        assert (books.stored, books.quarantined, books.in_flight) == (19, 1, 0)
        (row,) = session.exec(select(QuarantinedReading)).all()
        assert "the platform failed on it" in row.reason
        assert row.payload == payload(0)


def test_clocks_that_jump_lose_nothing(settings: Settings, engine: Engine) -> None:
    """The server's clock goes a day back and forth: what then seems to come from the future is kept with the reason."""
    with intake(settings, engine) as (work, books), Session(engine) as session:
        for i, clock in enumerate([START, START - DAY, START + DAY, START, START - DAY]):
            assert work.process([message(payload(10 * i + j), received_at=clock) for j in range(10)], GOING)
        assert (books.stored, books.quarantined) == (30, 20)
        reasons = session.exec(select(QuarantinedReading.reason)).all()
        assert all("check the device's clock" in reason for reason in reasons)


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
        assert session.exec(select(func.count()).select_from(TouchedDay)).one() == 4
    with closing(open_telemetry_store(settings)) as store:
        assert [store.statistics(f"D{i}", START, START + DAY).readings for i in range(4)] == [10] * 4


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nsenter"), reason="a small disk takes root and nsenter")
def test_a_full_disk_loses_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "full-disk"
    folder.mkdir(mode=0o755)
    monkeypatch.setenv("ENERGY_HOME", str(folder))
    monkeypatch.setenv("POSTGRES_PORT", str(free_port()))
    settings = Settings.load()
    server = postgres.prepare(settings)
    data = folder / "postgres"
    identity = [str(server.identity["user"]), str(server.identity["group"])]
    # A disk of its own, of a process that only holds it: nobody else sees it, and it goes with that process.
    script = f"""set -e
    cp -a {data} {folder}/copy && mount -t tmpfs -o size=90m,mode=755 tmpfs {data} && cp -a {folder}/copy/. {data}
    chown {":".join(identity)} {data} && chmod 700 {data} && echo ready && exec sleep 120"""
    holder = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE)
    assert holder.stdout
    inside = ["nsenter", "-t", str(holder.pid), "-m"]
    try:
        assert holder.stdout.readline() == b"ready\n"
        as_user = ["setpriv", "--reuid", identity[0], "--regid", identity[1], "--clear-groups"]
        small = ["-c", "max_wal_size=32MB", "-c", "min_wal_size=32MB", "-c", "fsync=off"]
        database = Server(
            [*inside, *as_user, *server.command, *small],
            settings.postgres_port,
            home / "full-disk.log",
            lambda: can_log_in(settings.database_url),
            options={"cwd": "/"},
        )
        with database.running() as process:
            migrate(settings)
            engine = open_engine(settings)
            subprocess.run([*inside, "sh", "-c", f"dd if=/dev/zero of={data}/filler bs=64k 2>/dev/null || true"],
                           check=True)  # fmt: skip
            messages = [
                message(payload(i, power=float(i), oil=0.5 * i), f"D{i % 50}", START + DAY) for i in range(20_000)
            ]
            with intake(settings, engine) as (work, books):
                running = threading.Thread(target=lambda: [work.process(messages[i : i + 5_000], GOING)
                                                           for i in range(0, 20_000, 5_000)])  # fmt: skip
                running.start()
                wait_until(lambda: books.store_failures > 0, "the disk is full")
                assert books.in_flight == 5_000
                subprocess.run([*inside, "rm", f"{data}/filler"], check=True)
                if process.poll() is None:
                    running.join(60)
                else:  # PostgreSQL gave up: somebody starts it again
                    with database.running():
                        running.join(60)
                assert not running.is_alive()
                assert (books.stored, books.quarantined, books.in_flight) == (20_000, 0, 0)
                with Session(engine) as session:
                    assert session.exec(select(func.count(col(TouchedDay.device_id)))).one() >= 50
            engine.dispose()
    finally:
        holder.kill()
        holder.communicate()
