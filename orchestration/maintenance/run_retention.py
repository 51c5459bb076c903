"""Retention of Dagster's runs. The newest run of a partition stays, since its materialization is deleted with it."""

from datetime import datetime

import dagster as dg
from sqlmodel import Session

from orchestration.runs import FINISHED
from storage.dagster_checks import delete_check_results
from storage.job_runs import PARTITION_TAG

RUNS_A_PAGE = 500


def delete_runs(instance: dg.DagsterInstance, session: Session, before: datetime) -> int:
    """Delete runs that were created before a moment and have ended, with their events and check results.

    Each job's newest successful run of a partition stays. Returns how many runs were deleted; commits page by page.
    """
    old = dg.RunsFilter(statuses=FINISHED, created_before=before)
    newest_runs: dict[tuple[str, str], str] = {}
    last_kept: str | None = None  # pages begin after it: deleted runs are in no further page
    deleted = 0
    while runs := instance.get_runs(old, limit=RUNS_A_PAGE, cursor=last_kept):
        kept = [run.run_id for run in runs if _is_newest(instance, run, newest_runs)]
        expired = [run.run_id for run in runs if run.run_id not in kept]
        for run_id in expired:
            instance.delete_run(run_id)
        delete_check_results(session, expired)
        session.commit()
        deleted += len(expired)
        last_kept = kept[-1] if kept else last_kept
    return deleted


def _is_newest(instance: dg.DagsterInstance, run: dg.DagsterRun, newest_runs: dict[tuple[str, str], str]) -> bool:
    """Whether a run is its job's newest successful one of its partition; `newest_runs` is a cache."""
    partition = run.tags.get(PARTITION_TAG)
    if partition is None or run.status != dg.DagsterRunStatus.SUCCESS:
        return False
    key = (run.job_name, partition)
    if key not in newest_runs:
        of_partition = dg.RunsFilter(
            job_name=run.job_name, tags={PARTITION_TAG: partition}, statuses=[dg.DagsterRunStatus.SUCCESS]
        )
        newest_runs[key] = instance.get_runs(of_partition, limit=1)[0].run_id
    return newest_runs[key] == run.run_id
