"""How Dagster knows a job: the names and tags that the API, which launches runs, and Dagster's definitions share."""

from storage.jobs import AnalyticsJob, ExportJob, Job, ReportJob
from storage.settings import Settings

JOB_ID_TAG = "energy/job_id"
# MAX_CONCURRENT_JOBS limits how many runs with this tag are active.
JOB_TAG = "energy/job"
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
    return {JOB_ID_TAG: job.job_id, JOB_TAG: job.prefix, "dagster/max_runtime": str(timeout)}
