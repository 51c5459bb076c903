"""The relational store: engine, sessions, migrations."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlmodel import DateTime, Field

from storage.settings import Settings, SettingsError

MIGRATIONS = Path(__file__).parent / "migrations"
# Any constant of our own: two migrations at once wait for each other instead of racing.
MIGRATION_LOCK = 4_931_207

# A network that goes silent resets nothing: it is noticed within half a minute, whether we wait for an answer or for
# what we sent to arrive.
ALIVE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def utc_now() -> datetime:
    return datetime.now(UTC)


def Timestamp(**options: Any) -> Any:  # noqa: N802 - used in place of sqlmodel.Field
    """A column `TIMESTAMP WITH TIME ZONE`."""
    return Field(sa_type=DateTime(timezone=True), **options)


def open_engine(settings: Settings, *, pool_size: int = 5) -> Engine:
    """An engine whose connections notice a restarted server and speak UTC."""
    return create_engine(
        settings.database_url_for("psycopg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        connect_args={**ALIVE, "options": "-c timezone=UTC", "application_name": "energy"},
        json_deserializer=msgspec.json.decode,
    )


def connect(settings: Settings, **options: Any) -> psycopg.Connection[Any]:
    """A plain psycopg connection, where SQLAlchemy would only stand in the way (bulk writes, LISTEN)."""
    return psycopg.connect(settings.database_url, **{**ALIVE, "options": "-c timezone=UTC", **options})


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
