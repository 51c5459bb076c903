"""The relational store: engine, sessions, migrations."""

import select
import sys
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psycopg
from alembic import command
from alembic.config import Config
from psycopg.abc import PQGen
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlmodel import DateTime, Field, Session

from storage.settings import Settings, SettingsError

MIGRATIONS = Path(__file__).parent / "migrations"
# Any constant of our own: two migrations at once wait for each other instead of racing.
MIGRATION_LOCK = 4_931_207

# A network that goes silent resets nothing: it is noticed within half a minute, whether we wait for an answer or for
# what we sent to arrive. A server that takes what is sent and never answers is not: see `PatientConnection`.
ALIVE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


# How long those wait for an answer who have callers waiting for them: ingestion and the API.
PATIENCE = 60.0

Answer = TypeVar("Answer")


def Timestamp(**options: Any) -> Any:  # noqa: N802 - used in place of sqlmodel.Field
    """A column `TIMESTAMP WITH TIME ZONE`."""
    return Field(sa_type=DateTime(timezone=True), **options)


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed when a statement has no answer after `patience` seconds; None waits for ever."""

    patience: float | None = None

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        """Every statement waits here; psycopg's own few timeouts come as `timeout`.

        Raises:
            psycopg.OperationalError: there is no answer in time.

        """
        if timeout is not None or self.patience is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - psycopg has no public name for it
            self.close()
            raise psycopg.OperationalError(f"the server has not answered for {self.patience:g} s") from None


def open_engine(settings: Settings, *, pool_size: int = 5, patience: float | None = None) -> Engine:
    """An engine whose connections notice a restarted server and speak UTC.

    With `patience`, a statement that is not answered within so many seconds fails as on a lost connection.
    """
    engine = create_engine(
        settings.database_url_for("psycopg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        connect_args={**ALIVE, "options": "-c timezone=UTC", "application_name": "energy"},
        json_deserializer=msgspec.json.decode,
    )

    @event.listens_for(engine, "do_connect")
    def open_connection(_: Any, __: Any, arguments: Any, options: dict[str, Any]) -> PatientConnection:
        return _opened(*arguments, patience=patience, **options)

    @event.listens_for(engine, "checkout")
    def refuse_a_lost_connection(connection: PatientConnection, _: Any, __: Any) -> None:
        """A server that went away hung up. That can be heard, where asking would cost each use a round trip."""
        try:
            if _has_news(connection):
                engine.dialect.do_ping(connection)  # type: ignore[arg-type] # as its own pre-ping does
        except psycopg.Error:
            raise InvalidatePoolError from None

    return engine


def connect(settings: Settings, *, patience: float | None = None, **options: Any) -> psycopg.Connection[Any]:
    """A plain psycopg connection, where SQLAlchemy would only stand in the way (bulk writes, LISTEN)."""
    given = {**ALIVE, "options": "-c timezone=UTC", **options}
    return _opened(settings.database_url, patience=patience, **given)


def limit_statement_time(session: Session, seconds: float) -> None:
    """Let statements of the session's transaction take at most this long; longer ones fail."""
    session.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))


def check_database(engine: Engine) -> None:
    """Return if the database answers.

    Raises:
        sqlalchemy.exc.OperationalError: It does not.

    """
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def _has_news(connection: PatientConnection) -> bool:
    """Whether there is something to read: the end of the connection, or what a server says unasked."""
    listening = select.poll()
    listening.register(connection, select.POLLIN)
    return bool(listening.poll(0))


def _opened(address: str = "", *, patience: float | None, **options: Any) -> PatientConnection:
    connection = PatientConnection.connect(address, **options)
    connection.patience = patience
    return connection


def migrate(settings: Settings, revision: str = "head") -> None:
    """Bring the database to a revision of the schema, and make the schema that Dagster keeps its own tables in.

    Raises:
        SettingsError: the server does not answer or refuses the login.

    """
    engine = open_engine(settings)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS dagster"))
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise SettingsError(f"PostgreSQL at {settings.database_address} does not answer: {reason}") from error
    finally:
        engine.dispose()


def main() -> None:
    """Migrate the database that the settings name: `python -m storage.database`; exit code 2 when that fails."""
    try:
        migrate(Settings.load())
    except SettingsError as error:
        print(f"migrations: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
