"""One tenant's reads while another tenant keeps 12 heavy reads going at once, beside the same reads alone.

Each tenant has a device with readings every second of `--days N` (5) closed days. The heavy reads are CSV of all of
them, asked again as soon as they are answered; the other tenant asks in turn for statistics and the newest readings,
`--requests N` (50) times. The API is a process of its own.
"""

import argparse
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import httpx
import psycopg
from sqlmodel import Session

from benchmarks.datasets import database, spread, timed
from benchmarks.fleet import TODAY, fill_closed_days
from benchmarks.rest import alone
from storage import access
from storage.database import open_engine
from storage.settings import Settings
from tests.support.servers import free_port

HEAVY = 12


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks shares")
    options.add_argument("--days", type=int, default=5)
    options.add_argument("--requests", type=int, default=50)
    given, _ = options.parse_known_args()
    with database() as url, tempfile.TemporaryDirectory() as folder:
        fill_closed_days(url, given.days, 2, 2, meters=False)
        heavy_key, light_key = _keys(url)
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        period = f"start_time={TODAY - timedelta(days=given.days)}T00:00:00Z&end_time={TODAY}T00:00:00Z"
        paths = [f"/api/v1/data/stats/device-2?{period}", f"/api/v1/data/telemetry/device-2?{period}"]
        with (
            mock.patch.dict(os.environ, API_PORT=str(port), API_RATE_LIMIT="0"),
            alone(address, url, Path(folder), datetime.now(UTC)),
            httpx.Client(base_url=address, headers={"X-API-Key": light_key}, timeout=120) as client,
        ):

            def ask() -> list[float]:
                return [
                    timed(lambda path=paths[i % 2]: client.get(path).raise_for_status())  # type: ignore[misc] # called at once
                    for i in range(given.requests)
                ]

            ask()
            quiet = ask()
            with _heavy_reads(address, heavy_key, f"/api/v1/data/telemetry/device-1?{period}&format=csv") as answered:
                beside = ask()
        print(f"alone: {spread(quiet)}")
        print(f"beside {HEAVY} heavy reads at once, {len(answered)} of them answered: {spread(beside)}")


def _keys(url: str) -> tuple[str, str]:
    with psycopg.connect(url, autocommit=True) as connection:
        for number, tenant in ((1, "heavy"), (2, "light")):
            connection.execute("UPDATE devices SET tenant_id = %s WHERE device_id = %s", (tenant, f"device-{number}"))
    engine = open_engine(Settings.load(), pool_size=1)
    with Session(engine) as session:
        keys = [access.create_key(session, tenant, "read", tenant_id=tenant) for tenant in ("heavy", "light")]
        session.commit()
    engine.dispose()
    return keys[0], keys[1]


@contextmanager
def _heavy_reads(address: str, key: str, path: str) -> Iterator[list[int]]:
    """Keep the reads going for the block; yields the sizes of those that were answered."""
    ended, sizes = threading.Event(), list[int]()

    def read() -> None:
        with httpx.Client(base_url=address, headers={"X-API-Key": key}, timeout=120) as client:
            while not ended.is_set():
                sizes.append(len(client.get(path).raise_for_status().content))

    with ThreadPoolExecutor(HEAVY) as pool:
        reading = [pool.submit(read) for _ in range(HEAVY)]
        try:
            yield sizes
        finally:
            ended.set()
            for one in reading:
                one.result(120)


if __name__ == "__main__":
    main()
