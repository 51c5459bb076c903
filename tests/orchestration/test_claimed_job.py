"""How a job ends whose run is interrupted, as a cancellation does it."""

from typing import Any

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select, update

from orchestration.analyses import results
from orchestration.claimed_job import ClaimedJob
from orchestration.definitions import defs
from storage.job_runs import JOB_ID_TAG
from storage.jobs import AnalyticsJob, new_job_id
from storage.telemetry import StoreUnavailable
from storage.times import midnight
from tests.support.plant import DAY


def add_job(session: Session, instance: dg.DagsterInstance) -> str:
    """A job of D1, which is a partition, and its id."""
    instance.add_dynamic_partitions("devices", ["D1"])
    job_id = new_job_id(AnalyticsJob)
    session.add(
        AnalyticsJob(
            job_id=job_id, device_id="D1", analysis_type="anomaly", model_name="isolation_forest",
            date_range_start=midnight(DAY), date_range_end=midnight(DAY),
        )
    )  # fmt: skip
    session.commit()
    return job_id


@pytest.mark.parametrize("is_cancelled", [True, False])
@pytest.mark.usefixtures("platform")
def test_an_interrupted_job_says_so_and_a_cancelled_one_stays_cancelled(
    session: Session,
    kept_instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    *,
    is_cancelled: bool,
) -> None:
    def interrupted(_claimed: ClaimedJob[AnalyticsJob]) -> dict[str, Any]:
        if is_cancelled:
            session.exec(update(AnalyticsJob).where(col(AnalyticsJob.job_id) == job_id).values(status="cancelled"))
            session.commit()
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr(results, "perform_analysis", interrupted)
    job_id = add_job(session, kept_instance)
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        defs().resolve_job_def("anomaly_job").execute_in_process(
            partition_key="D1", instance=kept_instance, tags={JOB_ID_TAG: job_id}
        )
    session.expire_all()
    job = session.exec(select(AnalyticsJob)).one()
    printed = capfd.readouterr().err
    if is_cancelled:
        assert (job.status, job.error_message) == ("cancelled", None)
        assert f"{job_id} was cancelled" in printed
    else:
        assert (job.status, job.error_message) == ("failed", "its run was interrupted, or ended in Dagster")
        assert "was cancelled" not in printed


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("Column power does not exist"), "an error in the platform ended it; the log of run "),
        (StoreUnavailable("connection refused"), "a store did not answer; request it again in a moment"),
        (OperationalError("SELECT 1", {}, Exception("gone")), "a store did not answer; request it again in a moment"),
    ],
)
@pytest.mark.usefixtures("platform")
def test_an_error_that_nobody_expects_is_told_without_the_words_of_programs(
    session: Session, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fails(_claimed: ClaimedJob[AnalyticsJob]) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(results, "perform_analysis", fails)
    job_id = add_job(session, kept_instance)
    defs().resolve_job_def("anomaly_job").execute_in_process(
        partition_key="D1", instance=kept_instance, tags={JOB_ID_TAG: job_id}, raise_on_error=False
    )
    session.expire_all()
    job = session.exec(select(AnalyticsJob)).one()
    assert job.status == "failed"
    assert job.error_message is not None
    assert job.error_message.startswith(words)
    assert "Error" not in job.error_message
