"""Servers that tests start themselves. One that is not there skips the test, or fails it where REQUIRE_SERVERS=1."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

DEPLOY = Path(__file__).parent.parent / "deploy"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Poll until the condition holds; its exceptions count as not yet."""
    deadline = time.monotonic() + seconds
    failure: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
            failure = None
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown when time is up
            failure = error
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}" + (f" ({failure!r})" if failure else ""))


def can_connect(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), 1).close()
    return True


def program(name: str) -> str:
    """Where a server's binary is (also where Debian hides daemons); without it the test cannot run here."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        reason = f"{name} is not installed"
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail(f"{reason}, and REQUIRE_SERVERS=1")
        pytest.skip(reason)
    return found


@contextmanager
def started(
    command: Sequence[str | Path],
    ready: Callable[[], object],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server as long as the block lasts; it has answered before the block begins. `env` is added to ours."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=output, env={**os.environ, **(env or {})}, **options
        )
    try:
        wait_until(ready, f"{command[0]} answers (see {log})")
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class Server:
    """A server that can be started again on the same data and port, after it was killed for one."""

    command: Sequence[str | Path]
    port: int
    log: Path
    ready: Callable[[], object]
    env: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

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
    )


INFLUXDB_TOKEN = "a-token-of-the-tests"


def set_up_influxdb(server: Server) -> dict[str, str]:
    """The variables that name it."""
    url = f"http://127.0.0.1:{server.port}"
    owner = {"username": "energy", "password": "a-password", "org": "energy", "bucket": "first"}
    httpx.post(f"{url}/api/v2/setup", json={**owner, "token": INFLUXDB_TOKEN}).raise_for_status()
    return {"INFLUXDB_URL": url, "INFLUXDB_TOKEN": INFLUXDB_TOKEN, "INFLUXDB_ORG": "energy"}


def mosquitto(folder: Path, passwords: Mapping[str, str]) -> Server:
    """Mosquitto with the production profile's own configuration, its paths and port adapted."""
    port = free_port()
    logins = folder / "passwords"
    logins.write_text("".join(f"{user}:{password}\n" for user, password in passwords.items()))
    subprocess.run([program("mosquitto_passwd"), "-U", logins], check=True)
    given = (DEPLOY / "mosquitto.conf").read_text()
    for theirs, ours in (
        ("listener 1883\n", f"listener {port} 127.0.0.1\n"),
        ("/mosquitto/config/passwords", str(logins)),
        ("/mosquitto/config/acl", str(DEPLOY / "mosquitto.acl")),
        ("/mosquitto/data/", f"{folder}/"),
    ):
        assert theirs in given
        given = given.replace(theirs, ours)
    # As root it would change to a user who cannot reach the folder.
    (folder / "mosquitto.conf").write_text(f"{given}\nuser {getpass.getuser()}\n")
    command: list[str | Path] = [program("mosquitto"), "-c", folder / "mosquitto.conf"]
    return Server(command, port, folder / "mosquitto.log", lambda: can_connect(port))
