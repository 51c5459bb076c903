"""How Dagster knows a job: the names and tags that the API, which launches runs, and Dagster's definitions share."""

from storage.jobs import AnalyticsJob, ExportJob, Job, ReportJob
from storage.settings import Settings

JOB_ID_TAG = "energy/job_id"
# MAX_CONCURRENT_JOBS limits how many runs with this tag are active.
JOB_TAG = "energy/job"
# One tenant has at most one run fewer than that, so that one is free for the others.
TENANT_TAG = "energy/tenant"
# Jobs come before runs without a priority, such as those of a backfill, which has the room beside the jobs.
PRIORITY_TAG, FIRST_PRIORITY = "dagster/priority", 1_000_000
# The dynamic partitions that hold one key per device.
DEVICE_PARTITIONS = "devices"
PARTITION_TAG = "dagster/partition"


def dagster_job_name(work: str) -> str:
    """Return the name of the Dagster job for an analysis type, for `export` or for `report`."""
    return f"{work}_job"


def dagster_job_of(job: Job) -> str:
    """Return the name of the Dagster job that performs a job."""
    return dagster_job_name(job.analysis_type if isinstance(job, AnalyticsJob) else job.prefix)


def partition_of(job: Job) -> str | None:
    """Return the device partition that a job's run materializes; an export's run has none."""
    return None if isinstance(job, ExportJob) else job.device_id


def run_tags(job: Job, settings: Settings) -> dict[str, str]:
    """Return the tags of a run that performs a job, but for its partition."""
    timeout = settings.report_timeout_seconds if isinstance(job, ReportJob) else settings.job_timeout_seconds
    tags = {JOB_ID_TAG: job.job_id, JOB_TAG: job.prefix, "dagster/max_runtime": str(timeout)}
    tags[PRIORITY_TAG] = str(FIRST_PRIORITY - job.turn)
    return tags | {TENANT_TAG: job.tenant_id} if job.tenant_id else tags
