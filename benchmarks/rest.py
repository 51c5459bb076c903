"""The API at 50 requests a second, each question beside the plain SQL or DuckDB that answers it alone.

Readings every second of `--days N` (30) closed and exported days of `--devices N` (1; the bars say 10, which takes ten
times as long to fill), and `--registered N` (10,000) devices in the registry. The API is a process of its own, as
`energy up` starts it; PostgreSQL is durable as the platform's. `--seconds N` (10) of load per question.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from unittest import mock

import duckdb
import httpx
import psutil
import psycopg

from assets.datasets import export_day
from benchmarks.datasets import FILL, TOUCH, database, spread, timed
from orchestration.resources import Platform
from storage.settings import Settings
from tests.servers import free_port, started

RATE = 50
FIRST = date(2026, 3, 1)
NAMED = ("voltage", "current", "power", "temperature")
LATEST = """
SELECT * FROM device_telemetry WHERE device_id = 'device-1' AND time >= %s AND time < %s ORDER BY time DESC LIMIT 1000
"""
REGISTER = """
INSERT INTO devices (device_id, device_name, device_type, status, created_at, updated_at)
SELECT 'device-' || i, 'Device ' || i, 'pump', 'active', now(), now() FROM generate_series(1, %s) i
"""


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks rest")
    options.add_argument("--days", type=int, default=30, choices=range(2, 32), metavar="2…31")
    for name, default in (("devices", 1), ("registered", 10_000), ("seconds", 10)):
        options.add_argument(f"--{name}", type=int, default=default)
    given, _ = options.parse_known_args()
    with database() as url, tempfile.TemporaryDirectory() as folder:
        _fill(url, given.days, given.devices, given.registered)
        port = free_port()
        variables = {"API_PORT": str(port), "API_RATE_LIMIT": "0", "ENERGY_ADMIN_KEY": "benchmark-of-the-api"}
        address = f"http://127.0.0.1:{port}"
        with (
            mock.patch.dict(os.environ, variables),
            started(
                [sys.executable, "-m", "serving"],
                lambda: httpx.get(f"{address}/health", timeout=2).raise_for_status(),
                Path(folder) / "api.log",
            ) as process,
        ):
            server = psutil.Process(process.pid)
            _ask(address, url, server, days=given.days, devices=given.devices, seconds=given.seconds)
            print(f"API process: {server.memory_info().rss / 1e6:.0f} MB")


def _fill(url: str, days: int, devices: int, registered: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE device_telemetry_2026_03 PARTITION OF device_telemetry"
            " FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')"
        )
        connection.execute(REGISTER, (registered,))
        for day in (FIRST + timedelta(days=i) for i in range(days)):
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            connection.execute(FILL, {"start": start, "step": 1, "devices": devices, "rows": 86_400})
            connection.execute(TOUCH, (day, devices))
        connection.execute("VACUUM ANALYZE")
    with Platform().workshop() as workshop:
        for number in range(devices):
            for i in range(days):
                export_day(workshop, f"device-{number + 1}", FIRST + timedelta(days=i))


def _ask(address: str, url: str, server: psutil.Process, *, days: int, devices: int, seconds: int) -> None:
    end = FIRST + timedelta(days=days)
    period = f"start_time={FIRST}T00:00:00Z&end_time={end}T00:00:00Z"
    files = f"'{Settings.load().energy_home}/objects/datasets/device-1/*.parquet'"
    figures = ", ".join(f"count({m}), min({m}), max({m}), avg({m}), sum({m})" for m in NAMED)
    means = ", ".join(f"avg({m})" for m in NAMED)
    window = "time_bucket(INTERVAL 5 minutes, timestamp)"

    def sql(query: str, *values: object) -> Callable[[], object]:
        def ask() -> object:
            return connection.execute(query, values or None).fetchall()

        return ask

    def files_alone(query: str) -> Callable[[], object]:
        return lambda: duckdb.sql(query).fetchall()

    data = "/api/v1/data"
    with psycopg.connect(url, autocommit=True) as connection:
        questions: list[tuple[str, str, str, Callable[[], object]]] = [
            ("latest 1,000 readings", "p99 50 ms", f"{data}/telemetry/{{}}?{period}", sql(LATEST, FIRST, end)),
            (
                f"statistics of {days} days", "p99 100 ms", f"{data}/stats/{{}}?{period}",
                files_alone(f"SELECT {figures} FROM read_parquet({files})"),
            ),
            (
                "page of all devices", "p99 30 ms", "/api/v1/devices?page_size=100&page=50",
                sql("SELECT *, (SELECT count(*) FROM devices) FROM devices ORDER BY device_id LIMIT 100 OFFSET 4900"),
            ),
        ]  # fmt: skip
        for name, bar, path, alone in questions:
            paths = [path.format(f"device-{i + 1}") for i in range(devices)]
            plain = [timed(alone) for _ in range(20)]
            before = sum(server.cpu_times()[:2])
            took = sorted(_load(address, paths, seconds))
            used = (sum(server.cpu_times()[:2]) - before) / len(took)
            p99 = took[int(len(took) * 0.99)]
            print(f"{name}, {RATE}/s: median {median(took) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms; bar {bar}")
            print(f"  processor of the API {used * 1000:.1f} ms a request")
            print(f"  alone {spread(plain)}; median / alone {median(took) / median(plain):.2f}")
    path = f"{data}/telemetry/device-1?{period}&interval=5m&aggregate=mean&limit=10000"
    query = f"SELECT {window} AS w, count(*), {means} FROM read_parquet({files}) GROUP BY w ORDER BY w"
    with _client(address) as client:
        answers = [timed(lambda: client.get(path).raise_for_status()) for _ in range(7)]
    plain = [timed(files_alone(query)) for _ in range(7)]
    print(f"5-minute means of {days} days: {spread(answers)}; bar 1 s")
    print(f"  DuckDB over the files alone {spread(plain)}; median / alone {median(answers) / median(plain):.2f}")


def _load(address: str, paths: list[str], seconds: int) -> list[float]:
    """Seconds of each answer from when it was due, at `RATE` a second whatever the answers take."""
    with _client(address) as client, ThreadPoolExecutor(32) as pool:
        client.get(paths[0]).raise_for_status()
        began = time.perf_counter()

        def ask(i: int) -> float:
            due = began + i / RATE
            client.get(paths[i % len(paths)]).raise_for_status()
            return time.perf_counter() - due

        waiting = []
        for i in range(seconds * RATE):
            time.sleep(max(0.0, began + i / RATE - time.perf_counter()))
            waiting.append(pool.submit(ask, i))
        return [answer.result() for answer in waiting]


def _client(address: str) -> httpx.Client:
    limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
    return httpx.Client(base_url=address, headers={"X-API-Key": "benchmark-of-the-api"}, timeout=60, limits=limits)


if __name__ == "__main__":
    main()
