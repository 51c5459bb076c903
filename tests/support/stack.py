"""The servers that intake stands on, each to be killed and started again on its data, and intake itself.

For the tests of faults, and for the benchmarks.
"""

import getpass
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self
from unittest.mock import patch

import httpx
import psycopg

from cli.local import nats, postgres
from storage.database import migrate
from storage.settings import Settings
from tests.support.link import Link
from tests.support.servers import can_connect, free_port, program, started

DEPLOY = Path(__file__).parents[2] / "deploy"
INFLUXDB_TOKEN = "a-token-of-the-tests"
PLATFORM, SOURCE = ("platform", "a-password"), ("source", "another-password")


@dataclass(frozen=True)
class Server:
    """A server that can be started again on the same data and port, after it was killed for one."""

    command: Sequence[str | Path]
    port: int
    log: Path
    ready: Callable[[], object]
    env: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    devices_port: int = 0  # of a broker with another door for devices

    def running(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return started(self.command, self.ready, self.log, env=self.env, **self.options)


def influxdb(folder: Path) -> Server:
    """InfluxDB 2 with its data in the folder; `set_up_influxdb` makes its owner and token once."""
    port = free_port()
    files = [f"--bolt-path={folder}/i.bolt", f"--sqlite-path={folder}/i.sqlite", f"--engine-path={folder}/engine"]
    return Server(
        [program("influxd"), *files, f"--http-bind-address=127.0.0.1:{port}", "--log-level=error"],
        port,
        folder / "influxd.log",
        lambda: httpx.get(f"http://127.0.0.1:{port}/health").is_success,
        {"INFLUXD_REPORTING_DISABLED": "true"},
        {"start_new_session": True},
    )


def set_up_influxdb(server: Server) -> dict[str, str]:
    """The variables that name it."""
    url = f"http://127.0.0.1:{server.port}"
    owner = {"username": "energy", "password": "a-password", "org": "energy", "bucket": "first"}
    httpx.post(f"{url}/api/v2/setup", json={**owner, "token": INFLUXDB_TOKEN}).raise_for_status()
    return {"INFLUXDB_URL": url, "INFLUXDB_TOKEN": INFLUXDB_TOKEN, "INFLUXDB_ORG": "energy"}


def mosquitto(
    folder: Path, passwords: Mapping[str, str], more_acl: str = "", *, window: int = 20_000, door: str = "plain"
) -> Server:
    """Mosquitto with the production profile's own configuration; paths, ports and in-flight window are put in.

    `more_acl` is added to the access list. With the door `tls`, the folder has `server.crt` and `server.key`.
    """
    devices, port = free_port(), free_port()
    logins = folder / "passwords"
    logins.write_text("".join(f"{user}:{password}\n" for user, password in passwords.items()))
    subprocess.run([program("mosquitto_passwd"), "-U", logins], check=True)
    acl = folder / "acl"
    acl.write_text((DEPLOY / "mosquitto.acl").read_text() + more_acl)
    (folder / "door").mkdir()
    devices_door = (DEPLOY / "mosquitto.doors" / door / "door.conf").read_text()
    devices_door = devices_door.replace("listener 1883\n", f"listener {devices} 127.0.0.1\n")
    (folder / "door" / "door.conf").write_text(devices_door.replace("/mosquitto/certs", str(folder)))
    given = (DEPLOY / "mosquitto.conf").read_text()
    for theirs, ours in (
        ("/mosquitto/config/door", str(folder / "door")),
        ("listener 1884\n", f"listener {port} 127.0.0.1\n"),
        ("/mosquitto/config/passwords", str(logins)),
        ("/mosquitto/config/acl", str(acl)),
        ("/mosquitto/data/", f"{folder}/"),
        ("max_inflight_messages 20000\n", f"max_inflight_messages {window}\n"),
    ):
        assert theirs in given
        given = given.replace(theirs, ours)
    # As root it would change to a user who cannot reach the folder.
    (folder / "mosquitto.conf").write_text(f"{given}\nuser {getpass.getuser()}\n")
    command: list[str | Path] = [program("mosquitto"), "-c", folder / "mosquitto.conf"]
    log = folder / "mosquitto.log"
    options = {"start_new_session": True}
    return Server(command, port, log, lambda: can_connect(port), options=options, devices_port=devices)


def can_log_in(url: str) -> bool:
    psycopg.connect(url, connect_timeout=2).close()
    return True


class Stack:
    """A platform's servers and its ingester: started in order, ended in reverse, killed and started again at will."""

    def __init__(
        self, profile: Literal["embedded", "production"], folder: Path, *, linked: bool = False, window: int = 20_000
    ) -> None:
        """Take an empty folder that other users can enter; `linked`: a link to be cut leads from ingester to broker.

        `window` is Mosquitto's in-flight window.
        """
        self.profile = profile
        self.folder = folder
        self.variables = {
            "ENERGY_HOME": str(folder / "home"),
            "POSTGRES_PORT": str(free_port()),
            "LOG_LEVEL": "WARNING",
        }
        self.link: Link | None = None
        self._linked = linked
        self._window = window
        self.servers: dict[str, Server] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ends = ExitStack()
        self._http = self._ends.enter_context(httpx.Client())

    @property
    def settings(self) -> Settings:
        with patch.dict(os.environ, self.variables):
            return Settings.load()

    def __enter__(self) -> Self:
        with ExitStack() as on_failure:
            on_failure.push(self.__exit__)
            self._start_stores()
            self._start_broker()
            if self._linked:
                self.link = self._ends.enter_context(closing(Link(self.servers["broker"].port)))
            self.add_ingester("ingester")
            on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for name, process in self.processes.items():  # their data go too: no need of an orderly end
            if process.poll() is None:
                self.kill(name)
        self._ends.close()

    def start(self, name: str) -> None:
        self.processes[name] = self._ends.enter_context(self.servers[name].running())

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """The whole process group at once, as a machine that loses power does it."""
        os.killpg(self.processes[name].pid, number)
        self.processes[name].wait(20)

    def restart(self, name: str) -> None:
        self.kill(name)
        self.start(name)

    def add_ingester(self, name: str, **variables: str) -> None:
        """Start one, with variables of its own."""
        port = free_port()
        broker = self.link.port if self.link else self.servers["broker"].port
        own = {"INGEST_METRICS_PORT": str(port), "MQTT_BROKER_PORT": str(broker)}
        self.servers[name] = Server(
            [sys.executable, "-m", "ingest"],
            port,
            self.folder / f"{name}.log",
            lambda: self.is_ready(name),
            {**self.variables, **own, **variables},
            {"start_new_session": True},
        )
        self.start(name)

    def is_ready(self, name: str) -> bool:
        return self._http.get(f"http://127.0.0.1:{self.servers[name].port}/ready", timeout=70).is_success

    def counts(self, name: str = "ingester") -> dict[str, float]:
        """An ingester's metrics by their names without `energy_ingest_`, and its resident bytes."""
        text = self._http.get(f"http://127.0.0.1:{self.servers[name].port}/metrics").text
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {
            metric.removeprefix("energy_ingest_").removesuffix("_total"): float(value)
            for metric, value in pairs
            if metric.startswith(("energy_ingest_", "process_"))
        }

    def _start_stores(self) -> None:
        server = postgres.prepare(self.settings)
        self.servers["postgres"] = Server(
            server.command,
            self.settings.postgres_port,
            self.folder / "postgres.log",
            lambda: can_log_in(self.settings.database_url),
            options={"start_new_session": True, "cwd": "/", **server.identity},
        )
        self.start("postgres")
        migrate(self.settings)
        if self.profile == "production":
            self.servers["influxdb"] = influxdb(self.folder)
            self.start("influxdb")
            self.variables |= set_up_influxdb(self.servers["influxdb"])

    def _start_broker(self) -> None:
        if self.profile == "production":
            acl = f"\nuser {SOURCE[0]}\ntopic write devices/+/telemetry\n"
            self.servers["broker"] = mosquitto(self.folder, dict([PLATFORM, SOURCE]), acl, window=self._window)
            self.variables |= {
                "MQTT_BROKER_HOST": "127.0.0.1",
                "MQTT_USERNAME": PLATFORM[0],
                "MQTT_PASSWORD": PLATFORM[1],
            }
        else:
            port = free_port()
            self.variables |= {"MQTT_BROKER_PORT": str(port)}
            command = nats.prepare(self.settings)
            options = {"start_new_session": True}
            self.servers["broker"] = Server(
                command, port, self.folder / "nats.log", lambda: can_connect(port), options=options
            )
        self.variables.setdefault("MQTT_BROKER_PORT", str(self.servers["broker"].port))
        self.start("broker")
