"""Whether an analysis still fits the readings that there are now."""

from datetime import UTC, date, timedelta

from sqlmodel import Session

from assets.datasets.files import dataset_key
from storage import catalogue
from storage.jobs import AnalyticsJob
from storage.times import utc_now


def changed_days(session: Session, job: AnalyticsJob) -> int:
    """Of how many closed days of its range the files were made again, or added, since an analysis was made.

    Days that it left out do not count. Of a dataset that was chosen by its key, 1 if it was made again.
    """
    results, today = job.results or {}, utc_now().date()
    used = {file["key"]: file["sha256"] for file in (results.get("provenance") or {}).get("datasets", ())}
    if not used:
        return 0  # an earlier release did not record it
    if job.dataset_key:
        one = catalogue.current(session, job.dataset_key)
        return int(one is not None and one.end_date < today and used.get(one.key, one.sha256) != one.sha256)
    first = job.date_range_start.astimezone(UTC).date()
    last = (job.date_range_end - timedelta(microseconds=1)).astimezone(UTC).date()
    now = catalogue.day_hashes(session, [job.device_id], first, min(last, today - timedelta(days=1)))[job.device_id]
    left_out = [date.fromisoformat(day["date"]) for day in results.get("left_out_days") or ()]
    unused = {dataset_key(job.device_id, day, day) for day in left_out}
    return sum(used.get(key) != sha256 for key, sha256 in now.items() if key not in unused)
