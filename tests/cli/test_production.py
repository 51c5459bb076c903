"""Every embedded part replaced by a server through its variables: the same flow, nothing embedded started."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import LocalPlatform, end
from tests.support.servers import can_connect, free_port, program, started
from tests.support.stack import PLATFORM, influxdb, mosquitto, set_up_influxdb

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

KEYS = {"AWS_ACCESS_KEY_ID": "platform", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-test", "AWS_REGION": "us-east-1"}
BUCKET = "energy-platform-datasets"


@pytest.fixture
def production(postgres_server: str, tmp_path: Path, platform: LocalPlatform) -> Iterator[LocalPlatform]:
    """A home whose four servers stand elsewhere; the database is new and empty."""
    database = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}")
    s3_port = free_port()
    (tmp_path / "objects").mkdir()
    # The demo's fleet logs in as the platform does, which is not a device.
    broker = mosquitto(tmp_path, dict([PLATFORM]), f"\nuser {PLATFORM[0]}\ntopic write devices/+/telemetry\n")
    telemetry = influxdb(tmp_path)
    gateway: list[str | Path] = [
        program("versitygw"),
        "--port",
        f"127.0.0.1:{s3_port}",
        "--quiet",
        "posix",
        tmp_path / "objects",
    ]
    login = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    with ExitStack() as servers:
        servers.enter_context(broker.running())
        servers.enter_context(telemetry.running())
        servers.enter_context(started(gateway, lambda: can_connect(s3_port), tmp_path / "s3.log", env=login))
        endpoint = f"http://127.0.0.1:{s3_port}"
        platform.environment |= {
            **KEYS,
            **set_up_influxdb(telemetry),
            "DATABASE_URL": f"{postgres_server}/{database}",
            "MQTT_BROKER_HOST": "127.0.0.1",
            "MQTT_BROKER_PORT": str(broker.port),
            "MQTT_USERNAME": PLATFORM[0],
            "MQTT_PASSWORD": PLATFORM[1],
            "S3_ENDPOINT_URL": endpoint,
            "S3_BUCKET_NAME": BUCKET,
        }
        del platform.environment["POSTGRES_PORT"]  # a part of the address that DATABASE_URL is
        for answer in ("made", "is there"):  # as compose.yaml does it
            done = subprocess.run(
                [sys.executable, "-m", "storage.bucket"],
                env=platform.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stdout.strip()) == (0, answer), done.stderr

        yield platform
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)")


def test_the_flow_on_servers(production: LocalPlatform) -> None:
    process = production.up()
    try:
        names = {part["name"] for part in production.status()["parts"]}
        assert names == {"migrations", "ingest", "api", "code", "dagster", "daemon"}
        done = production.run("demo", "--once")
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert summary["failed"] == []
        assert summary["readings"] == {"received": 21_600, "stored": 21_600, "quarantined": 0}
        assert {report["state"] for report in summary["reports"]} == {"completed"}
    finally:
        end(process)
    assert not (production.home / "postgres").exists()
    assert not (production.home / "broker").exists()
    assert not list((production.home).glob("objects/**/*.parquet"))
