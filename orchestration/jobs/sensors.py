"""Nothing asked for is lost: jobs that nobody started are started, jobs whose run died are told so."""

import json
from datetime import timedelta

import dagster as dg
from sqlmodel import Session

from orchestration.analyses.results import analysis_jobs
from orchestration.datasets.cadence import UNFINISHED
from orchestration.jobs.exports import export_job
from orchestration.jobs.reports import report_job
from orchestration.resources import WATCHED_TAG, Platform
from storage import jobs, liveness
from storage.jobs import ID_TAG, KINDS, MAX_LAUNCHES, Job
from storage.times import utc_now

# Time for the run that the API launched to come up and claim its job.
PATIENCE = timedelta(seconds=30)
# A run whose process shows no life for so long has none: longer than a restart of the database takes it.
SILENCE = timedelta(seconds=8)
GONE = "the process that did it is gone"


@dg.sensor(
    jobs=[export_job, report_job, *analysis_jobs],
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the jobs that were asked for while Dagster was away, and those whose run died before it began.",
)
def launch_waiting_jobs(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    requests: list[dg.RunRequest] = []
    devices: list[str] = []
    with platform.session() as session:
        for kind in KINDS.values():
            for job in jobs.waiting(session, kind, utc_now() - PATIENCE):
                if _has_run(context.instance, job):
                    continue
                if job.launches >= MAX_LAUNCHES:
                    jobs.fail(session, job, f"its run died {job.launches} times before it began; see Dagster's runs")
                    continue
                tags = jobs.run_tags(job, platform.settings)
                requests.append(
                    dg.RunRequest(
                        job_name=jobs.dagster_job(job), partition_key=tags.pop("dagster/partition", None), tags=tags
                    )
                )
                devices.append(job.device_id)
                jobs.note_launch(session, job, None)
    if not requests:
        return dg.SkipReason("no job waits for a run")
    known = context.instance.get_dynamic_partitions("devices")
    new = sorted(set(devices).difference(known))
    partitions = dg.DynamicPartitionsDefinition(name="devices").build_add_request(new)
    return dg.SensorResult(run_requests=requests, dynamic_partitions_requests=[partitions])


def _has_run(instance: dg.DagsterInstance, job: Job) -> bool:
    return bool(instance.get_runs(dg.RunsFilter(tags={ID_TAG: job.job_id}, statuses=UNFINISHED), limit=1))


@dg.sensor(
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fails runs whose process is gone without a word: killed with all around it, or with its machine.",
)
def end_dead_runs(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SkipReason:
    """Fail runs that show no life for a while; the cursor keeps since when they do not."""
    silent: dict[str, float] = json.loads(context.cursor or "{}")
    now = utc_now().timestamp()
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={WATCHED_TAG: "yes"})
    still: dict[str, float] = {}
    with platform.session() as session:
        for run in context.instance.get_runs(started):
            if liveness.is_alive(session, run.run_id):
                continue
            since = silent.get(run.run_id, now)
            if now - since < SILENCE.total_seconds():
                still[run.run_id] = since
            else:
                _fail_jobs(session, run.run_id, GONE)
                context.instance.report_run_failed(run, GONE)
    context.update_cursor(json.dumps(still))
    return dg.SkipReason(f"{len(still)} runs show no life" if still else "every run lives")


def _note_death(context: dg.RunStatusSensorContext, platform: Platform) -> None:
    """Write to the rows of a run's jobs that it ended without saying so itself."""
    with platform.session() as session:
        _fail_jobs(session, context.dagster_run.run_id, context.dagster_event.message or "the run ended")


def _fail_jobs(session: Session, run_id: str, reason: str) -> None:
    for job in jobs.at_work(session, run_id):
        jobs.fail(session, job, f"its run {run_id} ended: {reason}")


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.FAILURE,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A job whose run failed or was killed is failed, with the reason.",
)
def note_failed_runs(context: dg.RunStatusSensorContext, platform: Platform) -> None:
    _note_death(context, platform)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.CANCELED,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A job whose run was ended in Dagster is failed, with the reason.",
)
def note_canceled_runs(context: dg.RunStatusSensorContext, platform: Platform) -> None:
    _note_death(context, platform)
