import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator.base import SubmitRunContext

from orchestration.queue import ACTIVE, PromptRunCoordinator
from storage.job_runs import JOB_TAG, TENANT_TAG

ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("energy"), "__repository__"), "any")


def add_active(instance: dg.DagsterInstance, count: int, **tags: str) -> None:
    for _ in range(count):
        instance.add_run(dg.DagsterRun(job_name="any", status=dg.DagsterRunStatus.STARTED, tags=tags))


@pytest.fixture
def launched(kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that are launched; nothing comes of them."""
    run_ids: list[str] = []

    def launch(run_id: str, workspace: object) -> dg.DagsterRun | None:
        run_ids.append(run_id)
        return kept_instance.get_run_by_id(run_id)

    monkeypatch.setattr(kept_instance, "launch_run", launch)
    return run_ids


def submitted(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    run = instance.add_run(dg.DagsterRun(job_name="any", tags=tags, remote_job_origin=ORIGIN))
    assert isinstance(instance.run_coordinator, PromptRunCoordinator)
    return instance.run_coordinator.submit_run(SubmitRunContext(run, None))  # type: ignore[arg-type] # nothing is launched


def test_a_run_begins_at_once_where_there_is_room(kept_instance: dg.DagsterInstance, launched: list[str]) -> None:
    add_active(kept_instance, 2, **{JOB_TAG: "job"})
    assert launched == [submitted(kept_instance, **{JOB_TAG: "job"}).run_id]


def test_jobs_beyond_their_limit_wait_and_hold_nobody_else(
    kept_instance: dg.DagsterInstance, launched: list[str]
) -> None:
    add_active(kept_instance, 3, **{JOB_TAG: "job"})  # MAX_CONCURRENT_JOBS
    assert submitted(kept_instance, **{JOB_TAG: "job"}).status == dg.DagsterRunStatus.QUEUED
    assert launched == [submitted(kept_instance).run_id]


def test_of_one_tenants_jobs_there_is_always_room_for_another_tenants(
    kept_instance: dg.DagsterInstance, launched: list[str]
) -> None:
    acme, beta = {JOB_TAG: "report", TENANT_TAG: "acme"}, {JOB_TAG: "report", TENANT_TAG: "beta"}
    add_active(kept_instance, 2, **acme)
    assert submitted(kept_instance, **acme).status == dg.DagsterRunStatus.QUEUED
    assert launched == [submitted(kept_instance, **beta).run_id]


def test_runs_beyond_all_limits_wait_and_keep_their_turn(
    kept_instance: dg.DagsterInstance, launched: list[str]
) -> None:
    add_active(kept_instance, 5)
    assert submitted(kept_instance).status == dg.DagsterRunStatus.QUEUED
    kept_instance.delete_run(kept_instance.get_runs(limit=1, filters=ACTIVE)[0].run_id)
    assert submitted(kept_instance).status == dg.DagsterRunStatus.QUEUED
    assert launched == []


def test_a_run_that_cannot_be_launched_is_failed_and_its_submitter_goes_on(
    kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(context: object) -> None:
        raise ConnectionError("the broker is away")

    monkeypatch.setattr(kept_instance.run_launcher, "launch_run", away)
    assert submitted(kept_instance).status == dg.DagsterRunStatus.FAILURE
    assert "could not be launched" in caplog.text
