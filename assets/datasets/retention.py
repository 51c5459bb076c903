"""What is kept for how long. Nothing is given up that was not exported, and no file that stands alone for its day."""

from datetime import date, timedelta

from sqlmodel import col, or_, select

from storage import catalogue, dirty_days
from storage.catalogue import Dataset
from storage.stores import Stores
from storage.times import microseconds, midnight, utc_now

AT_A_TIME = 500


def retire_telemetry(stores: Stores, days: int, today: date) -> date:
    """Let the telemetry store give up readings older than so many days; from which day on it keeps everything.

    That is earlier than asked for where something of an older day was not exported yet.
    """
    session = stores.session
    wanted = today - timedelta(days=days)
    until = catalogue.exported_until(session, wanted)
    dirty_days.expire_days(session, until)  # before they are gone: what comes late then joins what their files hold
    session.commit()
    stores.telemetry.forget(microseconds(midnight(until)))
    return until


def retire_datasets(stores: Stores, days: int, today: date) -> tuple[int, int]:
    """Delete files, kept versions too, whose last day is older than so many days; how many, and their bytes.

    Their rows stay in the catalogue, superseded.
    """
    session, before = stores.session, today - timedelta(days=days)
    files = size = 0
    there = or_(col(Dataset.superseded_at).is_(None), col(Dataset.version_key).is_not(None))
    old = select(Dataset).where(there, Dataset.end_date < before).order_by(col(Dataset.id)).limit(AT_A_TIME)
    while found := session.exec(old).all():
        for dataset in found:
            # Deleted first: dying in between leaves a row that the next one finds again.
            stores.objects.delete(dataset.object_key)
            dataset.superseded_at, dataset.version_key = dataset.superseded_at or utc_now(), None
            session.add(dataset)
            files, size = files + 1, size + dataset.bytes
        session.commit()
    return files, size
