"""Retention of analyses, with results and scores, and of kept models that nothing uses any more."""

from datetime import datetime

from storage.analysis_retention import ended_before, scores_key
from storage.kept_models import unused_since
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


def delete_models(stores: Stores, before: datetime) -> int:
    """Delete kept models that were last used before a moment, with their files; returns how many.

    Commits page by page, after the files are deleted.
    """
    session, deleted = stores.session, 0
    while models := unused_since(session, before, JOBS_A_PAGE):
        for model in models:
            stores.objects.delete(model.object_key)
            session.delete(model)
        session.commit()
        deleted += len(models)
    return deleted
