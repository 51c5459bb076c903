"""Servers that tests start themselves. One that is not there skips the test, or fails it where REQUIRE_SERVERS=1."""

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

# Below the ports that the kernel gives to clients, and each worker of pytest its own: nobody else takes one between its
# being found free and its being listened on. In no order, for the sake of a second run at the same time.
_FIRST_PORT = 10_000 + 2_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 11)
_PORTS = cycle(random.sample(range(_FIRST_PORT, _FIRST_PORT + 2_000), 2_000))


def free_port() -> int:
    return next(filter(_is_free, _PORTS))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
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
