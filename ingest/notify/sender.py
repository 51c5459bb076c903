"""Senders: threads that take what is due from the outbox, in as many ingesters as there are.

A notification is locked while it is tried, and the attempt is recorded before the lock is given back. Who dies in
between leaves it due, and another sender tries again: a message may arrive twice (its id tells), never not at all.
"""

import logging
import threading
from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, func, select

from ingest.metrics import IngestMetrics
from ingest.notify.channels import Channels, DeliveryFailed, Unconfigured
from ingest.notify.settings import NotifySettings
from storage.notifications import Notification, NotificationAttempt
from storage.rules import Alert
from storage.times import utc_now

log = logging.getLogger(__name__)

SENDERS = 4
POLL_SECONDS = 1.0
# Seconds to wait after each failure; after the last there is no other attempt.
BACKOFF = (5, 15, 60, 180, 600, 900, 900)
MAX_DETAIL = 2000

_DUE = text("""
SELECT notification_id FROM notifications
WHERE status = 'pending' AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
""")


class Senders:
    """The sending threads of one process."""

    def __init__(self, settings: NotifySettings, zone: ZoneInfo, engine: Engine, counts: IngestMetrics) -> None:
        """Check the addresses.

        Raises:
            SettingsError: an address is none.

        """
        self._channels = Channels(settings, zone)
        self._max_age = timedelta(minutes=settings.notification_max_age_minutes)
        self._engine = engine
        self._counts = counts
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"sender-{i}", daemon=True) for i in range(SENDERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish what it is at."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def send_one(self) -> bool:
        """Try the notification that is due longest; False if none is."""
        with Session(self._engine) as session:
            notification_id = session.execute(_DUE).scalar()
            if notification_id is None:
                return False
            notification = session.get_one(Notification, notification_id)
            outcome = self._try(session, notification, session.get_one(Alert, notification.alert_id))
            session.commit()
        self._counts.notified(outcome)
        return True

    def _try(self, session: Session, notification: Notification, alert: Alert) -> str:
        """Make one attempt and enter it; its outcome."""
        notification.next_attempt_at = None
        if utc_now() - alert.reading_time > self._max_age:
            notification.status = "expired"
            return "expired"
        detail: str | None
        try:
            detail = self._channels.send(notification.channel, alert, str(notification.notification_id))
            outcome = notification.status = "sent"
            notification.sent_at = utc_now()
        except Unconfigured as error:
            outcome = notification.status = "unconfigured"
            detail = str(error)
        except DeliveryFailed as error:
            outcome, detail = "failed", str(error)
        except Exception as error:
            log.exception("sending over %s failed in an unexpected way", notification.channel)
            outcome, detail = "failed", f"{type(error).__name__}: {error}"
        if outcome == "failed":
            log.warning("a notification of %s over %s failed: %s", alert.device_id, notification.channel, detail)
            self._postpone(session, notification)
        session.add(
            NotificationAttempt(
                notification_id=notification.notification_id,
                tenant_id=notification.tenant_id,
                outcome=outcome,
                detail=detail and detail.replace("\0", "")[:MAX_DETAIL],
            )
        )
        return outcome

    def _postpone(self, session: Session, notification: Notification) -> None:
        made = select(func.count()).where(col(NotificationAttempt.notification_id) == notification.notification_id)
        failures = session.exec(made).one()
        if failures < len(BACKOFF):
            notification.next_attempt_at = utc_now() + timedelta(seconds=BACKOFF[failures])
        else:
            notification.status = "failed"

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.send_one():
                    self._stopping.wait(POLL_SECONDS)
            except DBAPIError as error:
                log.warning("notifications wait for the database: %s", str(error.orig).strip().splitlines()[0])
                self._stopping.wait(5)
            except Exception:
                log.exception("a sender failed; it goes on in a few seconds")
                self._stopping.wait(5)
