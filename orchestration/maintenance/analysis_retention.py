"""Retention of analyses: their rows, results and scores are deleted together."""

from datetime import datetime

from storage.analysis_retention import ended_before, scores_key
from storage.stores import Stores

JOBS_A_PAGE = 500


def delete_analyses(stores: Stores, before: datetime) -> int:
    """Delete analyses that were created before a moment and have ended, with their scores; returns how many.

    The newest completed one of each device and type stays. Commits page by page, after the files are deleted.
    """
    session, deleted = stores.session, 0
    while jobs := ended_before(session, before, JOBS_A_PAGE):
        for job in jobs:
            stores.objects.delete(scores_key(job))
            session.delete(job)
        session.commit()
        deleted += len(jobs)
    return deleted
