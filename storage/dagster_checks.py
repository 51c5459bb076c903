"""Dagster's table of asset check results, which Dagster does not clean up when it deletes a run."""

from collections.abc import Collection

from sqlalchemy import text
from sqlmodel import Session


def delete_check_results(session: Session, run_ids: Collection[str]) -> None:
    """Delete the check results of runs; nothing if Dagster has no tables in this database."""
    if session.execute(text("SELECT to_regclass('dagster.asset_check_executions')")).scalar() is not None:
        delete = text("DELETE FROM dagster.asset_check_executions WHERE run_id = ANY(:run_ids)")
        session.execute(delete, {"run_ids": list(run_ids)})
