"""Reports of schedules, sent: attached to a mail, or as links; and again after a failure."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from ingest.notify import messages
from storage import jobs, notifications
from storage.jobs import FLEET, ReportJob
from storage.notifications import Notification, NotificationAttempt
from storage.objects import ObjectStore, open_object_store
from storage.report_schedules import ReportSchedule, ReportScheduleRun
from storage.settings import Settings
from tests.ingest.notify.test_sender import Mailbox, hook, mailbox, make_due, senders  # noqa: F401 - fixtures
from tests.ingest.notify.test_webhook import Receiver, receiver  # noqa: F401 - a fixture

CONTENT = b"%PDF-1.7 of a pump"


@pytest.fixture
def objects(settings: Settings) -> ObjectStore:
    return open_object_store(settings)


def finished(session: Session, objects: ObjectStore, **changes: Any) -> ReportScheduleRun:
    """A run of a schedule whose PDF is made and whose JSON failed, with its notifications."""
    schedule = ReportSchedule(
        **{
            "device_id": "D1", "formats": ["pdf", "json"], "compute_missing": False, "frequency": "daily",
            "send_at": "06:00", "recipients": ["email"], "delivery": "attachment", "status": "active", **changes,
        }
    )  # fmt: skip
    start, end = datetime(2026, 2, 12, tzinfo=UTC), datetime(2026, 2, 13, tzinfo=UTC)
    reports = [
        ReportJob(
            job_id=jobs.new_job_id(ReportJob), device_id="D1", format=format_, date_range_start=start,
            date_range_end=end,
        )
        for format_ in schedule.formats
    ]  # fmt: skip
    key = f"reports/D1/{reports[0].job_id}.pdf"
    objects.put(key, CONTENT)
    done = {"key": key, "media_type": "application/pdf", "size_bytes": len(CONTENT), "sha256": "ab"}
    reports[0].status, reports[0].results = "completed", done
    reports[1].status, reports[1].error_message = "failed", "it is too large"
    session.add_all([schedule, *reports])
    session.flush()
    run = ReportScheduleRun(
        schedule_id=schedule.schedule_id, tenant_id=schedule.tenant_id, due_at=end, period_start=start, period_end=end,
        status="completed", job_ids=[report.job_id for report in reports],
    )  # fmt: skip
    session.add(run)
    session.flush()
    notifications.add_report_notifications(session, run, schedule.device_id, schedule.recipients)
    session.commit()
    return run


def test_a_report_is_attached_to_a_mail(
    session: Session,
    engine: Engine,
    objects: ObjectStore,
    mailbox: Mailbox,  # noqa: F811
) -> None:
    run = finished(session, objects, tenant_id="acme", name="Pump,\ndaily")
    assert senders(engine).send_one()
    ((to, mail),) = mailbox.mails
    assert (to, mail["subject"]) == (["acme@example.com"], "Pump, daily: 2026-02-12")
    (attached,) = mail.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == (f"{run.job_ids[0]}.pdf", "application/pdf")
    assert attached.get_content() == CONTENT
    text = mail.get_body(("plain",)).get_content()
    assert "Daily report of D1." in text
    assert "The json file could not be made: it is too large" in text
    assert "http" not in text
    (row,) = session.exec(select(Notification)).all()
    assert (row.status, row.sent_at is not None) == ("sent", True)


def test_a_mail_is_in_the_language_of_its_report(
    session: Session,
    engine: Engine,
    objects: ObjectStore,
    mailbox: Mailbox,  # noqa: F811
) -> None:
    finished(session, objects, language="de")
    assert senders(engine).send_one()
    ((_, mail),) = mailbox.mails
    assert mail["subject"] == "D1: 12.02.2026"
    text = mail.get_body(("plain",)).get_content()
    assert "Täglicher Bericht: D1." in text
    assert "Die Datei im Format json konnte nicht erstellt werden: it is too large" in text


@pytest.mark.parametrize("why", ["asked for", "too large"])
def test_a_link_in_place_of_the_file(
    why: str,
    session: Session,
    engine: Engine,
    *,
    objects: ObjectStore,
    mailbox: Mailbox,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("API_PUBLIC_URL", "https://energy.example.com/")
    monkeypatch.setattr(messages, "MAX_ATTACHED_BYTES", 15_000_000 if why == "asked for" else 10)
    run = finished(session, objects, delivery="link" if why == "asked for" else "attachment")
    assert senders(engine).send_one()
    ((_, mail),) = mailbox.mails
    assert list(mail.iter_attachments()) == []
    link = f"https://energy.example.com/api/v1/files/reports/D1/{run.job_ids[0]}.pdf?expires="
    assert link in mail.get_content().replace("=\n", "")


def test_a_webhook_gets_links_and_what_failed(
    session: Session,
    engine: Engine,
    objects: ObjectStore,
    hook: Receiver,  # noqa: F811
) -> None:
    run = finished(session, objects, device_id=FLEET, recipients=["webhook"])
    assert senders(engine).send_one()
    ((_, _, body),) = hook.received
    said = json.loads(body)
    (row,) = session.exec(select(Notification)).all()
    assert said["notification_id"] == str(row.notification_id)
    report = said["report"]
    assert (report["run_id"], report["device_id"], report["status"]) == (str(run.run_id), None, "completed")
    assert (report["period_start"], report["period_end"]) == ("2026-02-12T00:00:00Z", "2026-02-13T00:00:00Z")
    (file,) = report["files"]
    assert (file["job_id"], file["format"]) == (run.job_ids[0], "pdf")
    assert "/api/v1/files/reports/D1/" in file["download_url"]


def test_what_fails_is_on_record_and_sent_again(
    session: Session,
    engine: Engine,
    objects: ObjectStore,
    mailbox: Mailbox,  # noqa: F811
) -> None:
    run = finished(session, objects)
    key = f"reports/D1/{run.job_ids[0]}.pdf"
    objects.delete(key)
    assert senders(engine).send_one()
    detail = session.exec(select(NotificationAttempt.detail)).one()
    assert detail == f"the file '{key}' is not in the object store any more"
    objects.put(key, CONTENT)
    make_due(session)
    assert senders(engine).send_one()
    assert len(mailbox.mails) == 1
    assert session.exec(select(Notification.status)).one() == "sent"
    assert not senders(engine).send_one()
