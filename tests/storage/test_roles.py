"""The platform works with a login that is not a superuser; migrations alone have the owner's."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session

from cli.local import dagster_home
from storage.access import AuditEntry
from storage.database import migrate, open_engine
from storage.devices import Device
from storage.roles import make_app_role
from storage.settings import APP_ROLE, Settings
from storage.stores import open_telemetry_store
from storage.telemetry import Reading
from storage.times import microseconds

PASSWORD = "a-password-of-the-tests"


@pytest.fixture
def app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with the platform's login, as `compose.yaml` gives it to all services but the migrations."""
    monkeypatch.setenv("POSTGRES_APP_PASSWORD", PASSWORD)
    migrate(Settings.load())
    migrate(Settings.load())  # at every start
    monkeypatch.delenv("POSTGRES_APP_PASSWORD")
    address = settings.database_url.split("@", 1)[1]
    monkeypatch.setenv("DATABASE_URL", f"postgresql://{APP_ROLE}:{PASSWORD}@{address}")
    return Settings.load()


def test_it_is_no_superuser(app: Settings) -> None:
    with psycopg.connect(app.database_url, autocommit=True) as connection:
        rights = (
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        assert connection.execute(rights).fetchone() == (False,)
        for attack in (
            "COPY (SELECT 1) TO PROGRAM 'touch /tmp/x'",
            "COPY devices TO '/tmp/x'",
            "SELECT pg_read_file('/etc/passwd')",
            "ALTER SYSTEM SET log_statement = 'all'",
            "DROP TABLE devices",
            "UPDATE alembic_version SET version_num = 'x'",
            f"ALTER ROLE {APP_ROLE} SUPERUSER",
            "DELETE FROM audit_log",
            "UPDATE audit_log SET actor = 'somebody'",
            "TRUNCATE audit_log",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(attack)


def test_migrating_again_locks_no_table(app: Settings, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands such as `energy keys create` migrate while the platform writes: they must not wait for each other."""
    monkeypatch.setenv("POSTGRES_APP_PASSWORD", PASSWORD)
    engine = open_engine(settings, as_owner=True)
    try:
        with engine.connect() as connection:
            make_app_role(connection, Settings.load().model_copy(update={"database_url": settings.database_url}))
            locks = "SELECT relation::regclass::text, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation"
            theirs = " IN (SELECT oid FROM pg_class WHERE relname LIKE 'device_telemetry%' AND relkind IN ('r', 'p'))"
            held = connection.execute(text(f"{locks}{theirs} AND mode LIKE '%Exclusive%'")).all()
            assert held == []
    finally:
        engine.dispose()


def test_the_platform_can_work_with_it(app: Settings, tmp_path: Path) -> None:
    """Rows of every table, partitions of the telemetry that come and go, and Dagster's own tables."""
    engine = open_engine(app)
    with Session(engine) as session:
        session.add(Device(device_id="D1", device_name="n", device_type="t"))
        session.add(AuditEntry(actor="a", request="r", action="create", entity="devices", entity_id="D1", change={}))
        session.commit()
        tables = session.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        assert len(tables) > 15
        for table in tables:
            session.execute(text(f'SELECT count(*) FROM "{table}"'))
            if table not in ("alembic_version", "audit_log"):
                session.execute(text(f'DELETE FROM "{table}" WHERE false'))
        session.rollback()
        with pytest.raises(ProgrammingError, match="must be owner"):
            session.execute(text("ALTER TABLE devices ADD COLUMN x int"))
    engine.dispose()
    store = open_telemetry_store(app)
    moments = [datetime(year, 3, 1, tzinfo=UTC) for year in (2021, 2024)]
    store.write([Reading(device_id="D1", time=microseconds(m), metrics={"power": 1.0}, received_at=0) for m in moments])
    store.close()
    app.energy_home.mkdir(mode=0o700, exist_ok=True)
    configuration = yaml.safe_load((dagster_home.prepare(app) / "dagster.yaml").read_text())
    assert configuration["storage"]["postgres"]["postgres_db"]["username"] == APP_ROLE
    with dg.DagsterInstance.from_config(str(app.dagster_home)) as instance:
        assert instance.get_runs_count() == 0


def test_the_embedded_database_gets_it_at_the_first_migration(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home of an earlier release too: it has the owner's password only."""
    url = settings.database_url
    monkeypatch.setattr(Settings, "embeds_postgres", True)
    monkeypatch.setattr(Settings, "owner_database_url", url)
    before = Settings.load()
    assert before.database_url == url
    settings.energy_home.mkdir(mode=0o700)
    migrate(before)
    after = Settings.load()
    assert f"//{APP_ROLE}:" in after.database_url
    assert after.app_password_file.stat().st_mode & 0o777 == 0o600
    password = after.app_password_file.read_text()
    migrate(Settings.load())
    assert after.app_password_file.read_text() == password
