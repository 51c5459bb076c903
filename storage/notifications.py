"""The outbox of notifications: a row per alert, or per run of a report's schedule, and channel; and every attempt."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, UniqueConstraint, text
from sqlmodel import Field, Session, SQLModel, Text, col, func, select

from storage.database import Timestamp
from storage.report_schedules import ReportScheduleRun
from storage.times import utc_now


class Notification(SQLModel, table=True):
    """An alert, or the reports of one run of a schedule, on the way to people over one channel.

    `status` is `pending` until the notification is `sent`, or `failed` after the last attempt; a sender is at it until
    `claimed_until`. It is `unconfigured` if the channel has no address, `rate_limited` if the device has had too many,
    and `expired` if the reading is too old.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("alert_id", "channel", name="notifications_one_per_channel"),
        UniqueConstraint("report_run_id", "channel", name="notifications_one_per_report"),
        CheckConstraint("num_nonnulls(alert_id, report_run_id) = 1", name="notifications_subject"),
        Index("notifications_due", "next_attempt_at", postgresql_where=text("status = 'pending'")),
        Index("notifications_of_device", "device_id", "created_at"),
    )

    notification_id: UUID = Field(default_factory=uuid4, primary_key=True)
    alert_id: UUID | None = Field(default=None, foreign_key="alerts.alert_id", ondelete="CASCADE")
    report_run_id: UUID | None = Field(default=None, foreign_key="report_schedule_runs.run_id", ondelete="CASCADE")
    tenant_id: str | None = Field(default=None, max_length=50)
    device_id: str = Field(max_length=50)
    channel: str = Field(max_length=50)
    status: str = Field(default="pending", max_length=20)
    next_attempt_at: datetime | None = Timestamp(default_factory=utc_now)
    created_at: datetime = Timestamp(default_factory=utc_now)
    sent_at: datetime | None = Timestamp(default=None)
    claimed_until: datetime | None = Timestamp(default=None)


class NotificationAttempt(SQLModel, table=True):
    """One attempt to send: `sent`, `failed` or `unconfigured`, and what the receiver answered."""

    __tablename__ = "notification_attempts"

    id: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()], primary_key=True)
    notification_id: UUID = Field(foreign_key="notifications.notification_id", ondelete="CASCADE", index=True)
    tenant_id: str | None = Field(default=None, max_length=50)
    attempted_at: datetime = Timestamp(default_factory=utc_now)
    outcome: str = Field(max_length=20)
    detail: str | None = Field(default=None, sa_type=Text)


def notifications_of(session: Session, alert_id: UUID) -> Sequence[Notification]:
    """An alert's notifications by channel."""
    statement = select(Notification).where(Notification.alert_id == alert_id)
    return session.exec(statement.order_by(col(Notification.channel))).all()


def attempts_of(session: Session, alert_id: UUID) -> Sequence[NotificationAttempt]:
    """The attempts at all of an alert's notifications, oldest first."""
    ids = select(Notification.notification_id).where(Notification.alert_id == alert_id)
    statement = select(NotificationAttempt).where(col(NotificationAttempt.notification_id).in_(ids))
    return session.exec(statement.order_by(col(NotificationAttempt.id))).all()


_RECENT = text("""
SELECT device_id, channel, count(*) FROM notifications
WHERE device_id = ANY(CAST(:devices AS text[])) AND created_at > now() - interval '1 hour'
  AND alert_id IS NOT NULL AND status IN ('pending', 'sent', 'failed') GROUP BY device_id, channel
""")
# Of those that are due, one of the tenant, and then of its channel, that is sending the fewest.
_CLAIM_DUE = text("""
WITH sending AS (
    SELECT tenant_id, channel, count(*) AS of_channel, sum(count(*)) OVER (PARTITION BY tenant_id) AS of_tenant
    FROM notifications WHERE status = 'pending' AND claimed_until > now() GROUP BY tenant_id, channel
), by_tenant AS (SELECT DISTINCT tenant_id, of_tenant FROM sending)
UPDATE notifications SET claimed_until = now() + make_interval(secs => :seconds) WHERE notification_id = (
    SELECT n.notification_id FROM notifications n
    LEFT JOIN sending s ON s.channel = n.channel AND s.tenant_id IS NOT DISTINCT FROM n.tenant_id
    LEFT JOIN by_tenant t ON t.tenant_id IS NOT DISTINCT FROM n.tenant_id
    WHERE n.status = 'pending' AND n.next_attempt_at <= now() AND coalesce(n.claimed_until <= now(), true)
      AND coalesce(s.of_channel, 0) < :share
    ORDER BY coalesce(t.of_tenant, 0), coalesce(s.of_channel, 0), n.next_attempt_at
    LIMIT 1 FOR UPDATE OF n SKIP LOCKED
) RETURNING notification_id
""")


def add_report_notifications(
    session: Session, run: ReportScheduleRun, device_id: str, channels: Collection[str]
) -> None:
    """Add the notifications of a run whose reports have ended, one per channel."""
    for channel in dict.fromkeys(channels):
        session.add(
            Notification(report_run_id=run.run_id, tenant_id=run.tenant_id, device_id=device_id, channel=channel)
        )


def notifications_of_runs(session: Session, run_ids: Collection[UUID]) -> Sequence[Notification]:
    """The notifications of runs of schedules, by channel."""
    statement = select(Notification).where(col(Notification.report_run_id).in_(run_ids))
    return session.exec(statement.order_by(col(Notification.channel))).all()


def last_attempts(session: Session, notification_ids: Collection[UUID]) -> dict[UUID, NotificationAttempt]:
    """The last attempt at each of the notifications; those without one are left out."""
    ids = col(NotificationAttempt.notification_id)
    statement = select(NotificationAttempt).where(ids.in_(notification_ids)).order_by(col(NotificationAttempt.id))
    return {attempt.notification_id: attempt for attempt in session.exec(statement)}


def count_recent(session: Session, device_ids: Collection[str]) -> Counter[tuple[str, str]]:
    """How many alerts' notifications of the last hour were sent or are to be sent, by device and channel."""
    rows = session.execute(_RECENT, {"devices": sorted(device_ids)})
    return Counter({(device_id, channel): count for device_id, channel, count in rows})


def claim_due(session: Session, *, seconds: float, share: int) -> Notification | None:
    """Claim a notification that is due, for so many seconds; None if none is. The caller commits.

    Of one tenant and channel at most `share` are claimed at a time, by all senders together. If a sender dies, its
    claim ends, and another one tries again.
    """
    notification_id = session.execute(_CLAIM_DUE, {"seconds": seconds, "share": share}).scalar()
    return session.get_one(Notification, notification_id) if notification_id else None


def count_attempts(session: Session, notification_id: UUID) -> int:
    attempts = select(func.count()).where(col(NotificationAttempt.notification_id) == notification_id)
    return session.exec(attempts).one()
