"""The Celery profile's own parts: Redis, and workers that take Dagster's runs from it."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.servers import can_connect, free_port, program, started, wait_until


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis that keeps nothing; the answer is its URL, as CELERY_BROKER_URL takes it."""
    port = free_port()
    command: list[str | Path] = [
        program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder
    ]  # fmt: skip
    with started(command, lambda: can_connect(port), folder / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def celery_workers(
    broker: str, folder: Path, count: int, env: Mapping[str, str] | None = None
) -> Iterator[dict[Path, subprocess.Popen[bytes]]]:
    """Workers of one process each, as docs/dagster.md starts them, by their logs, worker<i>.log."""
    command = [sys.executable, "-m", "celery", "-A", "dagster_celery.app", "-b", broker, "--result-backend", broker,
               "worker", "-P", "prefork", "-c", "1", "-Q", "dagster", "-I", "orchestration.definitions",
               "--prefetch-multiplier=1", "--without-mingle", "--loglevel=info"]  # fmt: skip
    logs = [folder / f"worker{i}.log" for i in range(count)]
    with ExitStack() as ends:
        workers = {  # all at once: each needs seconds of imports
            log: ends.enter_context(started([*command, "-n", f"{log.stem}@test"], lambda: True, log, env=env))
            for log in logs
        }
        wait_until(lambda: all("ready." in log.read_text() for log in logs), "the workers are ready", 90)
        yield workers
