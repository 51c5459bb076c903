"""The fleet: ranked by its newest analyses (anomaly, failure risk, expected energy), and devices of one type."""

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import true
from sqlalchemy.orm import outerjoin
from sqlmodel import Session, col, func, select
from sqlmodel.sql.expression import SelectOfScalar

from storage.devices import Device, registered
from storage.failures import Failure
from storage.jobs import AnalyticsJob

# What the fleet can be ranked by, with the analysis whose figure it is.
RANKINGS = {"anomaly": "anomaly", "risk": "prediction", "energy": "forecast"}
RankedBy = Literal["anomaly", "risk", "energy"]


class Ranking(NamedTuple):
    """The figure of an analysis, and the job behind it, whose data end at `until`."""

    value: float
    job_id: str
    model_name: str
    until: datetime
    completed_at: datetime


# The columns of `Ranking`.
_FIGURES: tuple[Any, ...] = (
    col(AnalyticsJob.ranking),
    col(AnalyticsJob.job_id),
    col(AnalyticsJob.model_name),
    # A range may reach into the future; the data cannot.
    func.least(func.coalesce(AnalyticsJob.data_until, AnalyticsJob.date_range_end), AnalyticsJob.completed_at).label(
        "until"
    ),
    col(AnalyticsJob.completed_at),
)


class FleetDevice(NamedTuple):
    """A device with its rankings; None where no analysis has that figure."""

    device: Device
    rankings: dict[str, Ranking | None]


def ranked_devices(
    session: Session,
    *,
    by: RankedBy,
    descending: bool,
    tenant_id: str | None = None,
    device_type: str | None = None,
    search: str | None = None,
    offset: int,
    limit: int,
) -> tuple[list[FleetDevice], int]:
    """One page of the registered devices, ranked, and the number of all of them. Devices without the figure come last.

    Of each analysis the job counts whose data are the newest, and of several the one that was completed last.
    """
    devices = registered(search)
    if tenant_id is not None:
        devices = devices.where(Device.tenant_id == tenant_id)
    if device_type is not None:
        devices = devices.where(Device.device_type == device_type)
    total = session.exec(select(func.count()).select_from(devices.subquery())).one()
    newest = {name: _newest(analysis) for name, analysis in RANKINGS.items()}
    joined: Any = Device
    for job in newest.values():
        joined = outerjoin(joined, job, true())
    statement: Any = devices.select_from(joined)
    statement = statement.add_columns(*(column for job in newest.values() for column in job.c))
    first = newest[by].c.ranking
    others = [job.c.ranking for name, job in newest.items() if name != by]
    statement = statement.order_by(
        (first.desc() if descending else first.asc()).nulls_last(),
        *(other.desc().nulls_last() for other in others),
        Device.device_id,
    )
    rows = session.execute(statement.offset(offset).limit(limit)).all()
    return [_device(row) for row in rows], total


def longest_waiting(
    session: Session, device_ids: Collection[str], until: datetime, analysis_types: Collection[str]
) -> list[str]:
    """The devices in the order in which they wait for analyses of these types, of data that end at `until`.

    First come those that have none of the last 30 days; then those whose newest one is the oldest.
    """
    recent = select(AnalyticsJob.device_id, func.max(AnalyticsJob.date_range_end)).where(
        AnalyticsJob.status == "completed",
        AnalyticsJob.date_range_end > until - timedelta(days=30),
        col(AnalyticsJob.analysis_type).in_(analysis_types),
    )
    analysed = dict(session.exec(recent.group_by(col(AnalyticsJob.device_id))).all())
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(device_ids, key=lambda device_id: (analysed.get(device_id, never), device_id))


def _newest(analysis: str) -> Any:
    """The device's newest job of an analysis that has a ranking, as a lateral subquery."""
    job: Any = select(*_FIGURES).where(
        AnalyticsJob.device_id == Device.device_id,
        AnalyticsJob.analysis_type == analysis,
        col(AnalyticsJob.ranking).is_not(None),
    )
    newest = job.order_by(col(AnalyticsJob.date_range_end).desc(), col(AnalyticsJob.completed_at).desc())
    return newest.limit(1).lateral(f"newest_{analysis}")


def _device(row: Any) -> FleetDevice:
    device, *figures = row
    rankings = {}
    for i, name in enumerate(RANKINGS):
        part = figures[i * len(_FIGURES) : (i + 1) * len(_FIGURES)]
        rankings[name] = Ranking(*part) if part[0] is not None else None
    return FleetDevice(device, rankings)


def failing_devices(session: Session, since: datetime, least: int) -> dict[str, int]:
    """How often each device has failed since a moment, if the devices of its type and tenant did so `least` times."""
    own = dict(
        session.exec(
            select(Failure.device_id, func.count()).where(Failure.failed_at >= since).group_by(col(Failure.device_id))
        ).all()
    )
    if not own:
        return {}
    devices = session.exec(
        select(Device.device_id, Device.device_type, Device.tenant_id).where(col(Device.deleted_at).is_(None))
    ).all()
    of_type = Counter[tuple[str, str | None]]()
    for device_id, device_type, tenant_id in devices:
        of_type[device_type, tenant_id] += own.get(device_id, 0)
    return {name: own.get(name, 0) for name, type_, tenant_id in devices if of_type[type_, tenant_id] >= least}


def failures_of_alike(session: Session, device_id: str, since: datetime, until: datetime) -> dict[str, int]:
    """How often each other device of the type and tenant failed after `since`, up to `until`, if it did."""
    query = select(Failure.device_id, func.count()).where(
        col(Failure.device_id).in_(select_alike(session, device_id)),
        Failure.failed_at > since,
        Failure.failed_at <= until,
    )
    return dict(session.exec(query.group_by(col(Failure.device_id))).all())


def devices_like(session: Session, device_id: str) -> list[str]:
    """The other devices of the same type and tenant that are not deleted."""
    return list(session.exec(select_alike(session, device_id).order_by(Device.device_id)))


def select_alike(session: Session, device_id: str) -> SelectOfScalar[str]:
    """Select the other devices of the same type and tenant that are not deleted; none if there is no such device."""
    device = session.get(Device, device_id)
    return select(Device.device_id).where(
        Device.device_type == (device.device_type if device else None),
        col(Device.tenant_id).is_not_distinct_from(device.tenant_id if device else None),
        Device.device_id != device_id,
        col(Device.deleted_at).is_(None),
    )
