"""Partitions: UTC days, UTC months, and devices. Days and devices are not combined.

Dagster supports up to 100,000 partitions per asset. The run of a day exports the day's devices one by one instead.
"""

import logging
from collections.abc import Mapping
from datetime import date

import dagster as dg
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlmodel import Session

from storage.database import open_engine
from storage.dataset_start import move_dataset_start
from storage.job_runs import DEVICE_PARTITIONS, PARTITION_TAG
from storage.settings import Settings, SettingsError
from storage.times import utc_now

log = logging.getLogger(__name__)

RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

# Earlier than any day of a platform whose database cannot be asked, so that no run of a day is refused.
UNKNOWN_START = date(2020, 1, 1)


def _first_day() -> date:
    """Where days begin. What loads this later knows of older readings; `orchestration.reload` asks for that."""
    settings = Settings.load()
    if settings.dataset_start_date:
        return settings.dataset_start_date
    try:
        engine = open_engine(settings)
    except SettingsError:  # no platform has run here
        return UNKNOWN_START
    try:
        with Session(engine) as session:
            first = move_dataset_start(session, settings)
            session.commit()
            return first
    except (OperationalError, ProgrammingError) as error:
        log.warning("days begin in %s, because the database does not tell: %s", UNKNOWN_START, str(error.orig).strip())
        return UNKNOWN_START
    finally:
        engine.dispose()


# Today is a partition too. It is materialized many times until it closes.
first_day = _first_day()
days = dg.DailyPartitionsDefinition(start_date=first_day.isoformat(), timezone="UTC", end_offset=1)
months = dg.MonthlyPartitionsDefinition(start_date=first_day.replace(day=1).isoformat(), timezone="UTC")
devices = dg.DynamicPartitionsDefinition(name=DEVICE_PARTITIONS)


# Dagster itself launches a run of any day, month or device, or of none, if a program asks it to.
def has_partition(tags: Mapping[str, str]) -> bool:
    """Whether a run with these tags is one of a partition, or of a range of them."""
    return PARTITION_TAG in tags or RANGE_TAGS[0] in tags


def device_of_run(tags: Mapping[str, str]) -> str:
    """The device of a run with these tags.

    Raises:
        dg.Failure: there is none, or there are several.

    """
    if RANGE_TAGS[0] in tags:
        raise _refused("A run is for one device. Choose one, or launch a backfill, which makes a run of each device.")
    if PARTITION_TAG not in tags:
        raise _refused("The run has no partition. Choose a device.")
    return tags[PARTITION_TAG]


def days_of_run(tags: Mapping[str, str]) -> list[date]:
    """The days of a run with these tags: one, or a range.

    Raises:
        dg.Failure: there are none, or one of them is not a partition.

    """
    first, last = _ends(tags, "day")
    if first < first_day:
        raise _refused(f"{first} is before {first_day}, where the datasets begin (DATASET_START_DATE).")
    if last > utc_now().date():
        raise _refused(f"{last} is in the future.")
    return [date.fromisoformat(key) for key in days.get_partition_keys_in_range(_range(first, last))]


def months_of_run(tags: Mapping[str, str]) -> list[date]:
    """The first days of the months of a run with these tags: one, or a range.

    Raises:
        dg.Failure: there are none, or one of them is not a partition.

    """
    first, last = (day.replace(day=1) for day in _ends(tags, "month"))
    if first < first_day.replace(day=1):
        raise _refused(f"{first:%Y-%m} is before {first_day:%Y-%m}, where the datasets begin (DATASET_START_DATE).")
    if last >= utc_now().date().replace(day=1):
        raise _refused(f"{last:%Y-%m} is not over. A month can be merged when all of its days have closed.")
    return [date.fromisoformat(key) for key in months.get_partition_keys_in_range(_range(first, last))]


def _ends(tags: Mapping[str, str], name: str) -> tuple[date, date]:
    """The first and the last partition of a run of days or months."""
    keys = [tags[tag] for tag in (PARTITION_TAG, *RANGE_TAGS) if tag in tags]
    if not keys:
        raise _refused(f"The run has no partition. Choose a {name}, or a range of {name}s.")
    first, last = date.fromisoformat(keys[0]), date.fromisoformat(keys[-1])
    if first > last:
        raise _refused("The partition range is empty. Give the earlier day first.")
    return first, last


def _range(first: date, last: date) -> dg.PartitionKeyRange:
    return dg.PartitionKeyRange(first.isoformat(), last.isoformat())


def _refused(reason: str) -> dg.Failure:
    return dg.Failure(reason, allow_retries=False)
