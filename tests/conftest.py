"""Real servers for the tests: each is started once, on free ports, in a temporary folder."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import hypothesis
import psycopg
import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from cli.local import postgres
from storage.database import migrate, open_engine
from storage.objects import open_object_store
from storage.settings import Settings
from storage.stores import Stores, open_telemetry_store
from storage.times import utc_now
from tests.support.environment import variables
from tests.support.servers import free_port, wait_until
from tests.support.stack import influxdb, set_up_influxdb

# On a busy machine an example may take long; that says nothing of the code.
hypothesis.settings.register_profile("platform", deadline=None)
hypothesis.settings.load_profile("platform")

PLATFORM_VARIABLES = variables()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is slow, unless everything is to run (REQUIRE_SERVERS=1) or it was asked for with `-m slow`."""
    if os.environ.get("REQUIRE_SERVERS") == "1" or "slow" in config.getoption("markexpr"):
        return
    skip = pytest.mark.skip(reason="slow; REQUIRE_SERVERS=1 or -m slow runs it")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


def can_connect(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=2):
        return True


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> Iterator[None]:
    """No variable of the developer's own platform reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name in PLATFORM_VARIABLES or (
                name.startswith(("AWS_", "DAGSTER_", "NOTIFY_")) and "CA_BUNDLE" not in name
            ):
                patch.delenv(name)
        yield


def _memory() -> str | None:
    """Where files are in memory, if there is room: a database per test is twice as quick there."""
    folder = "/dev/shm"
    return folder if Path(folder).is_dir() and shutil.disk_usage(folder).free > 4e9 else None


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A folder that the server's own user can enter, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="energy-test-", dir=_memory()))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(home: Path) -> Iterator[str]:
    """`postgresql://…` of a server of our own, without a database name; it holds `template_energy`, migrated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENERGY_HOME", str(home / "postgres-home"))
        patch.setenv("POSTGRES_PORT", str(free_port()))
        settings = Settings.load()
        server = postgres.prepare(settings)
    with (home / "postgres.log").open("wb") as log:
        # Not durable: these databases live as long as the tests.
        process = subprocess.Popen(
            [*server.command, "-c", "fsync=off"], stdout=log, stderr=log, cwd="/", **server.identity
        )
    try:
        wait_until(lambda: can_connect(settings.database_url), "PostgreSQL answers")
        migrate(settings)
        url = settings.database_url
        with psycopg.connect(url.replace("/energy_platform", "/postgres"), autocommit=True) as connection:
            connection.execute("ALTER DATABASE energy_platform RENAME TO template_energy")
        yield url.removesuffix("/energy_platform")
    finally:
        process.send_signal(2)
        process.wait(20)


@pytest.fixture(scope="session")
def influxdb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a real InfluxDB, without a bucket: tests that share it name one of their own."""
    server = influxdb(tmp_path_factory.mktemp("influxdb"))
    with server.running():
        yield set_up_influxdb(server)


@pytest.fixture
def settings(postgres_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a platform of the test's own: a migrated database, an empty home, ports that nobody listens on."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        # Copied as files: by the log, which is the default, it takes five times as long.
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template_energy STRATEGY FILE_COPY")
    monkeypatch.setenv("DATABASE_URL", f"{postgres_server}/{name}")
    monkeypatch.setenv("ENERGY_HOME", str(tmp_path / "home"))
    for variable in ("API_PORT", "MQTT_BROKER_PORT", "INGEST_METRICS_PORT"):
        monkeypatch.setenv(variable, str(free_port()))
    yield Settings.load()
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@pytest.fixture
def open_day() -> date:
    """Today, for a test that fails when midnight comes in between: a day that has closed is exported later."""
    now = utc_now()
    if (now + timedelta(minutes=5)).date() != now.date():
        pytest.skip("the day ends within five minutes, and the test needs one that is open")
    return now.date()


@pytest.fixture
def stores(settings: Settings, engine: Engine) -> Iterator[Stores]:
    """What makers of assets work with, on stores of the test's own."""
    telemetry = open_telemetry_store(settings)
    with Session(engine, expire_on_commit=False) as session:
        yield Stores(session, telemetry, open_object_store(settings), settings.zone, run_id="run-1")
    telemetry.close()
