"""Senders: threads that take notifications that are due from the outbox and send them, in every ingester.

A notification is locked during an attempt, and the attempt is recorded before the lock is released. If a sender dies in
between, the notification stays due and another sender tries again. So it may arrive twice (with the same id), but it is
never lost.
"""

import logging
import threading
from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from ingest.metrics import IngestMetrics
from ingest.notify.channels import Channels, DeliveryFailed, Unconfigured
from ingest.notify.settings import NotifySettings
from storage.alerts import Alert
from storage.loops import Loop
from storage.notifications import Notification, NotificationAttempt, count_attempts, lock_due
from storage.times import utc_now

log = logging.getLogger(__name__)

SENDERS = 4
POLL_SECONDS = 1.0
# Seconds to wait after each failed attempt; there is no attempt after the last one.
BACKOFF_SECONDS = (5, 15, 60, 180, 600, 900, 900)
MAX_DETAIL_LENGTH = 2000
# An attempt that takes longer than this is stuck.
MAX_ATTEMPT_SECONDS = 600.0


class Senders:
    """The sending threads of one process."""

    def __init__(self, settings: NotifySettings, zone: ZoneInfo, engine: Engine, metrics: IngestMetrics) -> None:
        """Check the addresses of all channels.

        Raises:
            SettingsError: an address is wrong.

        """
        self._channels = Channels(settings, zone)
        self._max_age = timedelta(minutes=settings.notification_max_age_minutes)
        self._engine = engine
        self._metrics = metrics
        self._stopping = threading.Event()
        self.loops = [Loop(f"sender_{i}", MAX_ATTEMPT_SECONDS) for i in range(SENDERS)]
        self._threads = [
            threading.Thread(target=self._run, args=(loop,), name=loop.name, daemon=True) for loop in self.loops
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; each finishes its attempt first."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def send_one(self) -> bool:
        """Try the notification that has been due longest; False if none is due."""
        with Session(self._engine) as session:
            notification = lock_due(session)
            if notification is None:
                return False
            outcome = self._attempt(session, notification, session.get_one(Alert, notification.alert_id))
            session.commit()
        self._metrics.notification_attempted(outcome)
        return True

    def _attempt(self, session: Session, notification: Notification, alert: Alert) -> str:
        """Make one attempt, record it, and return its outcome."""
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
            log.exception("sending over %s failed unexpectedly", notification.channel)
            outcome, detail = "failed", f"{type(error).__name__}: {error}"
        if outcome == "failed":
            log.warning("a notification about %s over %s failed: %s", alert.device_id, notification.channel, detail)
            self._postpone(session, notification)
        session.add(
            NotificationAttempt(
                notification_id=notification.notification_id,
                tenant_id=notification.tenant_id,
                outcome=outcome,
                detail=detail and detail.replace("\0", "")[:MAX_DETAIL_LENGTH],
            )
        )
        return outcome

    def _postpone(self, session: Session, notification: Notification) -> None:
        failures = count_attempts(session, notification.notification_id)
        if failures < len(BACKOFF_SECONDS):
            notification.next_attempt_at = utc_now() + timedelta(seconds=BACKOFF_SECONDS[failures])
        else:
            notification.status = "failed"

    def _run(self, loop: Loop) -> None:
        loop.worked()
        while not self._stopping.is_set():
            try:
                is_idle = not self.send_one()
                loop.worked()
                if is_idle:
                    self._stopping.wait(POLL_SECONDS)
            except DBAPIError as error:
                loop.failed(error.orig or error)
                log.warning("notifications are waiting for the database: %s", str(error.orig).strip().splitlines()[0])
                self._stopping.wait(5)
            except Exception as error:
                loop.failed(error)
                log.exception("a sender failed; it continues in 5 s")
                self._stopping.wait(5)
