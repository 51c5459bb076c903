"""The catalogue of datasets: a row for each file, with what is known of it without reading it.

Rows of closed days are never replaced, only superseded. `storage.dirty_days` knows the days for which telemetry came
after their file was made.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Identity, Index, and_, exists, func, or_, text, type_coerce
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.orm import defer
from sqlalchemy.sql.base import ExecutableOption
from sqlmodel import Field, Session, SQLModel, col, select

from storage.database import Timestamp
from storage.devices import Device
from storage.dirty_days import DirtyDay, waits_for_export
from storage.jobs import AnalyticsJob, ReportJob
from storage.telemetry import MetricStatistics
from storage.times import utc_now

_JSON = JSONB(none_as_null=True)
# The version of `Dataset.energy`. Days with another one, or whose hours lack the number of readings, are made again.
ENERGY_VERSION = 2
FIGURES_OUTDATED = f"((energy ->> 'version') IS DISTINCT FROM '{ENERGY_VERSION}' OR (hourly -> 'timestamp') IS NULL)"


class Dataset(SQLModel, table=True):
    """A Parquet file of one device over whole UTC days, both ends inclusive.

    `superseded_at`: when a newer file took its key, or when retention deleted it. `version_key`: where it is kept since
    then, if a result was made from it.

    Files of a day also have (hours and quarter hours are those of the UTC day):
    `first_at`, `last_at`: the first and last reading; null if an older release made the file.
    `hourly`: `{metric: {"count": [24], "min": [24], "max": [24], "sum": [24]}}`; null without values. The count of
    `timestamp` is that of all readings; older versions lack it.
    `energy`: `{"version", "metrics": {metric: …}}`, see `assets.energy.kept.day_json`; older versions had no version.
    `checks`: `{kind: {"status", "value", "detail"}}`, see `assets.quality.checks`; null while the day is open.
    `corrections`: names those that the file holds. `raw`: the file without them, where it differs, as `{"key",
    "sha256", "bytes", "metrics"}`.
    """

    __tablename__ = "datasets"
    __table_args__ = (
        Index("datasets_current", "key", unique=True, postgresql_where=text("superseded_at IS NULL")),
        Index("datasets_by_device", "device_id", "start_date"),
        Index("datasets_days", "start_date", postgresql_where=text("superseded_at IS NULL AND kind = 'day'")),
        Index(
            "datasets_unchecked",
            "start_date",
            postgresql_where=text("superseded_at IS NULL AND kind = 'day' AND checks IS NULL"),
        ),
        Index(
            "datasets_outdated",
            "start_date",
            postgresql_where=text(f"superseded_at IS NULL AND kind = 'day' AND {FIGURES_OUTDATED}"),
        ),
    )

    id: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()], primary_key=True)
    key: str = Field(max_length=500)
    kind: str = Field(max_length=10)
    device_id: str = Field(max_length=50)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    start_date: date
    end_date: date
    first_at: datetime | None = Timestamp(default=None)
    last_at: datetime | None = Timestamp(default=None)
    rows: int = Field(sa_type=BigInteger)
    bytes: int = Field(sa_type=BigInteger)
    sha256: str = Field(max_length=64)
    metrics: dict[str, Any] = Field(sa_type=JSONB)
    hourly: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    energy: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    checks: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    corrections: str | None = Field(default=None, max_length=16)
    raw: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    run_id: str | None = Field(default=None, max_length=100)
    created_at: datetime = Timestamp(default_factory=utc_now)
    superseded_at: datetime | None = Timestamp(default=None)
    version_key: str | None = Field(default=None, max_length=500)

    @property
    def object_key(self) -> str:
        """The key of the file in the object store now."""
        return self.version_key or self.key

    @property
    def statistics(self) -> dict[str, MetricStatistics]:
        """Statistics of every metric in the file, from `metrics`."""
        return {name: MetricStatistics(**values) for name, values in self.metrics.items()}


def exported_until(session: Session, day: date) -> date:
    """The first day before `day` that is not wholly exported; `day` itself if all of them are."""
    has_file = exists().where(
        col(Dataset.device_id) == DirtyDay.device_id,
        col(Dataset.kind) == "day",
        col(Dataset.start_date) == DirtyDay.day,
    )
    missing = select(func.min(DirtyDay.day)).where(or_(waits_for_export(), ~has_file), col(DirtyDay.day) < day)
    return session.exec(missing).one() or day


def current(session: Session, key: str) -> Dataset | None:
    """The current dataset of a key."""
    return session.exec(select(Dataset).where(Dataset.key == key, col(Dataset.superseded_at).is_(None))).first()


def datasets_of(
    session: Session,
    device_id: str,
    *,
    start: date | None = None,
    end: date | None = None,
    kind: str | None = None,
) -> list[Dataset]:
    """A device's current datasets that lie within the days, both inclusive, in time order."""
    query = select(Dataset).where(Dataset.device_id == device_id, col(Dataset.superseded_at).is_(None))
    if start is not None:
        query = query.where(col(Dataset.start_date) >= start)
    if end is not None:
        query = query.where(col(Dataset.end_date) <= end)
    if kind is not None:
        query = query.where(Dataset.kind == kind)
    return list(session.exec(query.order_by(col(Dataset.start_date), col(Dataset.end_date))))


def newest_of(session: Session, device_id: str, *, offset: int, limit: int) -> tuple[list[Dataset], int]:
    """Some of a device's current datasets, newest first, and how many it has; `hourly` and `energy` load on access."""
    is_current = (Dataset.device_id == device_id, col(Dataset.superseded_at).is_(None))
    newest_first = (col(Dataset.start_date).desc(), col(Dataset.end_date).desc(), col(Dataset.id))
    query = select(Dataset).where(*is_current).order_by(*newest_first).offset(offset).limit(limit)
    total = session.exec(select(func.count()).select_from(Dataset).where(*is_current)).one()
    return list(session.exec(query.options(*without_figures()))), total


def of_day(session: Session, day: date) -> list[Dataset]:
    """The files of a day, by device; `hourly` and `energy` load on access."""
    query = select(Dataset).where(*current_days(), Dataset.start_date == day).order_by(col(Dataset.device_id))
    return list(session.exec(query.options(*without_figures())))


def without_figures() -> tuple[ExecutableOption, ...]:
    """The option of queries whose rows load `hourly` and `energy` on access."""
    return defer(col(Dataset.hourly)), defer(col(Dataset.energy))  # type: ignore[arg-type] # columns are mapped


def day_totals(session: Session, day: date) -> tuple[int, int, int, list[str]]:
    """The number of files of a day, of the readings in them, and of their bytes, and the files' hashes by device."""
    rows, size = func.coalesce(func.sum(Dataset.rows), 0), func.coalesce(func.sum(Dataset.bytes), 0)
    hashes = func.array_agg(aggregate_order_by(col(Dataset.sha256), col(Dataset.device_id)))
    query = select(func.count(), rows, size, hashes).where(*current_days(), Dataset.start_date == day)
    files, rows_, size_, hashes_ = session.exec(query).one()
    return int(files), int(rows_), int(size_), list(hashes_ or [])


@dataclass(frozen=True)
class Totals:
    """How much telemetry day files have: devices, days of devices, readings, and the newest reading's time."""

    devices: int
    days: int
    rows: int
    newest: datetime | None


def totals(session: Session, *, device_id: str | None = None, before: date | None = None) -> Totals:
    """The totals of all day files, or of those of a device, or of days before a day."""
    query = select(
        func.count(func.distinct(Dataset.device_id)),
        func.count(),
        func.coalesce(func.sum(Dataset.rows), 0),
        func.max(Dataset.last_at),
    ).where(*current_days())
    if device_id is not None:
        query = query.where(Dataset.device_id == device_id)
    if before is not None:
        query = query.where(col(Dataset.end_date) < before)
    devices, days, rows, newest = session.exec(query).one()
    return Totals(devices, days, int(rows), newest)


def newest_day(session: Session, device_ids: Collection[str]) -> date | None:
    """The newest day of which any of the devices has a file; None if there is none."""
    query = select(func.max(Dataset.end_date)).where(*current_days(), col(Dataset.device_id).in_(device_ids))
    return session.exec(query).one()


def devices_of_days(session: Session, start: date, end: date) -> list[str]:
    """Devices with a file of any day from start to end, both inclusive."""
    query = select(Dataset.device_id).where(*current_days(), col(Dataset.start_date).between(start, end))
    return list(session.exec(query.distinct().order_by(Dataset.device_id)))


def current_day_files(
    session: Session, device_ids: Sequence[str] | None, start: date | None, end: date | None
) -> list[tuple[str, Mapping[str, Any]]]:
    """Keys and metrics of the day files of devices (None: of all), by device and day; both ends are inclusive."""
    query = select(Dataset.key, Dataset.metrics).where(*current_days())
    if device_ids:
        query = query.where(col(Dataset.device_id).in_(device_ids))
    if start:
        query = query.where(col(Dataset.start_date) >= start)
    if end:
        query = query.where(col(Dataset.end_date) <= end)
    query = query.order_by(col(Dataset.device_id), col(Dataset.start_date))
    return list(session.exec(query).all())


def stored_before(session: Session, day: date, *, limit: int) -> list[Dataset]:
    """The oldest entries whose last day lies before a day and whose file, or a version of it, is still stored."""
    is_stored = or_(col(Dataset.superseded_at).is_(None), col(Dataset.version_key).is_not(None))
    query = select(Dataset).where(is_stored, Dataset.end_date < day).order_by(col(Dataset.id)).limit(limit)
    return list(session.exec(query))


def current_days() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The condition of the files of days as they are now."""
    return col(Dataset.superseded_at).is_(None), col(Dataset.kind) == "day"


def history_version(session: Session, device_id: str, *, before: date) -> str:
    """A hash of all of a device's day files before a day: it changes when one of them does."""
    query = select(Dataset.sha256).where(*current_days(), Dataset.device_id == device_id, Dataset.end_date < before)
    hashes = session.exec(query.order_by(col(Dataset.start_date)))
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def day_hashes(session: Session, device_ids: Collection[str], start: date, end: date) -> dict[str, dict[str, str]]:
    """The hashes of the devices' day files from start to end, both inclusive, by device and key, in order of time."""
    query = select(Dataset.device_id, Dataset.key, Dataset.sha256).where(
        *current_days(), col(Dataset.device_id).in_(device_ids), col(Dataset.start_date).between(start, end)
    )
    found: dict[str, dict[str, str]] = {device_id: {} for device_id in device_ids}
    for device_id, key, sha256 in session.exec(query.order_by(col(Dataset.start_date))):
        found[device_id][key] = sha256
    return found


def is_used(session: Session, dataset: Dataset) -> bool:
    """Whether a result was made from exactly this file, or a running job of the device may be reading it."""
    made_from = type_coerce([{"sha256": dataset.sha256}], JSONB)
    for kind in (AnalyticsJob, ReportJob):
        provenance = col(kind.results)["provenance"]["datasets"]
        is_running = and_(col(kind.device_id) == dataset.device_id, col(kind.status) == "running")
        if session.exec(select(kind.id).where(or_(provenance.op("@>")(made_from), is_running)).limit(1)).first():
            return True
    return False


def record(session: Session, new: Dataset, current: Dataset | None, *, version_key: str | None = None) -> Dataset:
    """Record a file that was written in the place of the current one; returns its row. The caller commits.

    If the content is equal, the current row stays and its derived figures are updated. If the current file was made
    while its last day was open, the new row replaces its row. In any other case, and if the current file was kept as
    `version_key`, the current row stays as superseded. The file is of the tenant that has the device now.
    """
    owner = select(Device.tenant_id).where(Device.device_id == new.device_id)
    new.tenant_id = session.exec(owner.with_for_update(read=True)).first()  # it does not move until the commit
    if current is None:
        session.add(new)
        return new
    if current.sha256 == new.sha256:
        current.first_at, current.last_at = new.first_at, new.last_at
        current.hourly, current.energy = new.hourly, new.energy
        current.corrections, current.raw = new.corrections, new.raw
        if new.kind == "month":
            current.created_at = new.created_at  # it has all that its days had until then
        current.checks = new.checks or current.checks
        session.add(current)
        return current
    if current.created_at.date() <= current.end_date and version_key is None:
        new.id = current.id
        return session.merge(new)
    current.superseded_at, current.version_key, current.raw = new.created_at, version_key, None
    session.add(current)
    session.flush()
    session.add(new)
    return new
