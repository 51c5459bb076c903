"""Sensors that keep jobs going: they launch jobs that have no run, and fail jobs whose run has died."""

import json
from datetime import timedelta

import dagster as dg
from sqlmodel import Session

from orchestration.analyses.results import analysis_jobs
from orchestration.jobs.exports import export_job
from orchestration.jobs.fleet_reports import fleet_report_job
from orchestration.jobs.reports import report_job
from orchestration.partitions import devices
from orchestration.resources import Platform
from orchestration.runs import UNFINISHED, WATCHED_TAG
from storage import jobs, liveness
from storage.job_runs import DEVICE_PARTITIONS, JOB_ID_TAG, dagster_job_of, partition_of, run_tags
from storage.jobs import JOB_TABLES, MAX_LAUNCHES, Job
from storage.settings import Settings
from storage.times import utc_now

# The API launches jobs itself. Within this time such a run has started and claimed its job.
LAUNCH_TIMEOUT = timedelta(seconds=30)
# A run is dead if its lock is free for so long. A restarted database needs less to get the locks back.
DEAD_AFTER = timedelta(seconds=8)
PROCESS_GONE = "the process of the run is gone"
# How Dagster's messages about the end of a run begin, and what they mean to who asked for the job.
_ENDS = {
    "This run has been marked as failed from outside": "its process was killed, perhaps for lack of memory",
    "Execution of run for": "an error in the platform; its log in Dagster says more",
}
_CANCELED = "it was canceled in Dagster"


@dg.sensor(
    jobs=[export_job, report_job, fleet_report_job, *analysis_jobs],
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Launches jobs that were requested while Dagster was down, and jobs whose run died before it started.",
)
def launch_waiting_jobs(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    with platform.session() as session:
        before = utc_now() - LAUNCH_TIMEOUT
        waiting = [job for table in JOB_TABLES for job in jobs.waiting(session, table, before)]
        without_run = [job for job in waiting if not _has_run(context.instance, job)]
        for job in without_run:
            if job.launches < MAX_LAUNCHES:
                jobs.note_launch(session, job, None)
            else:
                jobs.fail(session, job, f"its {MAX_LAUNCHES} runs died before they started; see Dagster's runs")
        session.commit()
    launched = [job for job in without_run if job.status == "pending"]
    if not launched:
        return dg.SkipReason("No job is waiting for a run.")
    known = context.instance.get_dynamic_partitions(DEVICE_PARTITIONS)
    new_devices = sorted({name for name in map(partition_of, launched) if name is not None}.difference(known))
    return dg.SensorResult(
        run_requests=[_run_request(job, platform.settings) for job in launched],
        dynamic_partitions_requests=[devices.build_add_request(new_devices)],
    )


def _has_run(instance: dg.DagsterInstance, job: Job) -> bool:
    return bool(instance.get_runs(dg.RunsFilter(tags={JOB_ID_TAG: job.job_id}, statuses=UNFINISHED), limit=1))


def _run_request(job: Job, settings: Settings) -> dg.RunRequest:
    return dg.RunRequest(job_name=dagster_job_of(job), partition_key=partition_of(job), tags=run_tags(job, settings))


@dg.sensor(
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fails runs whose process is gone without a trace: it was killed together with its parent, or its"
    " machine failed.",
)
def end_dead_runs(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SkipReason:
    """Fail runs whose lock stays free; the cursor holds since when, by run id."""
    free_since: dict[str, float] = json.loads(context.cursor or "{}")
    now = utc_now().timestamp()
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={WATCHED_TAG: "yes"})
    suspects: dict[str, float] = {}
    with platform.session() as session:
        for run in context.instance.get_runs(started):
            if liveness.is_alive(session, run.run_id):
                continue
            since = free_since.get(run.run_id, now)
            if now - since < DEAD_AFTER.total_seconds():
                suspects[run.run_id] = since
            else:
                _fail_jobs(session, run.run_id, PROCESS_GONE)
                context.instance.report_run_failed(run, PROCESS_GONE)
    context.update_cursor(json.dumps(suspects))
    return dg.SkipReason(f"{len(suspects)} runs may be dead." if suspects else "All runs are alive.")


def _fail_jobs(session: Session, run_id: str, reason: str) -> None:
    """Fail and commit the jobs that the run has claimed and not ended."""
    for job in jobs.claimed_by(session, run_id):
        jobs.fail(session, job, f"its run {run_id} ended: {reason}")
    session.commit()


def _note_end(context: dg.RunStatusSensorContext, platform: Platform) -> None:
    with platform.session() as session:
        _fail_jobs(session, context.dagster_run.run_id, _reason(context.dagster_event))


def _reason(end: dg.DagsterEvent) -> str:
    if end.event_type is dg.DagsterEventType.RUN_CANCELED:
        return _CANCELED
    message = end.message or "no reason was given"
    return next((meaning for begin, meaning in _ENDS.items() if message.startswith(begin)), message)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.FAILURE,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fails the jobs of a run that failed or was killed, with the reason.",
)
def note_failed_runs(context: dg.RunStatusSensorContext, platform: Platform) -> None:
    _note_end(context, platform)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.CANCELED,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fails the jobs of a run that was canceled in Dagster, with the reason.",
)
def note_canceled_runs(context: dg.RunStatusSensorContext, platform: Platform) -> None:
    _note_end(context, platform)
