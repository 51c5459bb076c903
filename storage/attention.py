"""What needs attention first: machines by their open alerts and by their silence, and the worst of the alerts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import case, func, select
from sqlmodel import Session, col

from storage.alerts import Alert
from storage.devices import Device, registered
from storage.last_seen import DeviceLastSeen
from storage.rules import SEVERITIES

AttentionOrder = Literal[
    "attention",
    "device_id",
    "-device_id",
    "device_name",
    "-device_name",
    "last_seen",
    "-last_seen",
    "alerts",
    "-alerts",
]


# The place of an alert's severity in `SEVERITIES`; of another one that of the last.
_RANK = case(
    {severity: rank for rank, severity in enumerate(SEVERITIES)}, value=col(Alert.severity), else_=len(SEVERITIES) - 1
)


class MachineRow(NamedTuple):
    """A machine with its open alerts, the worst severity among them, and when it was last seen."""

    device: Device
    open_alerts: int
    severity: str | None
    last_seen_at: datetime | None


def machines(
    session: Session,
    *,
    search: str | None = None,
    device_type: str | None = None,
    status: str | None = None,
    order: AttentionOrder = "attention",
    offset: int = 0,
    limit: int = 20,
) -> tuple[list[MachineRow], int]:
    """The registered machines of one page, and how many there are on all pages; `removed` is a status of its own."""
    is_removed = status == "removed"
    matching = registered(search, deleted=is_removed)
    if device_type is not None:
        matching = matching.where(Device.device_type == device_type)
    if status is not None and not is_removed:
        matching = matching.where(Device.status == status)
    total = session.exec(select(func.count()).select_from(matching.subquery())).scalar_one()  # type: ignore[call-overload] # SQLModel types its own select
    alerts = (
        select(col(Alert.device_id), func.count().label("open"), func.min(_RANK).label("rank"))
        .where(col(Alert.status) == "open")
        .group_by(col(Alert.device_id))
        .subquery()
    )
    seen = col(DeviceLastSeen.last_seen_at)
    orders: dict[str, tuple[Any, ...]] = {
        "attention": (alerts.c.rank.asc().nulls_last(), alerts.c.open.desc().nulls_last(), seen.asc().nulls_last()),
        "device_id": (col(Device.device_id),),
        "device_name": (col(Device.device_name),),
        "last_seen": (seen.asc().nulls_last(),),
        "alerts": (func.coalesce(alerts.c.open, 0),),
    }
    name = order.removeprefix("-")
    columns = orders[name]
    if order.startswith("-"):
        columns = (seen.desc().nulls_last(),) if name == "last_seen" else tuple(column.desc() for column in columns)
    rows = session.execute(
        matching.add_columns(alerts.c.open, alerts.c.rank, seen)
        .join(alerts, alerts.c.device_id == col(Device.device_id), isouter=True)
        .join(DeviceLastSeen, col(DeviceLastSeen.device_id) == col(Device.device_id), isouter=True)
        .order_by(*columns, col(Device.device_id))
        .offset(offset)
        .limit(limit)
    )
    found = [
        MachineRow(device, count or 0, None if rank is None else SEVERITIES[rank], last_seen_at)
        for device, count, rank, last_seen_at in rows
    ]
    return found, int(total)


def worst_alerts(session: Session, device_id: str | None = None, *, limit: int) -> Sequence[Alert]:
    """Open alerts, of a machine or of all: the worst first, and of one severity the newest."""
    query = select(Alert).where(col(Alert.status) == "open")
    if device_id is not None:
        query = query.where(col(Alert.device_id) == device_id)
    return session.execute(query.order_by(_RANK, col(Alert.created_at).desc()).limit(limit)).scalars().all()


def device_types(session: Session) -> Sequence[str]:
    """The types of the registered machines."""
    query = select(col(Device.device_type)).where(col(Device.deleted_at).is_(None)).distinct()
    return session.execute(query.order_by(col(Device.device_type))).scalars().all()


def never_seen(session: Session) -> int:
    """How many of the registered machines have never sent anything."""
    seen = select(col(DeviceLastSeen.device_id)).where(col(DeviceLastSeen.device_id) == col(Device.device_id))
    query = select(func.count()).select_from(Device).where(col(Device.deleted_at).is_(None), ~seen.exists())
    return int(session.execute(query).scalar_one())
