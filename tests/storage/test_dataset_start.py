from datetime import date

import pytest
from sqlmodel import Session

from storage import dirty_days
from storage.dataset_start import dataset_start, move_dataset_start
from storage.dirty_days import DirtyDay
from storage.settings import Settings
from storage.times import microseconds, midnight, utc_now


def telemetry_of(session: Session, *days: date) -> None:
    dirty_days.mark_dirty(session, [("D1", microseconds(midnight(day))) for day in days])
    session.commit()


def test_datasets_begin_in_the_month_of_the_oldest_reading_and_move_to_earlier_ones_only(
    session: Session, settings: Settings
) -> None:
    this_month = utc_now().date().replace(day=1)
    assert move_dataset_start(session, settings) == dataset_start(session, settings) == this_month
    telemetry_of(session, date(2026, 3, 17), date(2026, 2, 12))
    assert dataset_start(session, settings) == this_month
    assert move_dataset_start(session, settings) == dataset_start(session, settings) == date(2026, 2, 1)
    session.delete(session.get_one(DirtyDay, ("D1", date(2026, 2, 12))))
    session.commit()
    assert move_dataset_start(session, settings) == date(2026, 2, 1)
    telemetry_of(session, date(2024, 12, 31))
    assert move_dataset_start(session, settings) == date(2024, 12, 1)


def test_a_start_that_is_set_stays(session: Session, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET_START_DATE", "2025-05-05")
    given = Settings.load()
    telemetry_of(session, date(2024, 2, 12))
    assert move_dataset_start(session, given) == dataset_start(session, given) == date(2025, 5, 5)
    assert move_dataset_start(session, settings) == date(2024, 2, 1)
