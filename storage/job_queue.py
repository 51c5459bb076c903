"""The queue of jobs of all kinds: tenants take turns, and a pending job knows how many come before it."""

from collections.abc import Collection

from sqlalchemy import text
from sqlmodel import Session

_QUEUE = """
WITH active AS (
    SELECT job_id, turn, status, tenant_id, created_at
    FROM (SELECT job_id, turn, status, tenant_id, created_at FROM analytics_jobs UNION ALL
          SELECT job_id, turn, status, tenant_id, created_at FROM export_jobs UNION ALL
          SELECT job_id, turn, status, tenant_id, created_at FROM report_jobs) AS jobs
    WHERE status IN ('pending', 'running')
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
    _QUEUE  # noqa: S608 - both parts are constants
    + """
, waiting AS (
    SELECT job_id, rank() OVER (ORDER BY turn, created_at) - 1 AS before
    FROM active
    WHERE status = 'pending' AND turn > 0
), running AS (
    SELECT count(*) AS jobs
    FROM active
    WHERE status = 'running' AND turn > 0
)
SELECT running.jobs, wanted.job_id, coalesce(waiting.before, 0)
FROM unnest(CAST(:job_ids AS text[])) AS wanted (job_id)
LEFT JOIN waiting USING (job_id)
CROSS JOIN running
"""
)


def next_turn(session: Session, tenant_id: str | None) -> int:
    """The turn of a tenant's new job; jobs with lower turns come first, and of equal ones the older.

    A tenant's jobs have one turn after the other, and its first has the turn that is served now. So tenants take turns,
    however many jobs each of them has waiting (start-time fair queueing, Goyal, Vin and Cheng 1996).
    """
    turn: int = session.execute(_NEXT_TURN, {"tenant": tenant_id}).scalar_one()
    return turn


def jobs_ahead(session: Session, job_ids: Collection[str]) -> dict[str, tuple[int, int]]:
    """How many jobs are running, and how many wait before each of these pending jobs, of any tenant."""
    if not job_ids:
        return {}
    rows = session.execute(_AHEAD, {"job_ids": list(job_ids)})
    return {job_id: (running, before) for running, job_id, before in rows}
