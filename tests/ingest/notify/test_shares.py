"""Receivers that are slow, or never end: they delay nobody else, and hold nothing open."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session

from ingest.metrics import IngestMetrics
from ingest.notify import channels, webhook
from ingest.notify.channels import DeliveryFailed
from ingest.notify.messages import of_alert
from ingest.notify.sender import CLAIM_SECONDS, SENDERS, SHARE, Senders
from ingest.notify.settings import NotifySettings
from ingest.notify.webhook import WebhookFailed, post
from storage.alerts import Alert
from storage.deadlines import BoundedCalls
from storage.notifications import Notification, claim_due
from storage.rules import Rule
from storage.settings import Settings, SettingsError
from storage.times import utc_now
from tests.support.servers import wait_until

Raise = Callable[[str | None, str, int], None]


@pytest.fixture
def due(session: Session) -> Raise:
    """Adds notifications of a tenant over a channel."""
    rule = Rule(rule_name="r", scope="all_devices", property="power", condition=">", threshold=1)
    session.add(rule)
    session.commit()

    def add(tenant_id: str | None, channel: str, count: int) -> None:
        for _ in range(count):
            alert = Alert(
                tenant_id=tenant_id, rule_id=rule.rule_id, device_id="D1", severity="high", message="m",
                actual_value=2, threshold_value=1, reading_time=utc_now(), rule={"tenant_id": tenant_id},
            )  # fmt: skip
            session.add(alert)
            session.flush()
            session.add(Notification(alert_id=alert.alert_id, tenant_id=tenant_id, device_id="D1", channel=channel))
        session.commit()

    return add


def test_senders_are_shared_out_by_tenant_and_channel(session: Session, due: Raise) -> None:
    due("acme", "webhook", 20)
    due("acme", "email", 1)
    due("beta", "webhook", 2)
    claimed = []
    while notification := claim_due(session, seconds=CLAIM_SECONDS, share=SHARE):
        claimed.append((notification.tenant_id, notification.channel))
        session.commit()
    assert Counter(claimed) == {("acme", "webhook"): SHARE, ("acme", "email"): 1, ("beta", "webhook"): 2}
    # One of each tenant is first, then the other channel of the first tenant.
    assert [tenant for tenant, _ in claimed[:4]] == ["acme", "beta", "acme", "beta"]
    assert claimed[2] == ("acme", "email")
    assert len(claimed) < SENDERS + 1


def test_a_slow_receiver_delays_nobody_else_and_no_transaction_waits_for_it(
    settings: Settings, session: Session, engine: Engine, due: Raise, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, answered = threading.Event(), []

    def post_slowly(url: str, *_: object, **__: object) -> str:
        if "slow" in url:
            slow.wait(30)
        answered.append(url)
        return "200 OK"

    monkeypatch.setattr(webhook, "post", post_slowly)
    monkeypatch.setenv("NOTIFY_WEBHOOK__SLOW", "https://slow.example.com/")
    monkeypatch.setenv("NOTIFY_WEBHOOK__QUICK", "https://quick.example.com/")
    due("slow", "webhook", 20)
    due("quick", "webhook", 5)
    senders = Senders(NotifySettings.load(), settings, engine, IngestMetrics())
    senders.start()
    try:
        wait_until(lambda: len(answered) == 5, "all of the others are sent")
        assert set(answered) == {"https://quick.example.com/"}
        query = """SELECT state FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"""

        def none_is_open() -> bool:
            session.rollback()  # a transaction sees one snapshot of the activity
            return not session.execute(text(query)).all()

        wait_until(none_is_open, "no transaction is open")
    finally:
        slow.set()
        senders.stop()


@pytest.fixture
def drip(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that begins an answer, and goes on a byte at a time, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with closing(connection):
                try:
                    connection.sendall(request.param)
                    while not ended.wait(0.02):
                        connection.sendall(b"x")
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    ended.set()
    listener.close()
    thread.join(5)


@pytest.mark.parametrize("drip", [b"HTTP/1.1 200 OK\r\nX-Slow: "], indirect=True)
def test_a_webhook_has_one_deadline_however_slowly_it_answers(drip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 0.3)
    with pytest.raises(WebhookFailed, match=r"no answer within 0\.3 s|timed out"):
        post(f"http://127.0.0.1:{drip}/", b"{}", notification="n", allowed_hosts=["127.0.0.1"])


@pytest.mark.parametrize("drip", [b"220 "], indirect=True)
def test_a_mail_has_one_deadline_however_slowly_it_is_taken(
    settings: Settings, session: Session, due: Raise, drip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "DEADLINE_SECONDS", 0.3)
    monkeypatch.setattr(channels, "MAX_CALLS", 1)
    monkeypatch.setenv(
        "NOTIFY_EMAIL", f"mailto://127.0.0.1:{drip}/?from=plant@example.com&mode=insecure&to=a@example.com"
    )
    due(None, "email", 1)
    alert = session.get_one(Alert, claim_due(session, seconds=1, share=1).alert_id)  # type: ignore[union-attr] # one is due
    sending = channels.Channels(NotifySettings.load())
    with pytest.raises(DeliveryFailed, match=r"no end after 0\.3 s"):
        sending.send("email", of_alert(alert, settings.zone), "n")
    with pytest.raises(DeliveryFailed, match="1 earlier calls have not ended yet"):
        sending.send("email", of_alert(alert, settings.zone), "n")


def test_calls_end_in_time_and_do_not_pile_up() -> None:
    calls, ended = BoundedCalls(0.1, 2), threading.Event()
    assert calls.call(int, "7") == 7
    with pytest.raises(ValueError, match="x"):
        calls.call(int, "x")
    for _ in range(2):
        with pytest.raises(TimeoutError, match=r"no end after 0\.1 s"):
            calls.call(ended.wait)
    with pytest.raises(TimeoutError, match="2 earlier calls"):
        calls.call(int, "7")
    ended.set()

    def answers() -> bool:
        try:
            return calls.call(int, "7") == 7
        except TimeoutError:
            return False

    wait_until(answers, "there is room again")


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/a\r\nX-Injected: 1", "https://example.com/a b", " https://example.com/",
        "https://example.com:99999/", "https://example.com:0/", "https://[2606:4700::1111]:70000/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["NOTIFY_WEBHOOK", "NOTIFY_EMAIL", "NOTIFY_PAGER__ACME"])
def test_an_address_is_one_that_can_be_reached(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    monkeypatch.setenv(name, address if name == "NOTIFY_WEBHOOK" else address.replace("https", "jsons"))
    with pytest.raises(SettingsError, match=f"{name}(:| has a blank)"):
        NotifySettings.load()


def test_tokens_with_colons_are_not_ports(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_TELEGRAM", "tgram://123456789:AAF-abcdefghijklmnopqrstuvwxyz012345/12315544/")
    monkeypatch.setenv("NOTIFY_EMAIL", "mailtos://user:12345678@example.com:587?to=a@example.com")
    NotifySettings.load()
