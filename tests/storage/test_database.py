import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from storage import database
from storage.settings import Settings
from storage.telemetry import Reading, StoreUnavailable, postgres
from storage.telemetry.postgres import PostgresTelemetry
from tests.support.link import Link
from tests.support.servers import wait_until


def alembic(engine: Engine, what: str, *arguments: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        getattr(command, what)(config, *arguments)


def test_migrations_make_what_the_models_say(engine: Engine) -> None:
    alembic(engine, "check")


def test_down_and_up_again(settings: Settings, engine: Engine) -> None:
    alembic(engine, "downgrade", "base")
    database.migrate(settings)
    database.migrate(settings)  # a second start finds nothing to do
    with engine.connect() as connection:
        names = set(
            connection.scalars(text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"))
        )
    assert {"devices", "rules", "alerts", "analytics_jobs", "export_checkpoints", "analytics_results"} <= names


def test_a_network_that_goes_silent_ends_connections(settings: Settings, engine: Engine) -> None:
    """No test can silence the kernel of a server on this machine; the kernel of ours is told to notice."""

    def told(connection: psycopg.Connection[Any]) -> tuple[int, ...]:
        with socket.socket(fileno=os.dup(connection.fileno())) as end:
            return tuple(end.getsockopt(socket.IPPROTO_TCP, option) for option in options)

    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    with engine.connect() as pooled, closing(database.connect(settings)) as plain:
        own = pooled.connection.driver_connection
        assert isinstance(own, psycopg.Connection)
        assert told(own) == told(plain) == (10, 5, 3, 30_000)


@pytest.fixture
def link(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    """Between the database and who loads the settings from now on."""
    port = urlsplit(settings.database_url).port
    assert port
    with closing(Link(port)) as opened:
        monkeypatch.setenv("DATABASE_URL", settings.database_url.replace(f":{port}/", f":{opened.port}/"))
        yield opened


def test_a_server_that_takes_what_is_sent_and_never_answers_is_given_up(link: Link) -> None:
    engine = database.open_engine(Settings.load(), answer_timeout=0.5)
    plain = database.connect(Settings.load(), answer_timeout=0.5)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        link.freeze()
        with pytest.raises(OperationalError, match="has not answered"):
            connection.execute(text("SELECT 2"))
    with pytest.raises(psycopg.OperationalError, match="has not answered"):
        plain.execute("SELECT 3")
    assert plain.closed
    link.mend()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 4")) == 4
    engine.dispose()


def test_a_connection_that_was_lost_while_nobody_used_it_is_replaced(link: Link) -> None:
    engine = database.open_engine(Settings.load(), pool_size=1)
    who = text("SELECT pg_backend_pid()")

    def ask() -> int:
        with engine.connect() as connection:
            return int(connection.scalar(who) or 0)

    first = ask()
    assert ask() == first
    link.cut()
    link.mend()
    second = ask()
    assert second != first
    with engine.connect() as connection:
        connection.execute(text("LISTEN x"))
        connection.commit()
    with database.connect(Settings.load(), autocommit=True) as other:
        other.execute("NOTIFY x")
    assert ask() == second  # what it has to say is not that it ends
    engine.dispose()


def test_who_is_not_told_to_be_patient_waits(settings: Settings) -> None:
    """Migrations and jobs may wait long for a lock."""
    with closing(database.connect(settings)) as connection:
        assert isinstance(connection, database.TimedConnection)
        assert connection.answer_timeout is None


def test_telemetry_gives_up_a_server_that_never_answers(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes and checks do; a read that is under way waits, and keeps nobody from the next ones for ever."""
    monkeypatch.setattr(database, "ANSWER_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(postgres, "CHECK_SECONDS", 0.5)
    monkeypatch.setitem(database.ALIVE, "connect_timeout", 1)
    store = PostgresTelemetry(Settings.load(), readers=1)
    reading = Reading(device_id="D1", time=10**15, metrics={"power": 1.0}, received_at=10**15)
    store.write([reading])
    assert store.read("D1", 0, 2 * 10**15).num_rows == 1
    link.freeze()
    for ask in (lambda: store.write([reading]), store.check):
        with pytest.raises(StoreUnavailable, match=r"not answered|timeout"):
            ask()
    stuck = ThreadPoolExecutor(1).submit(store.read, "D1", 0, 2 * 10**15)
    wait_until(store._readers.empty, "it is under way")
    with pytest.raises(StoreUnavailable, match="all connections are busy"):
        store.read("D1", 0, 2 * 10**15)
    link.mend()
    assert stuck.result(10).num_rows == 1
    store.check()
    assert store.write([reading]) == []
    store.close()
