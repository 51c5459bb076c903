"""From asking for an analysis over REST to reading there that it runs, one job after the other on an idle platform.

`energy up` with one device and one closed day, embedded first: each run is a new process. Then the Celery profile: the
same platform, a Redis and two warm workers. The baseline is Dagster's own part, from the run's entry in its storage to
the run's start; what is left is ours: the POST and the claim of the job's row, and up to `LOOK` seconds until it is
seen. `--jobs N` for each profile (12); `--only embedded` or `celery`.
"""

import argparse
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import httpx
import psycopg

from assets.datasets.export import export_day
from benchmarks.floors import say, spread
from benchmarks.load import folder
from orchestration.resources import Platform
from storage.devices import Device
from storage.settings import Settings
from tests.cli.conftest import LocalPlatform, end
from tests.support.plant import DAY, DAY_MINUTES, reading, store
from tests.support.workers import celery_workers, redis

BARS = {"embedded": 4.0, "celery": 1.0}
WORKERS = 2
LOOK = 0.03  # seconds between two looks
JOB_TIMEOUT_SECONDS = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--only", choices=list(BARS))
    asked, _ = parser.parse_known_args()
    for profile, bar in BARS.items():
        if asked.only in (None, profile):
            measure(profile, bar, asked.jobs)


def measure(profile: str, bar: float, count: int) -> None:
    with folder() as place, running(profile, place) as platform:
        key = one_day(platform)
        pauses = random.Random(4)
        with httpx.Client(base_url=platform.api) as rest:
            running_after: list[float] = []
            for i in range(count + WORKERS):
                seconds = once(rest, key, i)
                if i >= WORKERS:  # the first ones warm the workers' processes
                    running_after.append(seconds)
                time.sleep(pauses.uniform(1, 2))  # in step with nothing
        in_dagster = dagsters_part(platform, count)
    ratio = median(running_after) / median(in_dagster)
    print(f"{profile}: {count} analyses, run started in Dagster after {spread(in_dagster, 's')}", flush=True)
    print(f"  seen running after {spread(running_after, 's')}, {ratio:.2f} times that")
    say("p50 of POST to running", f"{median(running_after):.2f} s", f"below {bar:g} s", met=median(running_after) < bar)


@contextmanager
def running(profile: str, place: Path) -> Iterator[LocalPlatform]:
    """A platform that is ready, with its workers where the profile has some."""
    platform = LocalPlatform(place)
    if profile == "embedded":
        process = platform.up()
        try:
            yield platform
        finally:
            end(process)
        return
    with redis(place) as broker:
        platform.environment["CELERY_BROKER_URL"] = broker
        process = platform.up()
        try:
            variables = {**platform.environment, "DAGSTER_HOME": str(place / "dagster")}
            with celery_workers(broker, place, WORKERS, variables):
                yield platform
        finally:
            end(process)


def one_day(platform: LocalPlatform) -> str:
    """Register a device with a closed day of readings; the key of its dataset."""
    with patch.dict(os.environ, platform.environment), Platform().stores() as stores:
        stores.session.add(Device(device_id="D1", device_name="Pump", device_type="pump"))
        store(stores, *(reading(m, power=100 + m % 60, voltage=230 + m % 7) for m in range(DAY_MINUTES)))
        exported = export_day(stores, "D1", DAY)
        assert exported is not None
    return exported.dataset.key


def once(rest: httpx.Client, key: str, number: int) -> float:
    """Ask for one analysis; seconds until its status is not pending any more. Returns when it is over."""
    body = {"device_id": "D1", "analysis_type": "anomaly", "model_name": "isolation_forest", "dataset_key": key,
            "parameters": {"seed": number}}  # fmt: skip
    began = time.perf_counter()
    job_id = rest.post("/api/v1/analytics/run", json=body).raise_for_status().json()["job_id"]
    seconds = None
    while time.perf_counter() - began < JOB_TIMEOUT_SECONDS:
        job = rest.get(f"/api/v1/analytics/status/{job_id}").raise_for_status().json()
        if seconds is None and job["status"] != "pending":
            seconds = time.perf_counter() - began
        if seconds is not None and job["status"] not in ("pending", "running"):
            assert job["status"] == "completed", job["error_message"]
            return seconds
        time.sleep(LOOK)
    raise TimeoutError(f"{job_id} did not end within {JOB_TIMEOUT_SECONDS:g} s")


def dagsters_part(platform: LocalPlatform, count: int) -> list[float]:
    """Seconds from the entry of each of the newest jobs' runs to its start, as Dagster recorded them."""
    with patch.dict(os.environ, platform.environment):
        url = Settings.load().database_url
    query = """
        SELECT start_time - extract(epoch FROM create_timestamp AT TIME ZONE 'UTC')::float8
        FROM dagster.runs WHERE pipeline_name = 'anomaly_job' ORDER BY id DESC LIMIT %s"""
    with psycopg.connect(url) as connection:
        return [seconds for (seconds,) in connection.execute(query, (count,))]


if __name__ == "__main__":
    main()
