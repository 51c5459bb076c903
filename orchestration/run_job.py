"""Runs that were asked for over REST: the run claims the job's row, works, and writes how it ended."""

from collections.abc import Callable
from typing import TypeVar

import dagster as dg

from assets.analyses import CannotAnalyse
from assets.datasets import DatasetReplaced, NoTelemetry, UnfitDatasets
from assets.reports import ReportError
from orchestration.resources import Platform
from storage import jobs
from storage.jobs import Job, JobCancelled
from storage.stores import Stores

JobT = TypeVar("JobT", bound=Job)
Result = TypeVar("Result")

# What is the user's to mend: told in full words, and no traceback.
EXPECTED = (CannotAnalyse, DatasetReplaced, NoTelemetry, ReportError, UnfitDatasets)


def run_job(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    platform: Platform,
    kind: type[JobT],
    job_id: str,
    work: Callable[[Stores, JobT], Result],
) -> Result | None:
    """Do a job's work if it is still to be done; None: another run has it, or nobody wants it any more.

    Raises:
        dg.Failure: it cannot be done; the job's row says why.

    """
    with platform.stores(context.run.run_id) as stores:
        job = jobs.claim(stores.session, kind, job_id, context.run.run_id)
        if job is None:
            context.log.info(f"{job_id} is not waiting any more: it was cancelled, or another run has it")
            return None
        try:
            return work(stores, job)
        except JobCancelled:
            context.log.info(f"{job_id} was cancelled")
            return None
        except EXPECTED as error:
            stores.session.rollback()
            jobs.fail(stores.session, job, str(error))
            about: dict[str, str] = {"job": job_id, "device": job.device_id, "refused by": type(error).__name__}
            raise dg.Failure(str(error), metadata=about, allow_retries=False) from None
        except BaseException as error:
            stores.session.rollback()
            jobs.fail(stores.session, job, f"{type(error).__name__}: {error}")
            raise
