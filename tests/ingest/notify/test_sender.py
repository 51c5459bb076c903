import email
import email.policy
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import Engine, text
from sqlmodel import Session, col, select

from ingest.metrics import IngestMetrics
from ingest.notify.outbox import Outbox
from ingest.notify.sender import BACKOFF_SECONDS, Senders
from ingest.notify.settings import NotifySettings
from storage.alerts import Alert
from storage.database import open_engine
from storage.notifications import Notification, NotificationAttempt
from storage.rules import Rule
from storage.settings import Settings, SettingsError
from storage.times import utc_now
from tests.ingest.notify.test_webhook import Receiver, receiver  # noqa: F401 - a fixture
from tests.support.servers import free_port, wait_until


class Mailbox:
    """What a real SMTP server was given; `refusing` makes it say so."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], Any]] = []
        self.refusing = False

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refusing:
            return "451 come back later"
        self.mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 OK"


@pytest.fixture
def mailbox(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    mailbox, port = Mailbox(), free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    address = f"mailto://127.0.0.1:{port}/?from=plant@example.com&mode=insecure&to="
    monkeypatch.setenv("NOTIFY_EMAIL", f"{address}shift@example.com")
    monkeypatch.setenv("NOTIFY_EMAIL__acme", f"{address}acme@example.com")
    yield mailbox
    controller.stop()


@pytest.fixture
def hook(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:  # noqa: F811
    """The receiver, which the channel `webhook` may reach and leads to."""
    monkeypatch.setenv("WEBHOOK_ALLOWED_HOSTS", "localhost")
    monkeypatch.setenv("NOTIFY_WEBHOOK", f"http://localhost:{receiver.port}/hook")
    return receiver


Raise = Callable[..., Alert]


@pytest.fixture
def raised(session: Session) -> Raise:
    """Raise an alert with its notifications, as ingestion does."""

    def make(channels: list[str], *, minutes_ago: float = 0, tenant_id: str | None = None) -> Alert:
        rule = Rule(rule_name="Hot\nbearing", scope="all_devices", property="temperature", condition=">",
                    threshold=60.0, notification_channels=channels)  # fmt: skip
        session.add(rule)
        session.flush()
        alert = Alert(rule_id=rule.rule_id, device_id="D1", tenant_id=tenant_id, severity="critical",
                      message="Temperature exceeded threshold: 65.0 > 60.0", actual_value=65.0, threshold_value=60.0,
                      reading_time=utc_now() - timedelta(minutes=minutes_ago),
                      rule=rule.model_dump(mode="json"))  # fmt: skip
        session.add(alert)
        session.flush()
        Outbox(NotifySettings.load()).enqueue(session, [alert])
        session.commit()
        return alert

    return make


def senders(engine: Engine) -> Senders:
    return Senders(NotifySettings.load(), Settings.load(), engine, IngestMetrics())


def outcomes(session: Session, alert: Alert) -> dict[str, tuple[str, list[str]]]:
    session.expire_all()
    rows = session.exec(select(Notification).where(Notification.alert_id == alert.alert_id)).all()
    attempts = session.exec(select(NotificationAttempt).order_by(col(NotificationAttempt.id))).all()
    return {
        row.channel: (row.status, [a.outcome for a in attempts if a.notification_id == row.notification_id])
        for row in rows
    }


def make_due(session: Session) -> None:
    session.execute(text("UPDATE notifications SET next_attempt_at = now() WHERE status = 'pending'"))
    session.commit()


def send_as_a_process() -> None:
    settings = Settings.load()
    Senders(NotifySettings.load(), settings, open_engine(settings), IngestMetrics()).send_one()


def end_claims(session: Session) -> None:
    """Let the claims of dead senders end, which takes most of a minute."""
    session.execute(text("UPDATE notifications SET claimed_until = now()"))
    session.commit()


def test_a_sender_killed_while_it_sends(session: Session, engine: Engine, hook: Receiver, raised: Raise) -> None:
    """The message may arrive twice, which its id tells; it is not lost, and what was not finished is no attempt."""
    alert = raised(["webhook"])
    hook.may_answer.clear()
    process = multiprocessing.get_context("spawn").Process(target=send_as_a_process)
    process.start()
    wait_until(lambda: hook.received, "the message is on its way")
    assert not senders(engine).send_one(), "while one sends it, no other does"
    process.kill()
    process.join()
    hook.may_answer.set()
    end_claims(session)
    assert senders(engine).send_one(), "another sender takes it"
    assert outcomes(session, alert) == {"webhook": ("sent", ["sent"])}
    first, second = (headers["X-Energy-Notification"] for _, headers, _ in hook.received)
    assert first == second


def test_an_alert_arrives_as_mail_by_webhook_and_by_any_service(
    session: Session,
    engine: Engine,
    *,
    mailbox: Mailbox,
    hook: Receiver,
    raised: Raise,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOTIFY_SHIFT_LOG", f"json://localhost:{hook.port}/log")
    alert = raised(["email", "webhook", "shift_log", "email"])
    sending = senders(engine)
    assert [sending.send_one() for _ in range(4)] == [True, True, True, False]
    assert outcomes(session, alert) == {c: ("sent", ["sent"]) for c in ("email", "webhook", "shift_log")}
    ((to, mail),) = mailbox.mails
    assert to == ["shift@example.com"]
    assert mail["subject"] == "[critical] D1: Hot bearing"
    assert "Temperature exceeded threshold: 65.0 > 60.0" in mail.get_content()
    assert {path for path, _, _ in hook.received} == {"/hook", "/log"}
    body = next(body for path, _, body in hook.received if path == "/hook")
    assert str(alert.alert_id).encode() in body
    assert b'"reading_time"' in body


def test_a_tenant_has_an_address_of_its_own(session: Session, engine: Engine, mailbox: Mailbox, raised: Raise) -> None:
    sending = senders(engine)
    for tenant_id in ("acme", "other"):
        raised(["email"], tenant_id=tenant_id)
    intruding = raised(["email__acme"], tenant_id="other")
    while sending.send_one():
        pass
    assert [to for to, _ in mailbox.mails] == [["acme@example.com"], ["shift@example.com"]]
    assert outcomes(session, intruding)["email__acme"][0] == "unconfigured"


def test_failures_are_on_record_and_tried_again(
    session: Session, engine: Engine, mailbox: Mailbox, raised: Raise
) -> None:
    mailbox.refusing = True
    alert = raised(["email"])
    sending = senders(engine)
    assert sending.send_one()
    assert not sending.send_one()  # not due yet
    notification = session.exec(select(Notification)).one()
    assert notification.next_attempt_at
    assert timedelta(seconds=3) < notification.next_attempt_at - utc_now() <= timedelta(seconds=BACKOFF_SECONDS[0])
    assert "451" in str(session.exec(select(NotificationAttempt.detail)).one())
    mailbox.refusing = False
    make_due(session)
    assert sending.send_one()
    assert outcomes(session, alert) == {"email": ("sent", ["failed", "sent"])}
    assert len(mailbox.mails) == 1


def test_after_the_last_failure_it_is_given_up(
    session: Session, engine: Engine, mailbox: Mailbox, raised: Raise
) -> None:
    mailbox.refusing = True
    alert = raised(["email"])
    sending = senders(engine)
    while sending.send_one():
        make_due(session)
    assert outcomes(session, alert) == {"email": ("failed", ["failed"] * (len(BACKOFF_SECONDS) + 1))}


def test_unconfigured_old_and_too_many(session: Session, engine: Engine, settings: Settings, raised: Raise) -> None:
    alert = raised(["whatsapp"])
    old = raised(["whatsapp"], minutes_ago=61)
    assert senders(engine).send_one()
    assert outcomes(session, alert) == {"whatsapp": ("unconfigured", ["unconfigured"])}
    assert "NOTIFY_WHATSAPP" in str(session.exec(select(NotificationAttempt.detail)).one())
    assert outcomes(session, old) == {"whatsapp": ("expired", [])}
    many = [raised(["email"]) for _ in range(NotifySettings.load().notification_limit_per_hour + 1)]
    assert [outcomes(session, a)["email"][0] for a in many] == ["pending"] * (len(many) - 1) + ["rate_limited"]
    assert outcomes(session, raised(["sms"])) == {"sms": ("pending", [])}


def test_what_waited_too_long_is_not_sent_any_more(session: Session, engine: Engine, raised: Raise) -> None:
    alert = raised(["email"], minutes_ago=59)
    session.execute(text("UPDATE alerts SET reading_time = reading_time - interval '2 minutes'"))
    session.commit()
    assert senders(engine).send_one()
    assert outcomes(session, alert) == {"email": ("expired", [])}


def test_many_senders_send_each_once(session: Session, engine: Engine, mailbox: Mailbox, raised: Raise) -> None:
    alerts = [raised(["email"]) for _ in range(12)]
    sending = [senders(engine) for _ in range(4)]

    def work(sender: Senders) -> int:
        count = 0
        while sender.send_one():
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, sending)) == 12
    assert len(mailbox.mails) == 12
    assert all(outcomes(session, alert) == {"email": ("sent", ["sent"])} for alert in alerts)


def test_a_sender_that_dies_between_sending_and_record_leaves_it_due(
    session: Session, engine: Engine, mailbox: Mailbox, raised: Raise, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = raised(["email"])
    sending = senders(engine)
    with monkeypatch.context() as patch:
        patch.setattr(Senders, "_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sending.send_one()
    assert outcomes(session, alert) == {"email": ("pending", [])}
    end_claims(session)
    assert sending.send_one()
    assert outcomes(session, alert) == {"email": ("sent", ["sent"])}
    assert len(mailbox.mails) == 2  # at least once


def test_the_threads_send_what_comes(session: Session, engine: Engine, mailbox: Mailbox, raised: Raise) -> None:
    sending = senders(engine)
    sending.start()
    alert = raised(["email"])
    wait_until(lambda: outcomes(session, alert)["email"][0] == "sent", "the mail is sent")
    sending.stop()
    assert not [t for t in threading.enumerate() if t.name.startswith("sender-")]


def test_an_address_that_is_none_is_named_at_the_start(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_PAGER", "nonsense://secret")
    with pytest.raises(SettingsError, match="NOTIFY_PAGER") as error:
        senders(engine)
    assert "secret" not in str(error.value)
