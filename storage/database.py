"""The relational store: engine, sessions, migrations."""

import select
import sys
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlmodel import DateTime, Field, Session

from storage.roles import keep_app_password, make_app_role
from storage.settings import Settings, SettingsError

MIGRATIONS = Path(__file__).parent / "migrations"
# The key of an advisory lock, any number: of two migrations at the same time one waits for the other.
MIGRATION_LOCK = 4_931_207

# A network that goes silent closes no connection. These options notice it within half a minute, while waiting for an
# answer and while sending. They do not notice a server that accepts what is sent but never answers: `TimedConnection`.
ALIVE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# For ingestion and the API, whose callers wait meanwhile.
ANSWER_TIMEOUT_SECONDS = 60.0

Result = TypeVar("Result")


def Timestamp(**options: Any) -> Any:  # noqa: N802 - used in place of sqlmodel.Field
    """A column `TIMESTAMP WITH TIME ZONE`."""
    return Field(sa_type=DateTime(timezone=True), **options)


class TimedConnection(psycopg.Connection[Any]):
    """A connection that closes if a statement has no answer after `answer_timeout` seconds; None waits forever."""

    answer_timeout: float | None = None

    def wait(self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None) -> Result:
        """Wait for a statement's answer. The few timeouts of psycopg itself come as `timeout`.

        Raises:
            psycopg.OperationalError: the server does not answer in time.

        """
        if timeout is not None or self.answer_timeout is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - psycopg has no public name for it
            self.close()
            raise psycopg.OperationalError(f"the server has not answered for {self.answer_timeout:g} s") from None


def open_engine(
    settings: Settings, *, pool_size: int = 5, answer_timeout: float | None = None, as_owner: bool = False
) -> Engine:
    """An engine whose connections use UTC and are replaced after a restart of the server.

    With `as_owner`, they have the login of the database's owner. With `answer_timeout`, a statement fails as on a lost
    connection if it has no answer after so many seconds.
    """
    engine = create_engine(
        settings.database_url_for("psycopg", as_owner=as_owner),
        pool_size=pool_size,
        max_overflow=pool_size,
        connect_args={**ALIVE, "options": "-c timezone=UTC", "application_name": "energy"},
        json_deserializer=msgspec.json.decode,
        hide_parameters=True,  # errors go into logs, and a batch's parameters have megabytes
    )

    @event.listens_for(engine, "do_connect")
    def open_connection(_: Any, __: Any, arguments: Any, options: dict[str, Any]) -> TimedConnection:
        return _opened(*arguments, answer_timeout=answer_timeout, **options)

    @event.listens_for(engine, "checkout")
    def refuse_a_lost_connection(connection: TimedConnection, _: Any, __: Any) -> None:
        """Ping only if there is something to read: a server that went away has closed the connection.

        A ping before every use would cost a round trip each.
        """
        try:
            if _is_readable(connection):
                engine.dialect.do_ping(connection)  # type: ignore[arg-type] # as its own pre-ping does
        except psycopg.Error:
            raise InvalidatePoolError from None

    return engine


def connect(settings: Settings, *, answer_timeout: float | None = None, **options: Any) -> psycopg.Connection[Any]:
    """A plain psycopg connection, for bulk writes and LISTEN."""
    given = {**ALIVE, "options": "-c timezone=UTC", **options}
    return _opened(settings.database_url, answer_timeout=answer_timeout, **given)


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


def _is_readable(connection: TimedConnection) -> bool:
    """Whether there is something to read: the end of the connection, or a notice from the server."""
    listening = select.poll()
    listening.register(connection, select.POLLIN)
    return bool(listening.poll(0))


def _opened(address: str = "", *, answer_timeout: float | None, **options: Any) -> TimedConnection:
    connection = TimedConnection.connect(address, **options)
    connection.answer_timeout = answer_timeout
    return connection


def migrate(settings: Settings, revision: str = "head") -> None:
    """Migrate the database to a revision of the schema, and make the schema for Dagster's own tables.

    Raises:
        SettingsError: the server does not answer or refuses the login.

    """
    from alembic import command  # noqa: PLC0415 - only migrations need it, and it takes a tenth of a second
    from alembic.config import Config  # noqa: PLC0415

    engine = open_engine(settings, as_owner=True)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS dagster"))
            password = make_app_role(connection, settings)
            connection.commit()
            if password is not None:
                keep_app_password(settings, password)
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise SettingsError(f"PostgreSQL at {settings.database_address} does not answer: {reason}") from error
    finally:
        engine.dispose()


def main() -> None:
    """Migrate the database that the settings name (`python -m storage.database`). Exits with 2 if that fails."""
    try:
        migrate(Settings.load())
    except SettingsError as error:
        print(f"migrations: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
