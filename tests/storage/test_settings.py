"""Variables as an operator sets them: refused with their name, or understood."""

import os
import subprocess
import sys

import pytest

from cli.local.environment import ROOM_SETTINGS
from storage.settings import CHECKOUT, Settings, SettingsError, check_settings
from tests.support.environment import settings_classes, settings_modules, variables


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("ENERGY_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"API_PORT": "70000"}, "API_PORT=70000"),
        ({"PORT": "x"}, "API_PORT=x"),
        ({"API_PORT": "8000", "PORT": "8001"}, "API_PORT and PORT are the same thing and disagree"),
        ({"S3_BUCKET": "a-bucket", "S3_BUCKET_NAME": "b-bucket"}, "S3_BUCKET_NAME and S3_BUCKET"),
        ({"S3_BUCKET_NAME": "No Bucket"}, "S3_BUCKET_NAME=No Bucket"),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:9000"}, "S3_BUCKET_NAME is missing"),
        ({"S3_ENDPOINT_URL": "127.0.0.1:9000", "S3_BUCKET_NAME": "abc"}, "S3_ENDPOINT_URL=127.0.0.1:9000"),
        ({"INFLUXDB_URL": "http://127.0.0.1:8086"}, "INFLUXDB_TOKEN is missing"),
        ({"MQTT_TOPIC": "devices/#"}, "MQTT_TOPIC=devices/#"),
        ({"MQTT_TOPIC": "a/+/b/+"}, "MQTT_TOPIC=a/+/b/+"),
        ({"DATABASE_URL": "postgresql://u@h/db", "POSTGRES_HOST": "other"}, "DATABASE_URL and POSTGRES_HOST disagree"),
        ({"DATABASE_URL": "postgresql://h"}, "DATABASE_URL=…"),
        ({"SITE_TIMEZONE": "Europe/Atlantis"}, "SITE_TIMEZONE=Europe/Atlantis"),
        ({"DATASET_START_DATE": "2999-01-01"}, "DATASET_START_DATE lies in the future"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL=loud"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert says in str(refused.value)


def test_a_secret_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://user:hunter2@h/db")
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@h/db")
    monkeypatch.setenv("INFLUXDB_TOKEN", "hunter2")
    settings = Settings.load()
    assert "hunter2" not in repr(settings)
    assert settings.database_address == "user@h:5432/db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg2"])
def test_any_driver_suffix_is_accepted(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://energy:p%40ss@db:5555/energy_platform")
    settings = Settings.load()
    assert settings.database_url == "postgresql://energy:p%40ss@db:5555/energy_platform"
    assert settings.database_url_for("psycopg") == "postgresql+psycopg://energy:p%40ss@db:5555/energy_platform"
    assert not settings.embeds_postgres


def test_a_host_replaces_the_embedded_part_and_a_port_only_moves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PORT", "6000")
    monkeypatch.setenv("MQTT_BROKER_PORT", "1900")
    moved = Settings.load()
    assert (moved.embeds_postgres, moved.postgres_port) == (True, 6000)
    assert (moved.embeds_broker, moved.broker_host, moved.mqtt_broker_port) == (True, "127.0.0.1", 1900)
    monkeypatch.setenv("CHECKPOINT_DB_HOST", "db")
    monkeypatch.setenv("MQTT_BROKER_HOST", "broker")
    monkeypatch.setenv("POSTGRES_PASSWORD", "a/b@c")
    replaced = Settings.load()
    assert replaced.database_url == "postgresql://energy:a%2Fb%40c@db:6000/energy_platform"
    assert (replaced.embeds_postgres, replaced.embeds_broker, replaced.broker_host) == (False, False, "broker")


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFLUXDB_URL", "")
    monkeypatch.setenv("API_PORT", "")
    settings = Settings.load()
    assert (settings.influxdb_url, settings.api_port) == (None, 8000)


def test_a_home_that_was_never_started_says_so() -> None:
    with pytest.raises(SettingsError, match="no platform has been started"):
        _ = Settings.load().database_url


def test_every_room_has_its_settings_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {
        "Settings",
        "QualitySettings",
        "NotifySettings",
        "ReportSettings",
        "ApiSettings",
        "OrchestrationSettings",
    } <= {kind.__name__ for kind in settings_classes()}
    assert settings_modules() == {"storage.settings", *ROOM_SETTINGS}
    names = variables()
    assert {"API_PORT", "PORT", "DATABASE_URL", "NOTIFY_<NAME>", "QUALITY_THRESHOLDS", "MAX_RULES_PER_DEVICE"} <= names
    wrong = {"API_PORT": "0", "NOTIFICATION_LIMIT_PER_HOUR": "0", "MAX_REPORT_SIZE_MB": "0", "API_RATE_LIMIT": "-1",
             "MAX_EXPORT_WINDOW_HOURS": "1", "EXPORT_INTERVAL_SECONDS": "0"}  # fmt: skip
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        check_settings()
    assert {line.partition(":")[0] for line in str(refused.value).splitlines()} == {
        f"{name}={value}" for name, value in wrong.items()
    }


def test_a_disagreement_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    settings_classes()
    monkeypatch.setenv("API_PORT", "8000")
    monkeypatch.setenv("PORT", "8001")
    with pytest.raises(SettingsError) as refused:
        check_settings()
    assert len(str(refused.value).splitlines()) == 1


PROCESSES = {
    ("-m", "ingest"): "NOTIFICATION_LIMIT_PER_HOUR",
    ("-m", "serving"): "API_RATE_LIMIT",
    ("-m", "cli.main", "up"): "MAX_REPORT_SIZE_MB",
    ("-c", "from orchestration.definitions import defs; defs()"): "RUN_RETENTION_DAYS",
}


@pytest.mark.parametrize(("arguments", "variable"), PROCESSES.items(), ids=["ingest", "serving", "up", "orchestration"])
def test_a_process_refuses_a_wrong_variable_of_its_rooms(arguments: tuple[str, ...], variable: str) -> None:
    process = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, variable: "-1"}, cwd=CHECKOUT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode != 0
    assert f'{variable}=-1: "-1" is out of range; give' in process.stderr
