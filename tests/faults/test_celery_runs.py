"""Celery workers killed at work, with a real Redis and two of them: as in test_runs.py, rows and files stay true."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import (
    LocalPlatform,
    end,
    platform as platform,  # noqa: PLC0414 - a fixture
)
from tests.faults.test_runs import Plant
from tests.support.plant import DAY_MINUTES
from tests.support.servers import wait_until
from tests.support.workers import celery_workers, redis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RANGE = {"device_id": "D1", "start_date": "2026-02-12", "end_date": "2026-02-14"}
Workers = dict[Path, subprocess.Popen[bytes]]


@contextmanager
def at_work(platform: LocalPlatform) -> Iterator[tuple[Plant, Workers]]:
    home = platform.home
    with redis(home) as broker:
        platform.environment["CELERY_BROKER_URL"] = broker
        plant = Plant(platform)
        try:
            plant.fill()
            variables = {**platform.environment, "DAGSTER_HOME": str(home / "dagster")}
            with celery_workers(broker, home, 2, variables) as workers:
                yield plant, workers
        finally:
            plant.rest.close()
            end(plant.process)


def worker_of(plant: Plant, workers: Workers) -> psutil.Process:
    """The one that does the export."""
    query = """
        SELECT value FROM dagster.run_tags JOIN dagster.runs USING (run_id)
        WHERE key = 'dagster-celery/task_id' AND status = 'STARTED' AND pipeline_name = 'export_job'"""
    with plant.connection() as connection:
        (task,) = (task for (task,) in connection.execute(query))
    (log,) = (log for log in workers if f"[{task}] received" in log.read_text())
    return psutil.Process(workers[log].pid)


def test_a_worker_killed_in_an_export_and_the_process_of_another(platform: LocalPlatform) -> None:
    """One dies as with its machine: nobody says so, and the liveness sensor fails its run. Of the other the process
    that does the run dies, as of too little memory: the worker says so, and goes on with a new one.
    """
    with at_work(platform) as (plant, workers):
        for whole in (True, False):
            with plant.held("D1", "2026-02-14"):
                plant.post("/api/v1/exports/run", **RANGE)
                wait_until(lambda: plant.export()["message"] == "Exporting 2026-02-14", "the export is in its middle")
                worker = worker_of(plant, workers)
                processes = worker.children(recursive=True)
                for victim in [worker, *processes] if whole else processes:
                    victim.kill()
                wait_until(lambda: plant.export()["status"] == "failed", "the job is failed", 120)
            told = plant.export()["error_message"]
            assert told.startswith("its run ")
            assert told.endswith("the process of the run is gone") == whole
            plant.assert_files_are_whole()
        plant.post("/api/v1/exports/run", **RANGE)
        wait_until(lambda: plant.export()["status"] == "completed", "the next one completes", 120)
        assert plant.export()["record_count"] == DAY_MINUTES + 2
        plant.assert_files_are_whole()
