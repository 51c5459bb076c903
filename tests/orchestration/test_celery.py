"""The Celery profile with a real Redis and two worker processes."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher import LaunchRunContext
from sqlmodel import Session

from cli.local import dagster_home
from storage.job_runs import JOB_ID_TAG
from storage.jobs import ExportJob, new_job_id
from storage.settings import CHECKOUT, Settings
from storage.stores import Stores
from tests.support.plant import reading, store
from tests.support.servers import wait_until
from tests.support.workers import celery_workers, redis

DIFFERENT = {"run_launcher", "compute_logs", "concurrency"}


def configuration(file: str) -> dict[str, object]:
    read: dict[str, object] = yaml.safe_load((CHECKOUT / file).read_text())
    return read


def test_the_profile_differs_in_its_launcher_alone() -> None:
    usual, celery = configuration("dagster.yaml"), configuration("deploy/dagster.celery.yaml")
    assert {k: v for k, v in celery.items() if k not in DIFFERENT} == {
        k: v for k, v in usual.items() if k not in DIFFERENT
    }


@pytest.fixture
def celery(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster that launches on Celery, with two workers."""
    with redis(tmp_path) as broker:
        monkeypatch.setenv("CELERY_BROKER_URL", broker)
        settings.energy_home.mkdir()
        home = dagster_home.prepare(Settings.load())
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        with celery_workers(broker, tmp_path, 2), dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance


def launch(instance: dg.DagsterInstance, job: ExportJob) -> None:
    """As the daemon does with a queued run."""
    repository = ReconstructableRepository.for_module("orchestration.definitions", "defs")
    export_job = repository.get_reconstructable_job("export_job")
    run = instance.create_run_for_job(
        export_job.get_definition(), tags={JOB_ID_TAG: job.job_id}, job_code_origin=export_job.get_python_origin()
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, None))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Task name")  # each launch defines its task anew
def test_jobs_run_on_two_workers(celery: dg.DagsterInstance, stores: Stores, tmp_path: Path) -> None:
    store(stores, *(reading(0, f"D{i}") for i in range(6)))
    asked = [ExportJob(job_id=new_job_id(ExportJob), device_id=f"D{i}") for i in range(6)]
    stores.session.add_all(asked)
    stores.session.commit()
    for job in asked:
        launch(celery, job)
    with Session(stores.session.get_bind()) as session:

        def all_completed() -> bool:
            session.rollback()
            return {session.get_one(ExportJob, job.id).status for job in asked} == {"completed"}

        wait_until(all_completed, "all exports are completed", 120)
    succeeded = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
    wait_until(lambda: celery.get_runs_count(succeeded) == len(asked), "all runs have ended")
    logs = list(tmp_path.glob("worker*.log"))
    wait_until(lambda: all("succeeded" in log.read_text() for log in logs), "both workers did some")
