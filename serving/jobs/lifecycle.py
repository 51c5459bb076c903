"""Jobs as the routers of exports, analyses and reports share them: ask, find, cancel."""

from datetime import date, timedelta
from typing import Annotated, Literal, TypeVar

from fastapi import Path
from sqlmodel import Session

from serving.http.errors import Invalid, NotFound
from serving.jobs.dagster import Dagster
from storage import jobs
from storage.jobs import Job
from storage.times import utc_now

JobPath = Annotated[str, Path(pattern=r"^(job|export|report)-[a-z0-9]{6,32}$", examples=["job-0123456789ab"])]
JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
JobSort = Literal["created_at", "-created_at", "completed_at", "-completed_at"]
MAX_RANGE_DAYS = 3660
JobT = TypeVar("JobT", bound=Job)


def check_days(start: date, end: date) -> None:
    """Let pass a range of days, both included, that can hold readings.

    Raises:
        Invalid: it is turned round, too long, or in the future.

    """
    if start > end:
        raise Invalid("start_date lies after end_date", field="start_date")
    if end > utc_now().date() + timedelta(days=1):
        raise Invalid("end_date lies in the future", field="end_date")
    if (end - start).days >= MAX_RANGE_DAYS:
        raise Invalid(f"the range is longer than {MAX_RANGE_DAYS} days; ask for parts of it", field="start_date")


def ask(session: Session, dagster: Dagster, job: JobT) -> JobT:
    """Put the job on record, and have it started at once if Dagster answers."""
    session.add(job)
    session.commit()
    run_id = dagster.launch(job)
    if run_id:
        jobs.note_launch(session, job, run_id)
    return job


def found(session: Session, kind: type[JobT], job_id: str) -> JobT:
    """The job.

    Raises:
        NotFound: there is none of that id and kind.

    """
    job = jobs.find(session, kind, job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def cancel(session: Session, dagster: Dagster, job: JobT) -> JobT:
    """Take a job back; one that is over stays as it is."""
    # A run that was not launched for this job does others too; it finds out by itself.
    if jobs.cancel(session, job) and job.run_id and job.launches:
        dagster.terminate(job.run_id)
    return job
