"""The energy of day files in the catalogue (`storage.catalogue.Dataset.energy`) that is outdated, and made again."""

from typing import Any

from sqlalchemy import func, text, type_coerce, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Session, col, select

from storage.catalogue import ENERGY_OUTDATED, Dataset

_DAY_FILES = (col(Dataset.superseded_at).is_(None), col(Dataset.kind) == "day")


def count_outdated_energy(session: Session) -> int:
    """How many day files have energy of an older version."""
    found = select(func.count()).select_from(Dataset).where(*_DAY_FILES, text(ENERGY_OUTDATED))
    return session.exec(found).one()


def outdated_energy(session: Session, *, after: int, limit: int) -> list[Dataset]:
    """Day files with energy of an older version, by id from `after` on."""
    found = select(Dataset).where(*_DAY_FILES, text(ENERGY_OUTDATED), col(Dataset.id) > after)
    return list(session.exec(found.order_by(col(Dataset.id)).limit(limit)))


def replace_energy(session: Session, dataset: Dataset, energy: dict[str, Any]) -> None:
    """Enter the energy that was made again from a file, unless the file was replaced meanwhile. The caller commits."""
    session.exec(
        update(Dataset)
        .where(col(Dataset.id) == dataset.id, col(Dataset.sha256) == dataset.sha256)
        .values(energy=energy)
    )


def expire_energy(session: Session, device_id: str) -> None:
    """Note that a device's energy rests on metadata that have changed: its days are made again. The caller commits."""
    outdated = col(Dataset.energy).op("||")(type_coerce({"version": 0}, JSONB))
    days = update(Dataset).where(*_DAY_FILES, col(Dataset.device_id) == device_id)
    session.exec(days.where(col(Dataset.energy).is_not(None)).values(energy=outdated))
