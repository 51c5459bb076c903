from datetime import timedelta

import dagster as dg
import pytest
from sqlmodel import Session

from orchestration.jobs import sensors
from orchestration.resources import Platform
from storage import jobs
from storage.job_runs import JOB_ID_TAG
from storage.jobs import MAX_LAUNCHES, AnalyticsJob, ExportJob, Job, new_job_id
from storage.stores import Stores
from storage.times import utc_now


def asked(session: Session, job: Job, seconds_ago: float = 60) -> Job:
    job.updated_at = utc_now() - timedelta(seconds=seconds_ago)
    session.add(job)
    session.commit()
    return job


def analysis() -> AnalyticsJob:
    return AnalyticsJob(
        job_id=new_job_id(AnalyticsJob), device_id="D1", analysis_type="forecast", model_name="any",
        date_range_start=utc_now(), date_range_end=utc_now(),
    )  # fmt: skip


def tick(instance: dg.DagsterInstance, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    with dg.build_sensor_context(instance=instance, resources={"platform": platform}) as context:
        answer = sensors.launch_waiting_jobs(context)
    assert isinstance(answer, dg.SensorResult | dg.SkipReason)
    return answer


def test_jobs_that_nobody_started_are_launched(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    assert isinstance(tick(instance, platform), dg.SkipReason)
    export = asked(stores.session, ExportJob(job_id=new_job_id(ExportJob), device_id="D1"))
    forecast = asked(stores.session, analysis())
    asked(stores.session, ExportJob(job_id=new_job_id(ExportJob), device_id="D1"), seconds_ago=1)
    answer = tick(instance, platform)
    assert isinstance(answer, dg.SensorResult)
    launched = {r.tags[JOB_ID_TAG]: (r.job_name, r.partition_key) for r in answer.run_requests or ()}
    assert launched == {export.job_id: ("export_job", None), forecast.job_id: ("forecast_job", "D1")}
    assert [list(r.partition_keys) for r in answer.dynamic_partitions_requests or ()] == [["D1"]]
    assert isinstance(tick(instance, platform), dg.SkipReason)  # they were launched a moment ago


def test_a_job_whose_runs_keep_dying_is_given_up(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    job = asked(stores.session, ExportJob(job_id=new_job_id(ExportJob), device_id="D1", launches=MAX_LAUNCHES))
    assert isinstance(tick(instance, platform), dg.SkipReason)
    stores.session.refresh(job)
    assert job.status == "failed"
    assert job.error_message == "its 5 runs died before they started; see Dagster's runs"


def test_a_job_with_a_run_on_its_way_is_left_alone(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance
) -> None:
    job = asked(stores.session, ExportJob(job_id=new_job_id(ExportJob), device_id="D1"))
    instance.add_run(
        dg.DagsterRun(job_name="export_job", status=dg.DagsterRunStatus.STARTED, tags={JOB_ID_TAG: job.job_id})
    )
    assert isinstance(tick(instance, platform), dg.SkipReason)


def test_a_job_is_told_that_its_run_died(stores: Stores, platform: Platform, instance: dg.DagsterInstance) -> None:
    job = asked(stores.session, ExportJob(job_id=new_job_id(ExportJob), device_id="D1"))

    @dg.op
    def dies() -> None:
        raise RuntimeError("out of memory")

    @dg.job
    def export_job() -> None:
        dies()

    result = export_job.execute_in_process(instance=instance, tags={JOB_ID_TAG: job.job_id}, raise_on_error=False)
    jobs.claim(stores.session, ExportJob, job.job_id, result.run_id)
    stores.session.commit()
    with dg.build_run_status_sensor_context(
        "note_failed_runs", result.get_run_failure_event(), instance, result.dagster_run,
        resources={"platform": platform},
    ) as context:  # fmt: skip
        sensors.note_failed_runs(context)
    stores.session.refresh(job)
    assert job.status == "failed"
    assert job.error_message is not None
    assert job.error_message.startswith(f"its run {result.run_id} ended: ")


@pytest.mark.parametrize(
    ("is_canceled", "words"),
    [(False, "its process was killed, perhaps for lack of"), (True, "it was canceled in Dagst")],
)
def test_the_end_of_a_run_is_told_in_our_words(
    stores: Stores, platform: Platform, instance: dg.DagsterInstance, words: str, *, is_canceled: bool
) -> None:
    job = asked(stores.session, ExportJob(job_id=new_job_id(ExportJob), device_id="D1"))
    run = instance.add_run(
        dg.DagsterRun(job_name="export_job", status=dg.DagsterRunStatus.STARTED, tags={JOB_ID_TAG: job.job_id})
    )
    jobs.claim(stores.session, ExportJob, job.job_id, run.run_id)
    stores.session.commit()
    end = instance.report_run_canceled(run) if is_canceled else instance.report_run_failed(run)
    sensor = sensors.note_canceled_runs if is_canceled else sensors.note_failed_runs
    with dg.build_run_status_sensor_context(
        sensor.name, end, instance, run, resources={"platform": platform}
    ) as context:  # fmt: skip
        sensor(context)
    stores.session.refresh(job)
    assert job.error_message is not None
    assert job.error_message.startswith(f"its run {run.run_id} ended: {words}")
