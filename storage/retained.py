"""What retention has left of a device: days whose file is deleted, and files over several days that hold them."""

from datetime import date

from sqlmodel import Session, col, select

from storage.catalogue import Dataset


def covering(session: Session, device_id: str, start: date, end: date) -> list[Dataset]:
    """A device's current files over several days that hold any day from start to end, the newest first."""
    query = select(Dataset).where(
        Dataset.device_id == device_id,
        col(Dataset.superseded_at).is_(None),
        Dataset.kind != "day",
        Dataset.start_date <= end,
        Dataset.end_date >= start,
    )
    return list(session.exec(query.order_by(col(Dataset.created_at).desc(), col(Dataset.id).desc())))


def removed_days(session: Session, device_id: str, start: date, end: date) -> set[date]:
    """The days from start to end whose file retention has deleted; a file over several days may still hold them."""
    days = select(col(Dataset.start_date)).where(
        Dataset.device_id == device_id, Dataset.kind == "day", col(Dataset.start_date).between(start, end)
    )
    had = set(session.exec(days.where(col(Dataset.version_key).is_(None)).distinct()).all())
    return had - set(session.exec(days.where(col(Dataset.superseded_at).is_(None))).all())
