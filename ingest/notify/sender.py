"""Senders: threads that take notifications that are due from the outbox and send them, in every ingester.

A notification is claimed, sent, and the attempt recorded. No transaction is open while it is sent, and every attempt
has a deadline. If a sender dies in between, its claim ends and another sender tries again. So a notification may arrive
twice (with the same id), but it is never lost. Senders are shared out by tenant and channel, so that a receiver that is
slow delays nobody else.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from ingest.metrics import IngestMetrics
from ingest.notify import messages
from ingest.notify.channels import DEADLINE_SECONDS, Channels, DeliveryFailed, Unconfigured
from ingest.notify.messages import Message, ReportFiles
from ingest.notify.settings import NotifySettings
from storage.alerts import Alert
from storage.loops import Loop
from storage.notifications import Notification, NotificationAttempt, claim_due, count_attempts
from storage.objects import ObjectStoreUnavailable, open_object_store
from storage.report_schedules import ReportSchedule, ReportScheduleRun, reports_of
from storage.settings import Settings
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

    def __init__(self, settings: NotifySettings, platform: Settings, engine: Engine, metrics: IngestMetrics) -> None:
        """Check the addresses of all channels.

        Raises:
            SettingsError: an address is wrong.

        """
        self._channels = Channels(settings)
        self._zone = platform.zone
        self._files = ReportFiles(open_object_store(platform), platform.api_address)
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
            make_message, until = self._message_of(session, claimed)
            session.commit()
        is_expired = until is not None and utc_now() > until
        outcome, detail = ("expired", None) if is_expired else self._attempt(claimed, make_message)
        with Session(self._engine) as session:
            notification = session.get_one(Notification, claimed.notification_id, with_for_update=True)
            self._record(session, notification, outcome, detail)
            session.commit()
        self._metrics.notification_attempted(outcome)
        return True

    def _message_of(
        self, session: Session, notification: Notification
    ) -> tuple[Callable[[], Message], datetime | None]:
        """A function that makes the notification's message without the session, and until when to send the message."""
        if notification.alert_id is not None:
            alert = session.get_one(Alert, notification.alert_id)
            return lambda: messages.of_alert(alert, self._zone), alert.reading_time + self._max_age
        run = session.get_one(ReportScheduleRun, notification.report_run_id)
        schedule, reports = session.get_one(ReportSchedule, run.schedule_id), reports_of(session, run.job_ids)
        return lambda: messages.of_reports(run, schedule, reports, self._files, self._zone), None

    def _attempt(self, notification: Notification, make_message: Callable[[], Message]) -> tuple[str, str | None]:
        """Make one attempt, and return its outcome and what the receiver answered."""
        try:
            return "sent", self._channels.send(notification.channel, make_message(), str(notification.notification_id))
        except Unconfigured as error:
            return "unconfigured", str(error)
        except (DeliveryFailed, ObjectStoreUnavailable) as error:
            detail = str(error)
        except KeyError as error:
            detail = f"the file {error} is not in the object store any more"
        except Exception as error:
            log.exception("sending over %s failed unexpectedly", notification.channel)
            detail = f"{type(error).__name__}: {error}"
        log.warning("a notification about %s over %s failed: %s", notification.device_id, notification.channel, detail)
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
