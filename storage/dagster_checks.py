"""Dagster's table of asset check results.

Dagster does not clean it up when it deletes a run, and cannot replace a result that was recorded without a run.
"""

from collections.abc import Collection

from sqlalchemy import text
from sqlmodel import Session


def delete_check_results(session: Session, run_ids: Collection[str]) -> None:
    """Delete the check results of runs; nothing if Dagster has no tables in this database."""
    if _has_table(session):
        delete = text("DELETE FROM dagster.asset_check_executions WHERE run_id = ANY(:run_ids)")
        session.execute(delete, {"run_ids": list(run_ids)})


def delete_runless_results(session: Session, check_names: Collection[str], partition: str) -> None:
    """Delete a partition's results without a run; nothing if Dagster has no tables in this database."""
    if _has_table(session):
        delete = text(
            "DELETE FROM dagster.asset_check_executions"
            " WHERE run_id = '' AND check_name = ANY(:check_names) AND partition = :partition"
        )
        session.execute(delete, {"check_names": list(check_names), "partition": partition})


def _has_table(session: Session) -> bool:
    return session.execute(text("SELECT to_regclass('dagster.asset_check_executions')")).scalar() is not None
