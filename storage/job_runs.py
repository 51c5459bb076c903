"""How Dagster knows a job: the names and tags that the API, which launches runs, and Dagster's definitions share."""

from storage.jobs import FLEET, AnalyticsJob, ExportJob, Job, ReportJob
from storage.settings import Settings

JOB_ID_TAG = "energy/job_id"
# MAX_CONCURRENT_JOBS limits how many runs with this tag are active.
JOB_TAG = "energy/job"
# One tenant has at most one run fewer than that, so that one is free for the others.
TENANT_TAG = "energy/tenant"
# Long jobs have one run fewer than all jobs, too, so that a job of seconds never waits for one of minutes.
LONG_TAG = "energy/long"
LONG_DAYS = 92
# Jobs come before runs without a priority, such as those of a backfill, which has the room beside the jobs.
PRIORITY_TAG, FIRST_PRIORITY = "dagster/priority", 1_000_000
# The dynamic partitions that hold one key per device.
DEVICE_PARTITIONS = "devices"
PARTITION_TAG = "dagster/partition"
FLEET_REPORT_JOB = "fleet_report_job"


def dagster_job_name(work: str) -> str:
    """Return the name of the Dagster job for an analysis type, for `export` or for `report`."""
    return f"{work}_job"


def dagster_job_of(job: Job) -> str:
    """Return the name of the Dagster job that performs a job."""
    if job.device_id == FLEET:
        return FLEET_REPORT_JOB
    return dagster_job_name(job.analysis_type if isinstance(job, AnalyticsJob) else job.prefix)


def partition_of(job: Job) -> str | None:
    """Return the device partition that a job's run materializes; an export's run has none, nor has a fleet report's."""
    return None if isinstance(job, ExportJob) or job.device_id == FLEET else job.device_id


def run_tags(job: Job, settings: Settings) -> dict[str, str]:
    """Return the tags of a run that performs a job, but for its partition."""
    tags = {JOB_ID_TAG: job.job_id, JOB_TAG: job.prefix, "dagster/max_runtime": str(_max_runtime(job, settings))}
    tags[PRIORITY_TAG] = str(FIRST_PRIORITY - job.turn)
    if is_long(job):
        tags[LONG_TAG] = "yes"
    return tags | {TENANT_TAG: job.tenant_id} if job.tenant_id else tags


def is_long(job: Job) -> bool:
    """Whether a job may take minutes: a failure prediction, a report of many devices or with analyses, many days."""
    if isinstance(job, AnalyticsJob) and job.analysis_type == "prediction":
        return True
    if job.device_id == FLEET or (job.parameters or {}).get("compute_missing"):
        return True
    if not isinstance(job, AnalyticsJob | ExportJob | ReportJob):
        return False
    start, end = job.date_range_start, job.date_range_end
    return start is not None and end is not None and (end - start).days > LONG_DAYS


def _max_runtime(job: Job, settings: Settings) -> int:
    """The seconds after which a job's run is ended; a report that makes analyses first has the time of both."""
    if not isinstance(job, ReportJob):
        return settings.job_timeout_seconds
    makes_analyses = bool((job.parameters or {}).get("compute_missing"))
    return settings.report_timeout_seconds + (settings.job_timeout_seconds if makes_analyses else 0)
