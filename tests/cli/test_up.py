"""The local platform under a supervisor, with its real parts: what users, and those who kill processes, see of it."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.cli.conftest import LocalPlatform, end
from tests.support.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def running(platform: LocalPlatform) -> Iterator["subprocess.Popen[bytes]"]:
    process = platform.up()
    yield process
    end(process)


class Device:
    """Publishes readings with QoS 1 and remembers how many the broker has acknowledged."""

    def __init__(self, platform: LocalPlatform, device_id: str) -> None:
        self.device_id = device_id
        self.acknowledged = 0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"test-{device_id}", clean_session=False)
        self._client.on_publish = self._count
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.connect("127.0.0.1", platform.ports["MQTT_BROKER_PORT"])
        self._client.loop_start()
        self._sent = 0
        self._start = datetime.now(UTC) - timedelta(hours=1)

    def _count(self, *_: Any) -> None:
        self.acknowledged += 1

    def publish(self, count: int) -> None:
        for _ in range(count):
            time = (self._start + timedelta(milliseconds=self._sent)).isoformat()
            reading = {"timestamp": time, "voltage": 230.0, "power": float(self._sent)}
            self._client.publish(f"devices/{self.device_id}/telemetry", json.dumps(reading), qos=1)
            self._sent += 1

    def all_acknowledged(self) -> bool:
        return self.acknowledged == self._sent

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def stored(platform: LocalPlatform, device_id: str) -> int:
    answer = httpx.get(f"{platform.api}/api/v1/data/stats/{device_id}")
    return int(answer.json()["data"]["data_points"]) if answer.status_code == 200 else 0


def test_every_part_says_that_it_is_ready(platform: LocalPlatform, running: "subprocess.Popen[bytes]") -> None:
    status = platform.status()
    assert status["running"]
    assert {part["name"] for part in status["parts"]} == {
        "postgres", "broker", "migrations", "ingest", "api", "code", "dagster", "daemon"
    }  # fmt: skip
    ready = httpx.get(f"{platform.api}/ready")
    assert (ready.status_code, set(ready.json()["checks"].values())) == (200, {"connected"})
    assert sum(part["memory_mb"] or 0 for part in status["parts"]) < 1500
    words = platform.run("status").stdout
    assert f"127.0.0.1:{platform.ports['MQTT_BROKER_PORT']}" in words
    assert "NOT READY" not in words
    priorities = {part["name"]: os.getpriority(os.PRIO_PROCESS, part["pid"]) for part in status["parts"] if part["pid"]}
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert {name for name, priority in priorities.items() if priority > usual} == {"code", "dagster", "daemon"}


def test_the_home_is_private_and_servers_know_no_secret(
    platform: LocalPlatform, running: "subprocess.Popen[bytes]"
) -> None:
    other = ("postgres", "postgresql", "up.log")  # PostgreSQL's own, and the test's
    paths = [
        path for entry in platform.home.iterdir() if entry.name not in other for path in (entry, *entry.rglob("*"))
    ]
    assert len(paths) > 20
    assert [path for path in paths if not path.is_symlink() and path.stat().st_mode & 0o077] == []
    pids = {part["name"]: part["pid"] for part in platform.status()["parts"]}
    for name in ("postgres", "broker"):
        assert "DAGSTER_PORT" not in psutil.Process(pids[name]).environ()
    assert "DAGSTER_PORT" in psutil.Process(pids["api"]).environ()


def test_a_second_one_in_the_same_home_is_refused(platform: LocalPlatform, running: "subprocess.Popen[bytes]") -> None:
    second = platform.run("up")
    assert second.returncode == 2
    assert f"already runs in {platform.home} (process {running.pid})" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_taken_port_is_named_with_its_variable(platform: LocalPlatform, running: "subprocess.Popen[bytes]") -> None:
    elsewhere = platform.run("up", ENERGY_HOME=str(platform.home / "other"))
    assert elsewhere.returncode == 2
    for name, port in platform.ports.items():
        assert f"port {port} is taken" in elsewhere.stderr
        assert name in elsewhere.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("API_PORT", "0"), ("MAX_CONCURRENT_JOBS", "none"), ("DATABASE_URL", "mysql://x/y"), ("SITE_TIMEZONE", "Mars")],
)
def test_a_wrong_variable_is_refused_by_name(platform: LocalPlatform, variable: str, value: str) -> None:
    refused = platform.run("up", **{variable: value})
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"energy: {variable}")
    assert "Traceback" not in refused.stderr


def test_whichever_part_is_killed_nothing_acknowledged_is_missing(
    platform: LocalPlatform, running: "subprocess.Popen[bytes]"
) -> None:
    device = Device(platform, "KILLED-1")
    try:
        for part in platform.status()["parts"]:
            if part["pid"] is None:
                continue
            device.publish(300)
            os.kill(part["pid"], signal.SIGKILL)
            device.publish(300)
            wait_until(lambda: platform.is_ready(running), f"all is well after kill -9 of {part['name']}", 90)
            now = next(p for p in platform.status()["parts"] if p["name"] == part["name"])
            assert now["pid"] != part["pid"]
        wait_until(device.all_acknowledged, "the broker acknowledged every reading")
    finally:
        device.close()
    wait_until(lambda: stored(platform, "KILLED-1") == device.acknowledged, "every reading is stored")


def test_killed_it_leaves_no_orphan_the_next_start_finds_everything_and_ctrl_c_ends_that(
    platform: LocalPlatform, running: "subprocess.Popen[bytes]"
) -> None:
    device = Device(platform, "KEPT-1")
    device.publish(100)
    wait_until(lambda: stored(platform, "KEPT-1") == 100, "the readings are stored")
    device.close()
    running.kill()  # without a chance to end anything
    running.wait()
    wait_until(lambda: not platform.processes(), "no orphan is left")
    process = platform.up()
    assert stored(platform, "KEPT-1") == 100
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert platform.processes() == []
    _, stopping, after = (platform.home / "up.log").read_text().rpartition("stopping")
    assert stopping
    assert "Traceback" not in after


def test_a_newcomer_who_mistypes_is_told(platform: LocalPlatform) -> None:
    wrong = platform.run("upp")
    assert wrong.returncode == 2
    assert "No such command 'upp'" in wrong.stderr
    helped = platform.run()
    assert "status" in helped.stdout + helped.stderr
    idle = platform.run("status")
    assert (idle.returncode, "energy up" in idle.stdout) == (1, True)
