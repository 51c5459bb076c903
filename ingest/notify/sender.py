"""Senders: threads that take notifications that are due from the outbox and send them, in every ingester.

A notification is claimed, sent, and the attempt recorded. No transaction is open while it is sent, and every attempt
has a deadline. If a sender dies in between, its claim ends and another sender tries again. So a notification may arrive
twice (with the same id), but it is never lost. Senders are shared out by tenant and channel, so that a receiver that is
slow delays nobody else.
"""

import logging
import threading
from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from ingest.metrics import IngestMetrics
from ingest.notify.channels import DEADLINE_SECONDS, Channels, DeliveryFailed, Unconfigured
from ingest.notify.settings import NotifySettings
from storage.alerts import Alert
from storage.loops import Loop
from storage.notifications import Notification, NotificationAttempt, claim_due, count_attempts
from storage.times import utc_now

log = logging.getLogger(__name__)

SENDERS = 8
# How many of them one channel of one tenant may occupy.
SHARE = 3
POLL_SECONDS = 1.0
# A claim outlasts the deadline of an attempt, and its record.
CLAIM_SECONDS = DEADLINE_SECONDS + 30
# Seconds to wait after each failed attempt; there is no attempt after the last one.
BACKOFF_SECONDS = (5, 15, 60, 180, 600, 900, 900)
MAX_DETAIL_LENGTH = 2000
# An attempt that takes longer than this is stuck.
MAX_ATTEMPT_SECONDS = 120.0


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
        """Try a notification that is due; False if there is none that may be sent now."""
        with Session(self._engine, expire_on_commit=False) as session:
            claimed = claim_due(session, seconds=CLAIM_SECONDS, share=SHARE)
            if claimed is None:
                return False
            alert = session.get_one(Alert, claimed.alert_id)
            session.commit()
        outcome, detail = self._attempt(claimed, alert)
        with Session(self._engine) as session:
            notification = session.get_one(Notification, claimed.notification_id, with_for_update=True)
            self._record(session, notification, outcome, detail)
            session.commit()
        self._metrics.notification_attempted(outcome)
        return True

    def _attempt(self, notification: Notification, alert: Alert) -> tuple[str, str | None]:
        """Make one attempt, and return its outcome and what the receiver answered."""
        if utc_now() - alert.reading_time > self._max_age:
            return "expired", None
        try:
            return "sent", self._channels.send(notification.channel, alert, str(notification.notification_id))
        except Unconfigured as error:
            return "unconfigured", str(error)
        except DeliveryFailed as error:
            detail = str(error)
        except Exception as error:
            log.exception("sending over %s failed unexpectedly", notification.channel)
            detail = f"{type(error).__name__}: {error}"
        log.warning("a notification about %s over %s failed: %s", alert.device_id, notification.channel, detail)
        return "failed", detail

    def _record(self, session: Session, notification: Notification, outcome: str, detail: str | None) -> None:
        """Enter what became of an attempt, and when to try again."""
        notification.claimed_until = notification.next_attempt_at = None
        if outcome == "failed":
            self._postpone(session, notification)
        else:
            notification.status = outcome
        if outcome == "expired":
            return
        if outcome == "sent":
            notification.sent_at = utc_now()
        session.add(
            NotificationAttempt(
                notification_id=notification.notification_id,
                tenant_id=notification.tenant_id,
                outcome=outcome,
                detail=detail and detail.replace("\0", "")[:MAX_DETAIL_LENGTH],
            )
        )

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
