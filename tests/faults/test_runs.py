"""Runs of Dagster, and what runs them, killed at work: every job's row ends truthfully, no file is half or missing.

A run is held at work by a lock in the database, so that it is killed in the middle of it and not by chance.
"""

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any
from unittest.mock import patch

import httpx
import psutil
import psycopg
import pytest
from sqlmodel import select

from assets.datasets.export import export_day
from orchestration.resources import Platform
from storage import catalogue, dirty_days
from storage.catalogue import Dataset
from storage.devices import Device
from storage.settings import Settings
from storage.stores import Stores
from tests.cli.conftest import (
    LocalPlatform,
    end,
    platform as platform,  # noqa: PLC0414 - a fixture
)
from tests.support.plant import DAY, DAY_MINUTES, reading, store
from tests.support.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Plant:
    """A platform at work, its stores, and its API."""

    def __init__(self, platform: LocalPlatform) -> None:
        self.platform = platform
        self.process = platform.up()
        with patch.dict(os.environ, platform.environment):
            self.settings = Settings.load()
        self.rest = httpx.Client(base_url=platform.api, timeout=30)  # a busy machine

    def fill(self) -> None:
        """D1 has a closed day with a file, and two without."""
        with self.stores() as stores:
            stores.session.add(Device(device_id="D1", device_name="Pump", device_type="pump"))
            store(stores, *(reading(m, power=100 + m % 60, voltage=230 + m % 7) for m in range(DAY_MINUTES)))
            export_day(stores, "D1", DAY)
            store(stores, reading(DAY_MINUTES), reading(2 * DAY_MINUTES))

    @contextmanager
    def stores(self) -> Iterator[Stores]:
        with patch.dict(os.environ, self.platform.environment), Platform().stores() as stores:
            yield stores

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.settings.database_url) as connection:
            yield connection

    @contextmanager
    def held(self, device_id: str, day: str) -> Iterator[None]:
        """No export of the device's day gets further than its beginning."""
        with self.connection() as connection:
            connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"export/{device_id}/{day}",))
            yield

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.rest.post(path, json=body).raise_for_status().json()
        return answer

    def export(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.rest.get("/api/v1/exports/status/D1").json()
        return answer

    def analysis(self, job_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.rest.get(f"/api/v1/analytics/status/{job_id}").json()
        return answer

    def process_of(self, dagster_job: str, job_id: str | None = None) -> int:
        """The process of the run that is at work, for that job."""
        query = """
            SELECT substring(event FROM 'Started process for run \\(pid: ([0-9]+)')::int
            FROM dagster.event_logs JOIN dagster.runs r USING (run_id)
            WHERE r.status = 'STARTED' AND r.pipeline_name = %s AND position('Started process for run' IN event) > 0
            AND (%s::text IS NULL OR position(%s IN r.run_body) > 0)"""
        found: list[int] = []

        def known() -> bool:
            with self.connection() as connection:
                found.extend(pid for (pid,) in connection.execute(query, (dagster_job, job_id, job_id)))
            return bool(found)

        wait_until(known, f"a run of {dagster_job} is at work", 120)
        return found[0]

    def pid(self, part: str) -> int:
        return next(int(p["pid"]) for p in self.platform.status()["parts"] if p["name"] == part)

    def assert_files_are_whole(self) -> None:
        """Each is the one that the catalogue tells of, once; nothing waits."""
        with self.stores() as stores:
            made = stores.session.exec(select(Dataset).where(Dataset.superseded_at == None)).all()  # noqa: E711
            files = stores.objects.list("datasets")
            assert {d.key: d.sha256 for d in made} == {
                o.key: hashlib.sha256(stores.objects.get(o.key)).hexdigest() for o in files
            }
            assert len({d.key for d in made}) == len(made)


@pytest.fixture(scope="module")
def plant(platform: LocalPlatform) -> Iterator[Plant]:
    """Sensors look every few seconds."""
    platform.environment["EXPORT_INTERVAL_SECONDS"] = "5"
    plant = Plant(platform)
    plant.fill()
    yield plant
    plant.rest.close()
    end(plant.process)


def analyse(plant: Plant) -> str:
    key = "datasets/D1/20260212_20260212.parquet"
    job = plant.post("/api/v1/analytics/run", device_id="D1", analysis_type="anomaly", model_name="isolation_forest",
                     dataset_key=key)  # fmt: skip
    return str(job["job_id"])


@contextmanager
def an_analysis_at_work(plant: Plant) -> Iterator[str]:
    """It runs, and gets no further than to say how far it is."""
    with plant.connection() as holder:
        job_id = analyse(plant)

        def held_while_running() -> bool:
            found = holder.execute(
                "SELECT 1 FROM analytics_jobs WHERE job_id = %s AND status = 'running' FOR UPDATE", (job_id,)
            ).fetchone()
            if found is None:
                holder.rollback()
            return found is not None

        wait_until(held_while_running, "the analysis runs")
        yield job_id


def test_a_run_and_the_daemon_killed_in_an_export(plant: Plant) -> None:
    """The daemon that is started again notes how the run ended; the next export makes good what the run left."""
    range_ = {"device_id": "D1", "start_date": "2026-02-12", "end_date": "2026-02-14"}
    with plant.held("D1", "2026-02-14"):
        job = plant.post("/api/v1/exports/run", **range_)
        wait_until(lambda: plant.export()["message"] == "Exporting 2026-02-14", "the export is in its middle")
        for victim in (plant.pid("daemon"), plant.process_of("export_job", job["job_id"])):
            os.kill(victim, signal.SIGKILL)
        # A run goes on without a daemon, and begins without one.
        completed = analyse(plant)
        wait_until(lambda: plant.analysis(completed)["status"] == "completed", "an analysis is completed", 120)
        wait_until(lambda: plant.export()["status"] == "failed", "the job is failed", 120)
    assert plant.export()["error_message"].startswith("its run ")
    plant.assert_files_are_whole()
    plant.post("/api/v1/exports/run", **range_)
    wait_until(lambda: plant.export()["status"] == "completed", "the next one completes", 120)
    assert plant.export()["record_count"] == DAY_MINUTES + 2
    plant.assert_files_are_whole()


def test_a_run_killed_in_an_analysis(plant: Plant) -> None:
    with an_analysis_at_work(plant) as job_id:
        os.kill(plant.process_of("anomaly_job", job_id), signal.SIGKILL)
    wait_until(lambda: plant.analysis(job_id)["status"] == "failed", "the job is failed", 120)
    assert plant.analysis(job_id)["error_message"].startswith("its run ")
    assert plant.rest.get(f"/api/v1/analytics/results/{job_id}").status_code == 409


def test_everything_killed_while_runs_are_at_work(plant: Plant, open_day: date) -> None:
    """As a machine that loses power: nobody is left who saw the runs die, a job's and the cadence's."""
    with plant.held("D1", open_day.isoformat()), an_analysis_at_work(plant) as job_id:
        with plant.stores() as stores:
            store(stores, reading((open_day - DAY).days * DAY_MINUTES))
        # The code server first, which would notice that its runs died.
        runs = plant.process_of("anomaly_job", job_id), plant.process_of("dataset_job")
        code = psutil.Process(plant.pid("code"))
        victims = code.pid, *(child.pid for child in code.children()), *runs, plant.process.pid
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        plant.process.wait()
    wait_until(lambda: not plant.platform.processes(), "no process is left")
    plant.process = plant.platform.up()
    wait_until(lambda: plant.analysis(job_id)["status"] == "failed", "the job is failed", 120)
    assert plant.analysis(job_id)["error_message"].endswith("the process of the run is gone")

    def exported() -> bool:
        with plant.stores() as stores:
            found = catalogue.datasets_of(stores.session, "D1", start=open_day)
            return [d.rows for d in found] == [1] and not dirty_days.waiting(stores.session)

    wait_until(exported, "the next tick made the file", 120)
    plant.assert_files_are_whole()


def test_a_cancelled_job_leaves_no_traceback_in_the_log(plant: Plant) -> None:
    # Runs that other tests have killed left theirs.
    before = {path: path.stat().st_size for path in plant.platform.home.glob("logs/*.log")}
    with plant.held("D1", "2026-02-14"):
        with plant.stores() as stores:
            store(stores, reading(2 * DAY_MINUTES + 1))
        job = plant.post("/api/v1/exports/run", device_id="D1", start_date="2026-02-12", end_date="2026-02-14")
        wait_until(lambda: plant.export()["message"] == "Exporting 2026-02-14", "the export is in its middle")
        plant.post(f"/api/v1/exports/jobs/{job['job_id']}/cancel")

        def ended() -> bool:
            with plant.connection() as connection:
                query = "SELECT status FROM dagster.runs WHERE position(%s IN run_body) > 0"
                found = connection.execute(query, (job["job_id"],)).fetchall()
            return [status for (status,) in found] == ["CANCELED"]

        wait_until(ended, "the run is cancelled", 120)
    assert plant.export()["status"] == "cancelled"
    logs = "".join(path.read_bytes()[size:].decode() for path, size in before.items())
    assert "was cancelled" in logs
    assert "Stack Trace" not in logs
