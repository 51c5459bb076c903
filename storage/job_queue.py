"""The queue of jobs of all kinds: tenants take turns, and a pending job knows how many come before it."""

from sqlalchemy import text
from sqlmodel import Session

from storage.jobs import Job

_QUEUE = """
WITH active AS (
    SELECT turn, status, tenant_id, created_at FROM analytics_jobs WHERE status IN ('pending', 'running') UNION ALL
    SELECT turn, status, tenant_id, created_at FROM export_jobs WHERE status IN ('pending', 'running') UNION ALL
    SELECT turn, status, tenant_id, created_at FROM report_jobs WHERE status IN ('pending', 'running')
)
"""
_NEXT_TURN = text(
    _QUEUE
    + """
SELECT greatest(1, coalesce(max(turn) FILTER (WHERE status = 'running'), min(turn)),
                1 + max(turn) FILTER (WHERE tenant_id IS NOT DISTINCT FROM CAST(:tenant AS text)))
FROM active
"""
)
# The turn of jobs that nobody waits for, such as those of the night, is 0: they have no place in the queue.
_AHEAD = text(
    _QUEUE
    + """
SELECT count(*) FILTER (WHERE status = 'running'),
       count(*) FILTER (WHERE status = 'pending' AND (turn, created_at) < (:turn, :created_at))
FROM active WHERE turn > 0
"""
)


def next_turn(session: Session, tenant_id: str | None) -> int:
    """The turn of a tenant's new job; jobs with lower turns come first, and of equal ones the older.

    A tenant's jobs have one turn after the other, and its first has the turn that is served now. So tenants take turns,
    however many jobs each of them has waiting (start-time fair queueing, Goyal, Vin and Cheng 1996).
    """
    turn: int = session.execute(_NEXT_TURN, {"tenant": tenant_id}).scalar_one()
    return turn


def jobs_ahead(session: Session, job: Job) -> tuple[int, int]:
    """How many jobs are running, and how many wait before a pending job, of any tenant."""
    running, waiting_before = session.execute(_AHEAD, {"turn": job.turn, "created_at": job.created_at}).one()
    return running, waiting_before
