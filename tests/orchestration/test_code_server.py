import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from dagster._grpc.client import DagsterGrpcClient

from cli.local.ports import free_port
from orchestration.code_server import EXIT_WITHOUT_CODE


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A code server with one job, once it answers."""
    code = tmp_path / "code.py"
    code.write_text("import dagster as dg\n\n@dg.job\ndef empty(): pass\n\ndefs = dg.Definitions(jobs=[empty])\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.code_server", "-f", str(code), "-h", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "DAGSTER_HOME": str(tmp_path), "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "1"},
    )
    try:
        while not _answers(port):
            assert process.poll() is None
            time.sleep(0.2)
        yield process
    finally:
        if process.poll() is None:
            for inner in psutil.Process(process.pid).children():
                inner.kill()
            process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return bool(DagsterGrpcClient(port=port, host="127.0.0.1").ping("here"))
    except Exception:  # noqa: BLE001 - whatever it is, the server does not answer yet
        return False


@pytest.mark.slow
def test_a_code_server_that_lost_its_code_ends_so_that_it_is_started_again(
    server: "subprocess.Popen[bytes]", port: int
) -> None:
    (inner,) = psutil.Process(server.pid).children()
    assert inner.cmdline()[inner.cmdline().index("--heartbeat-timeout") + 1] == "600"

    inner.kill()

    assert server.wait(timeout=30) == EXIT_WITHOUT_CODE
    assert not _answers(port)


@pytest.mark.slow
def test_a_code_server_survives_a_reload(server: "subprocess.Popen[bytes]", port: int) -> None:
    (before,) = psutil.Process(server.pid).children()
    client = DagsterGrpcClient(port=port, host="127.0.0.1")

    client.reload_code(timeout=60)
    before.wait(timeout=30)

    assert _answers(port)
    assert server.poll() is None
