"""Jobs as the routers of exports, analyses and reports share them: ask, find, cancel."""

from typing import TypeVar

from sqlmodel import Session

from serving.dagster import Dagster
from serving.errors import NotFound
from storage import jobs
from storage.jobs import Job

JobT = TypeVar("JobT", bound=Job)


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
