"""What is to be sent: a row per alert and channel, in the alert's transaction: neither is there without the other."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlmodel import Session

from ingest.notify.settings import NotifySettings
from storage.notifications import Notification
from storage.rules import Alert
from storage.times import utc_now

_LAST_HOUR = text("""
SELECT device_id, channel, count(*) FROM notifications
WHERE device_id = ANY(CAST(:devices AS text[])) AND created_at > now() - interval '1 hour'
  AND status IN ('pending', 'sent', 'failed') GROUP BY device_id, channel
""")


class Outbox:
    """Decides which notifications are worth sending; the others are kept with the reason as their status."""

    def __init__(self, settings: NotifySettings) -> None:
        self._max_age = timedelta(minutes=settings.notification_max_age_minutes)
        self._limit = settings.notification_limit_per_hour

    def enqueue(self, session: Session, alerts: Sequence[Alert]) -> None:
        """Add the notifications of new alerts to the session, newest readings first where a limit cuts."""
        channels = {alert.alert_id: _channels(alert) for alert in alerts}
        devices = {alert.device_id for alert in alerts if channels[alert.alert_id]}
        if not devices:
            return
        sent: Counter[tuple[str, str]] = Counter()
        for device_id, channel, count in session.execute(_LAST_HOUR, {"devices": sorted(devices)}):
            sent[device_id, channel] = count
        now = utc_now()
        for alert in sorted(alerts, key=lambda alert: alert.reading_time, reverse=True):
            for channel in channels[alert.alert_id]:
                notification = Notification(
                    alert_id=alert.alert_id, tenant_id=alert.tenant_id, device_id=alert.device_id, channel=channel
                )
                if now - alert.reading_time > self._max_age:
                    notification.status, notification.next_attempt_at = "expired", None
                elif sent[alert.device_id, channel] >= self._limit:
                    notification.status, notification.next_attempt_at = "rate_limited", None
                else:
                    sent[alert.device_id, channel] += 1
                session.add(notification)


def _channels(alert: Alert) -> list[str]:
    names = alert.rule.get("notification_channels")
    return list(dict.fromkeys(map(str, names))) if isinstance(names, list) else []
