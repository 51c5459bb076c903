"""A whole platform of the tests' own: `energy up` in a home of its own, on free ports."""

import json
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.local.home import read_state
from cli.status import service_now
from storage.secret_files import internal_headers
from storage.settings import Settings
from tests.support.servers import free_port, wait_until

ENERGY = str(Path(sysconfig.get_path("scripts")) / "energy")
PORTS = ("API_PORT", "DAGSTER_PORT", "MQTT_BROKER_PORT", "POSTGRES_PORT", "INGEST_METRICS_PORT")


class LocalPlatform:
    """The `energy` command in one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = {name: free_port() for name in PORTS}
        self.api = f"http://127.0.0.1:{self.ports['API_PORT']}"
        self.environment = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "ENERGY_HOME": str(home),
        }

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [ENERGY, *arguments],
            capture_output=True,
            check=False,
            text=True,
            env={**self.environment, **environment},
            timeout=900,  # a demo on a busy machine
        )

    def up(self) -> "subprocess.Popen[bytes]":
        """Start it in the background; returns when every service answers."""
        with (self.home / "up.log").open("ab") as log:
            process = subprocess.Popen([ENERGY, "up"], stdout=log, stderr=log, env=self.environment)
        try:
            wait_until(lambda: self.is_ready(process), f"the platform is ready (see {self.home / 'up.log'})", 120)
        except BaseException:
            end(process)
            raise
        return process

    def is_ready(self, process: "subprocess.Popen[bytes] | None" = None) -> bool:
        """Whether every service is ready; fails at once when the supervisor has ended."""
        if process and process.poll() is not None:
            pytest.fail(f"energy up ended with {process.returncode}: {(self.home / 'up.log').read_text()[-2000:]}")
        # As `energy status` does it, but without a process for each look.
        state = read_state(self.home)
        headers = internal_headers(Settings(energy_home=self.home))
        return state is not None and all(service_now(service, headers)["ready"] for service in state["services"])

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return answer

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for this home, whoever started it."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("ENERGY_HOME") == str(self.home) or str(self.home) in process.cmdline()
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


def end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def platform() -> Iterator[LocalPlatform]:
    """A home that the server's own user can enter; nothing runs in it yet."""
    home = Path(tempfile.mkdtemp(prefix="energy-home-"))
    home.chmod(0o755)
    yield LocalPlatform(home)
    shutil.rmtree(home, ignore_errors=True)
