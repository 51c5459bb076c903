"""Runs of jobs that clients asked for: a run claims the job's row, works, and records how the job ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import dagster as dg
from sqlmodel import Session

from assets.analyses import CannotAnalyse
from assets.datasets import DatasetReplaced, NoTelemetry, UnfitDatasets
from assets.reports import ReportError
from orchestration.resources import Platform
from storage import jobs
from storage.job_runs import JOB_ID_TAG, PARTITION_TAG
from storage.jobs import FLEET, Job, JobCancelled
from storage.stores import STORE_ERRORS, Stores

JobT = TypeVar("JobT", bound=Job)

# Errors that a user can fix: the message alone is enough, without a traceback.
EXPECTED_ERRORS = (CannotAnalyse, DatasetReplaced, NoTelemetry, ReportError, UnfitDatasets)


@dataclass(frozen=True)
class ClaimedJob(Generic[JobT]):
    """A job that this run has claimed, and the stores to perform it with."""

    stores: Stores
    job: JobT

    def report_progress(self, percent: float, message: str) -> None:
        """Record and commit how far the job is.

        Raises:
            JobCancelled: it was cancelled.

        """
        jobs.report_progress(self.stores.session, self.job, percent, message)
        self.stores.session.commit()

    def complete(self, message: str, **results: Any) -> None:
        """Record and commit the job's results; the keywords are columns of its row.

        Raises:
            JobCancelled: it was cancelled.

        """
        jobs.complete(self.stores.session, self.job, message, **results)
        self.stores.session.commit()

    def fail(self, reason: str) -> None:
        """Record and commit why the job failed; what the session has not committed is discarded."""
        self.stores.session.rollback()
        jobs.fail(self.stores.session, self.job, reason)
        self.stores.session.commit()


def job_of_run(context: dg.AssetExecutionContext, platform: Platform, add_job: Callable[[Session], Job]) -> str:
    """The id of the job that the run was launched for, or of a new one if the run was launched in Dagster.

    `add_job` adds the new job to a session, so that clients find the result over REST.

    Raises:
        dg.Failure: the run's configuration is wrong, or there is nothing to work on.

    """
    if job_id := context.run.tags.get(JOB_ID_TAG):
        return job_id
    with platform.session() as session:
        try:
            job = add_job(session)
        except EXPECTED_ERRORS as error:
            device = context.run.tags.get(PARTITION_TAG, FLEET)
            metadata = {"device": device, "error": type(error).__name__}
            raise dg.Failure(str(error), metadata=metadata, allow_retries=False) from None
        session.commit()
        return job.job_id


@contextmanager
def claimed_job(
    context: dg.OpExecutionContext | dg.AssetExecutionContext, platform: Platform, table: type[JobT], job_id: str
) -> Iterator[ClaimedJob[JobT] | None]:
    """Claim a job for this run and record how the block ends; None if the job is not pending any more.

    If the job is cancelled, the block ends early and execution continues after it.

    Raises:
        dg.Failure: the job cannot be performed; its row says why.

    """
    with platform.stores(context.run.run_id) as stores:
        job = jobs.claim(stores.session, table, job_id, context.run.run_id)
        stores.session.commit()
        if job is None:
            context.log.info(f"{job_id} is not pending any more: it was cancelled, or another run has claimed it")
            yield None
            return
        claimed = ClaimedJob(stores, job)
        try:
            yield claimed
        except JobCancelled:
            context.log.info(f"{job_id} was cancelled")
        except EXPECTED_ERRORS as error:
            claimed.fail(str(error))
            metadata: dict[str, str] = {"job": job_id, "device": job.device_id, "error": type(error).__name__}
            raise dg.Failure(str(error), metadata=metadata, allow_retries=False) from None
        except dg.DagsterExecutionInterruptedError as error:
            claimed.fail("its run was interrupted, or ended in Dagster")
            if job.status == "cancelled":
                context.log.info(f"{job_id} was cancelled")
            raise error.with_traceback(None) from None
        except STORE_ERRORS:
            claimed.fail("a store did not answer; request it again in a moment (GET /ready says which one is away)")
            raise
        except BaseException:
            claimed.fail(f"an error in the platform ended it; the log of run {context.run.run_id} in Dagster says more")
            raise
