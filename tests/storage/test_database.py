import os
import socket
from contextlib import closing
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from storage import database
from storage.settings import Settings


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
