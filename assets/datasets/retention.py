"""Retention: deletes telemetry and files that are older than the settings allow.

Telemetry is deleted only after it is exported.
"""

from datetime import date, timedelta

from storage import catalogue, dirty_days
from storage.stores import Stores
from storage.times import microseconds, midnight, utc_now

BATCH_SIZE = 500


def retire_telemetry(stores: Stores, days: int, today: date) -> date:
    """Delete telemetry older than `days` from the telemetry store; returns the first day that stays.

    That day is earlier if an older day is not exported yet. The days are marked as expired and committed before the
    store deletes their readings, so that late readings join their files instead of replacing them.
    """
    session = stores.session
    first_kept = catalogue.exported_until(session, today - timedelta(days=days))
    dirty_days.expire_days(session, first_kept)
    session.commit()
    stores.telemetry.forget(microseconds(midnight(first_kept)))
    return first_kept


def retire_datasets(stores: Stores, days: int, today: date) -> tuple[int, int]:
    """Delete files, also kept versions, whose last day is older than `days`; returns their number and bytes.

    Their rows stay in the catalogue, superseded. Each batch is committed after its files are deleted: if the run dies
    in between, the next run finds the rows again.
    """
    session, before = stores.session, today - timedelta(days=days)
    files = size = 0
    while datasets := catalogue.stored_before(session, before, limit=BATCH_SIZE):
        for dataset in datasets:
            stores.objects.delete(dataset.object_key)
            if dataset.raw is not None:
                stores.objects.delete(dataset.raw["key"])
            dataset.superseded_at, dataset.version_key, dataset.raw = dataset.superseded_at or utc_now(), None, None
            session.add(dataset)
            files, size = files + 1, size + dataset.bytes
        session.commit()
    return files, size
