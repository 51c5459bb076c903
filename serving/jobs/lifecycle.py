"""What clients do with jobs of any kind: submit, look up, cancel."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TypeVar

from pydantic import BaseModel
from sqlmodel import Session

from serving.http.errors import Invalid, NotFound
from serving.jobs.launcher import Launcher
from storage import jobs
from storage.job_queue import jobs_ahead, next_turn
from storage.jobs import Job
from storage.times import utc_now

MAX_RANGE_DAYS = 3660
JobT = TypeVar("JobT", bound=Job)
StateT = TypeVar("StateT", bound=BaseModel)


def check_days(start: date, end: date) -> None:
    """Check a job's range of days, both ends included.

    Raises:
        Invalid: the range is reversed, too long, or ends in the future.

    """
    if start > end:
        raise Invalid("start_date is after end_date", field="start_date")
    if end > utc_now().date() + timedelta(days=1):
        raise Invalid("end_date is in the future", field="end_date")
    if (end - start).days >= MAX_RANGE_DAYS:
        raise Invalid(f"the range is longer than {MAX_RANGE_DAYS} days; submit several jobs", field="start_date")


def submit(session: Session, launcher: Launcher, job: Job) -> None:
    """Store a new job, whose run is launched in the background."""
    job.turn = next_turn(session, job.tenant_id)
    session.add(job)
    session.commit()  # before the launch: the run claims the row
    launcher.launch(job)


def get_job(session: Session, table: type[JobT], job_id: str) -> JobT:
    """Return the job.

    Raises:
        NotFound: the table has no job with that id.

    """
    job = jobs.find(session, table, job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def message_of(session: Session, job: Job) -> str | None:
    """The message of a job; of a pending one, what it waits for."""
    return _messages(session, [job])[job.job_id]


def with_messages(session: Session, jobs: Sequence[Job], states: Sequence[StateT]) -> list[StateT]:
    """The states of these jobs; the message of a pending one says what it waits for."""
    messages = _messages(session, jobs)
    return [state.model_copy(update={"message": messages[job.job_id]}) for job, state in zip(jobs, states, strict=True)]


def _messages(session: Session, jobs: Sequence[Job]) -> dict[str, str | None]:
    ahead = jobs_ahead(session, [job.job_id for job in jobs if job.status == "pending"])
    return {job.job_id: _waits(*ahead[job.job_id]) if job.job_id in ahead else job.message for job in jobs}


def _waits(running: int, before: int) -> str:
    if not running and not before:
        return "Waits to be started; no other job comes before it."
    are_running = "1 job is running, and " if running == 1 else f"{running} jobs are running, and " if running else ""
    wait = "1 job waits before it" if before == 1 else f"{before} jobs wait before it" if before else "this one is next"
    return f"Waits for its turn: {are_running}{wait}."


def cancel(session: Session, launcher: Launcher, job: Job) -> None:
    """Cancel a job; one that has ended stays as it is."""
    is_cancelled = jobs.cancel(session, job)
    session.commit()
    # A run that was not launched for this job alone performs others too; it notices the cancellation by itself.
    if is_cancelled and job.run_id and job.launches:
        launcher.terminate(job.run_id)
