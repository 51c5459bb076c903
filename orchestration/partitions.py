"""Partitions: UTC days, UTC months, and devices. Days and devices are not combined.

Dagster supports up to 100,000 partitions per asset. The run of a day exports the day's devices one by one instead.
"""

import logging
from datetime import date

import dagster as dg
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlmodel import Session

from storage.database import open_engine
from storage.dataset_start import move_dataset_start
from storage.job_runs import DEVICE_PARTITIONS
from storage.settings import Settings, SettingsError

log = logging.getLogger(__name__)

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
