"""The outbox: a notification per alert and channel, added in the alert's transaction, so that none gets lost."""

from collections.abc import Sequence
from datetime import timedelta

from sqlmodel import Session

from ingest.notify.settings import NotifySettings
from storage.alerts import Alert
from storage.notifications import Notification, count_recent
from storage.times import utc_now


class Outbox:
    """Decides which notifications to send. The others are kept with the reason as their status."""

    def __init__(self, settings: NotifySettings) -> None:
        self._max_age = timedelta(minutes=settings.notification_max_age_minutes)
        self._limit = settings.notification_limit_per_hour
        self._settings = settings

    def without_address(self, channels: Sequence[str], tenant_id: str | None) -> list[str]:
        """The channels that have no address in the settings."""
        return [channel for channel in channels if self._settings.address_name(channel, tenant_id) is None]

    def has_own_address(self, channel: str, tenant_id: str) -> bool:
        """Whether a tenant has an address for itself under the channel's name."""
        return self._settings.own_address_name(channel, tenant_id) is not None

    def enqueue(self, session: Session, alerts: Sequence[Alert]) -> None:
        """Add the notifications of new alerts to the session. If a limit applies, the newest readings go first."""
        channels = {alert.alert_id: _channels(alert) for alert in alerts}
        devices = {alert.device_id for alert in alerts if channels[alert.alert_id]}
        if not devices:
            return
        recent = count_recent(session, devices)
        now = utc_now()
        for alert in sorted(alerts, key=lambda alert: alert.reading_time, reverse=True):
            for channel in channels[alert.alert_id]:
                notification = Notification(
                    alert_id=alert.alert_id, tenant_id=alert.tenant_id, device_id=alert.device_id, channel=channel
                )
                if now - alert.reading_time > self._max_age:
                    notification.status, notification.next_attempt_at = "expired", None
                elif recent[alert.device_id, channel] >= self._limit:
                    notification.status, notification.next_attempt_at = "rate_limited", None
                else:
                    recent[alert.device_id, channel] += 1
                session.add(notification)


def _channels(alert: Alert) -> list[str]:
    names = alert.rule.get("notification_channels")
    return list(dict.fromkeys(map(str, names))) if isinstance(names, list) else []
