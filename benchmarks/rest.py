"""The API at 50 requests a second, each question beside the plain SQL or DuckDB that answers it alone.

Readings every second of `--days N` (30) closed and exported days of `--devices N` (10; filling them takes three
minutes) and of today until now, exported but for the last minute, and `--registered N` (10,000) devices in the
registry. The API is a process of its own, as `energy up` starts it, asked with a key of the database; PostgreSQL is
durable as the platform's.

`--at TIME …` (01:30 12:00 23:30) are the times of today, in UTC, at which it is measured: the API's clock is set to
them. `--runs N` (3) of `--seconds N` (10) of load per question, after three seconds of warming up; the run with the
median of the 99th percentiles is shown. `--platform`: at the real time, beside all that `energy up` runs: broker,
ingester, Dagster with its export of each minute, and ten machines that send.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from unittest import mock

import duckdb
import httpx
import psutil
import psycopg
from sqlmodel import Session

from benchmarks.datasets import database, spread, timed
from benchmarks.fleet import TODAY, YEAR, fill_closed_days, fill_today
from benchmarks.floors import say
from storage import access
from storage.database import open_engine
from storage.settings import Settings
from storage.times import midnight
from tests.support.servers import free_port, started

RATE = 50
NAMED = ("voltage", "current", "power", "temperature")
LATEST = """
SELECT * FROM device_telemetry WHERE device_id = 'device-1' AND time >= %s AND time < %s ORDER BY time DESC LIMIT 1000
"""
PAGE = "SELECT *, (SELECT count(*) FROM devices) FROM devices ORDER BY device_id LIMIT 100 OFFSET 4900"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks rest")
    options.add_argument("--days", type=int, default=30, choices=range(2, 32), metavar="2…31")
    for name, default in (("devices", 10), ("registered", 10_000), ("runs", 3), ("seconds", 10)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--at", nargs="+", default=["01:30", "12:00", "23:30"], metavar="TIME")
    options.add_argument("--platform", action="store_true")
    given, _ = options.parse_known_args()
    with database() as url, tempfile.TemporaryDirectory() as folder:
        seconds = timed(lambda: fill_closed_days(url, given.days, given.devices, given.registered))
        print(f"filled with {given.devices} devices x {given.days} days in {seconds:.0f} s", flush=True)
        engine = open_engine(Settings.load(), pool_size=1)
        with Session(engine) as session:
            key = access.create_key(session, "benchmark", "read")
            session.commit()
        engine.dispose()
        since = midnight(TODAY)
        times = [datetime.fromisoformat(f"{TODAY}T{at}Z") for at in sorted(given.at)]
        for now in [datetime.now(UTC)] if given.platform else times:
            fill_today(url, given.devices, since, now)
            since = now
            print(f"at {now:%H:%M} UTC", flush=True)
            _measure(url, now, key, Path(folder), given)


def _measure(url: str, now: datetime, key: str, folder: Path, given: argparse.Namespace) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    run = _platform if given.platform else alone
    with (
        mock.patch.dict(os.environ, API_PORT=str(port), API_RATE_LIMIT="0"),
        run(address, url, folder, now) as process,
        httpx.Client(
            base_url=address,
            headers={"X-API-Key": key},
            timeout=60,
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=32),
        ) as client,
    ):
        _ask(client, url, process, now, given)
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        assert peak
        print(f"API process: {int(peak[1]) / 1000:.0f} MB at most")


@contextmanager
def alone(address: str, _: str, folder: Path, now: datetime) -> Iterator[psutil.Process]:
    """The API's process, beside PostgreSQL, with its clock set to `now`."""
    ready = lambda: httpx.get(f"{address}/health", timeout=2).raise_for_status()  # noqa: E731
    command = [sys.executable, "-m", "benchmarks.clock", now.isoformat(), "serving"]
    with started(command, ready, folder / "api.log") as process:
        yield psutil.Process(process.pid)


@contextmanager
def _platform(address: str, url: str, folder: Path, _: datetime) -> Iterator[psutil.Process]:
    """The API's process as one of the platform's, while ten machines send ten readings a second together.

    What a start has to do, such as to tell Dagster of every device, has a minute to end in.
    """
    energy = Path(sys.executable).with_name("energy")
    ports = {name: str(free_port()) for name in ("DAGSTER_PORT", "MQTT_BROKER_PORT", "INGEST_METRICS_PORT")}
    ready = lambda: httpx.get(f"{address}/ready", timeout=2).raise_for_status()  # noqa: E731
    with (
        mock.patch.dict(os.environ, ports, DATABASE_URL=url),
        started([energy, "up"], ready, folder / "platform.log") as platform,
        started([energy, "simulate"], lambda: True, folder / "machines.log"),
    ):
        is_quiet = any(psutil.cpu_percent(interval=5) < 50 for _ in range(12))
        print(
            f"the platform runs beside it and {'leaves' if is_quiet else 'does not leave'} half of the processors idle"
        )
        yield next(p for p in psutil.Process(platform.pid).children(recursive=True) if "serving" in p.cmdline())


def _ask(client: httpx.Client, url: str, server: psutil.Process, now: datetime, given: argparse.Namespace) -> None:
    days, first = given.days, TODAY - timedelta(days=given.days)
    period = f"start_time={first}T00:00:00Z&end_time={TODAY}T00:00:00Z"
    until_now = f"start_time={now - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}&end_time={now:%Y-%m-%dT%H:%M:%SZ}"
    files = f"'{Settings.load().energy_home}/objects/datasets/device-1/*.parquet'"
    figures = ", ".join(f"count({m}), min({m}), max({m}), avg({m}), sum({m})" for m in NAMED)
    means = ", ".join(f"avg({m})" for m in NAMED)
    data = "/api/v1/data"
    ids = [f"device-{i + 1}" for i in range(given.devices)]
    latest = [f"{data}/telemetry/{name}?{period}" for name in ids]
    statistics = [f"{data}/stats/{name}?{period}" for name in ids]
    newest = [f"{data}/stats/{name}?{until_now}" for name in ids]
    page = ["/api/v1/devices?page_size=100&page=50"]
    turns = zip(latest, statistics, newest, page * len(ids), strict=True)
    by_turns = [path for turn in turns for path in turn]
    _load(client, by_turns, 3)
    with psycopg.connect(url, autocommit=True) as connection:

        def sql(query: str, *values: object) -> Callable[[], object]:
            return lambda: connection.execute(query, values or None).fetchall()

        def files_alone(query: str) -> Callable[[], object]:
            return lambda: duckdb.execute(query).fetchall()

        questions: list[tuple[str, int, list[str], Callable[[], object]]] = [
            ("latest 1,000 readings", 50, latest, sql(LATEST, first, TODAY)),
            (
                f"statistics of {days} days", 100, statistics,
                files_alone(f"SELECT {figures} FROM read_parquet({files})"),
            ),
            (
                f"statistics of {days} days that end now", 100, newest,
                files_alone(f"SELECT {figures} FROM read_parquet({files})"),
            ),
            ("page of 100 of the devices", 30, page, sql(PAGE)),
        ]  # fmt: skip
        for name, bar, paths, alone in questions:
            plain = [timed(alone) for _ in range(20)]
            before = sum(server.cpu_times()[:2])
            runs = [_load(client, paths, given.seconds) for _ in range(given.runs)]
            used = (sum(server.cpu_times()[:2]) - before) / sum(map(len, runs))
            took = sorted(runs, key=_p99)[len(runs) // 2]
            _tell(name, took, bar)
            print(f"    processor of the API {used * 1000:.1f} ms a request")
            print(f"    alone {spread(plain)}; median / alone {median(took) / median(plain):.2f}")
    mixed = _load(client, by_turns, given.seconds)
    for i, (name, bar, _, _) in enumerate(questions):
        _tell(f"{name}, the four by turns", mixed[i::4], bar)
    path = f"{data}/telemetry/device-1?{period}&interval=5m&aggregate=mean&limit=10000"
    query = f"SELECT time_bucket(INTERVAL 5 minutes, timestamp) AS w, count(*), {means} FROM read_parquet({files})"
    answers = [timed(lambda: client.get(path).raise_for_status()) for _ in range(8)]
    plain = [timed(files_alone(f"{query} GROUP BY w ORDER BY w")) for _ in range(8)]
    say(f"5-minute means of {days} days", spread(answers), "under 1 s", met=max(answers) < 1)
    print(f"    the first of a process {answers[0]:.2f} s, which loads DuckDB")
    print(f"    DuckDB over the files alone {spread(plain)}; median / alone {median(answers) / median(plain):.2f}")
    year = f"start_time={TODAY - YEAR}T00:00:00Z&end_time={TODAY}T00:00:00Z&interval=day"
    for name in ("power", "register"):
        path = f"{data}/energy/year-of-{name}?{year}"
        answers = [timed(lambda path=path: client.get(path).raise_for_status()) for _ in range(8)]  # type: ignore[misc] # called at once
        say(f"energy by day over a year, from {name}", spread(answers), "under 0.2 s", met=max(answers) < 0.2)


def _p99(took: Sequence[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]


def _tell(name: str, took: Sequence[float], bar: int) -> None:
    """The distribution of answers, and whether its 99th percentile is under the bar (ms)."""
    sorted_ms = [seconds * 1000 for seconds in sorted(took)]
    half, p90, p99 = (sorted_ms[int(len(took) * part)] for part in (0.5, 0.9, 0.99))
    spread_ms = f"median {half:.1f}, p90 {p90:.1f}, p99 {p99:.1f}, longest {sorted_ms[-1]:.1f} ms"
    say(f"{name}, {RATE}/s", spread_ms, f"p99 under {bar} ms", met=p99 < bar)


def _load(client: httpx.Client, paths: Sequence[str], seconds: int) -> list[float]:
    """Seconds of each answer from when it was due, at `RATE` a second whatever the answers take."""
    with ThreadPoolExecutor(32) as pool:
        for path in paths:
            client.get(path).raise_for_status()
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


if __name__ == "__main__":
    main()
