"""The files of analyses, and which analyses retention deletes."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, or_, select

from storage.jobs import ACTIVE, AnalyticsJob


def scores_key(job: AnalyticsJob) -> str:
    """Where the object store has the scores of a job, row by row."""
    return f"scores/{job.device_id}/{job.job_id}.parquet"


def ended_before(session: Session, before: datetime, limit: int) -> Sequence[AnalyticsJob]:
    """Jobs of analyses that were created before a moment and have ended, at most `limit`.

    The newest completed job of each device and analysis type is not among them.
    """
    newer = aliased(AnalyticsJob)
    has_newer = (
        select(newer.id)
        .where(
            newer.device_id == AnalyticsJob.device_id,
            newer.analysis_type == AnalyticsJob.analysis_type,
            newer.status == "completed",
            col(newer.completed_at) > col(AnalyticsJob.completed_at),
        )
        .exists()
    )
    ended = select(AnalyticsJob).where(
        AnalyticsJob.created_at < before,
        col(AnalyticsJob.status).not_in(ACTIVE),
        or_(AnalyticsJob.status != "completed", has_newer),
    )
    return session.exec(ended.order_by(col(AnalyticsJob.created_at)).limit(limit)).all()
