"""Which days of the catalogue have quality checks: those whose files were made after the day was over."""

from datetime import date

from sqlalchemy import func
from sqlmodel import Session, col, select

from storage.catalogue import Dataset, current_days

_IS_CHECKED = col(Dataset.checks).is_not(None)


def unchecked(session: Session, *, before: date) -> dict[date, int]:
    """Days before `before` whose files have no quality checks yet, with the number of these files.

    They were last exported before the day was over.
    """
    unchecked_before = (*current_days(), ~_IS_CHECKED, Dataset.start_date < before)
    query = select(col(Dataset.start_date), func.count()).where(*unchecked_before)
    return dict(session.exec(query.group_by(col(Dataset.start_date))).all())


def unchecked_devices(session: Session, day: date) -> list[str]:
    """Devices whose file of a day has no quality checks yet."""
    query = select(Dataset.device_id).where(*current_days(), ~_IS_CHECKED, Dataset.start_date == day)
    return list(session.exec(query))


def newest_checked_day(session: Session) -> date | None:
    """The newest day of which a file has quality checks."""
    return session.exec(select(func.max(Dataset.start_date)).where(*current_days(), _IS_CHECKED)).one()
