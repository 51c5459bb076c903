import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from sqlmodel import Session, select
from typer.testing import CliRunner

from cli.main import app as energy
from cli.simulate import Machine, day_load
from ingest.devices.profile import UNREGISTERED
from ingest.intake.decode import decode_payload
from storage.dirty_days import DirtyDay
from storage.settings import Settings, SettingsError
from tests.support.running import ingesting, mosquitto_broker, nats_broker
from tests.support.servers import wait_until


def test_readings_are_what_intake_takes_and_follow_the_day() -> None:
    machine = Machine(7)
    by_hour: dict[int, dict[str, Any]] = {}
    for minute in range(24 * 60):
        now = datetime(2026, 2, 12, minute // 60, minute % 60, tzinfo=UTC)
        by_hour[now.hour] = machine.reading(now)
        received = int(now.timestamp() * 1e6)
        decoded = decode_payload(
            machine.topic, machine.device_id, msgspec.json.encode(by_hour[now.hour]), received, UNREGISTERED
        )
        assert not decoded.rejected
        assert not decoded.ignored
        (reading,) = decoded.readings
        assert set(reading.metrics) == {"voltage", "current", "power", "temperature"}
        factor = reading.metrics["power"] / reading.metrics["voltage"] / reading.metrics["current"]
        assert factor == pytest.approx(0.9, abs=0.1)
    assert by_hour[3]["power"] < 0.4 * by_hour[11]["power"]
    assert by_hour[3]["temperature"] < by_hour[11]["temperature"] - 10
    assert 0.1 <= min(map(day_load, range(0, 86_400, 60))) < 0.15
    assert max(map(day_load, range(0, 86_400, 60))) == pytest.approx(1, abs=0.01)
    assert Machine(7).reading(now) == Machine(7).reading(now)


def test_what_is_published_is_stored(settings: Settings) -> None:
    with nats_broker(settings), ingesting(settings) as ingester:
        began = time.monotonic()
        result = CliRunner().invoke(energy, ["simulate", "--devices", "3", "--rate", "300", "--seconds", "1"])
        assert result.exit_code == 0, result.output
        assert time.monotonic() - began >= 0.99
        assert "300 readings published in" in result.output
        assert "the broker acknowledged 300" in result.output
        wait_until(lambda: ingester.metrics.stored == 300, "all are stored")
        with Session(ingester.engine) as session:
            assert {day.device_id for day in session.exec(select(DirtyDay))} == {"SIM-0001", "SIM-0002", "SIM-0003"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_it_ends_with_a_count(settings: Settings, number: signal.Signals) -> None:
    with mosquitto_broker(settings):
        command = [sys.executable, "-u", "-m", "cli.main", "simulate", "--rate", "50", "--broker",
                   f"127.0.0.1:{settings.mqtt_broker_port}"]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "until Ctrl-C" in process.stdout.readline()
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert "readings published in" in output


@pytest.mark.parametrize(
    ("broker", "said"),
    [
        (None, "does not answer as an MQTT broker; start the platform with `energy up`"),
        ("127.0.0.1:99999", "is not host or host:port"),
        ("mqtt://here", "is not host or host:port"),
    ],
)
def test_no_broker_is_one_clear_line(settings: Settings, broker: str | None, said: str) -> None:
    result = CliRunner().invoke(energy, ["simulate", "--seconds", "1", *(["--broker", broker] if broker else [])])
    assert isinstance(result.exception, SettingsError)
    assert said in str(result.exception)
