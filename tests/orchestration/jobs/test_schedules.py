"""Scheduled reports as Dagster asks for them: once each, made up after an absence, and sent when they have ended."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from ingest.metrics import IngestMetrics
from ingest.notify.sender import Senders
from ingest.notify.settings import NotifySettings
from orchestration.definitions import defs
from orchestration.jobs import schedules
from orchestration.resources import Platform
from storage import jobs
from storage.devices import Device
from storage.job_runs import JOB_ID_TAG
from storage.jobs import FLEET, ReportJob
from storage.notifications import Notification
from storage.report_schedules import ReportSchedule, ReportScheduleRun
from storage.settings import Settings
from storage.times import utc_now
from tests.ingest.notify.test_sender import Mailbox, mailbox  # noqa: F401 - a fixture

UTC_ZONE = ZoneInfo("UTC")


@pytest.fixture(autouse=True)
def _device(session: Session) -> None:
    session.add(Device(device_id="D1", device_name="Pump", device_type="pump", tenant_id="acme"))
    session.commit()


def scheduled(session: Session, due_at: datetime, **changes: Any) -> ReportSchedule:
    row = ReportSchedule(
        **{
            "tenant_id": "acme", "device_id": "D1", "formats": ["pdf", "json"], "compute_missing": False,
            "frequency": "daily", "send_at": "06:00", "recipients": ["email", "webhook"], "delivery": "attachment",
            "status": "active", "next_run_at": due_at, **changes,
        }
    )  # fmt: skip
    session.add(row)
    session.commit()
    return row


def tick(instance: dg.DagsterInstance, platform: Platform) -> str:
    with dg.build_schedule_context(instance=instance, resources={"platform": platform}) as context:
        answer = schedules.request_scheduled_reports(context)
    assert isinstance(answer, dg.SkipReason)
    return answer.skip_message or ""


def runs(session: Session) -> list[ReportScheduleRun]:
    session.expire_all()
    return list(session.exec(select(ReportScheduleRun).order_by(col(ReportScheduleRun.due_at))))


def six_oclock(days_ago: int) -> datetime:
    """06:00 UTC of a day that has passed."""
    today = utc_now() - timedelta(hours=6)
    return today.replace(hour=6, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)


def test_a_schedule_that_is_due_asks_for_its_reports_once(
    session: Session, platform: Platform, instance: dg.DagsterInstance
) -> None:
    due_at = six_oclock(0)
    schedule = scheduled(session, due_at, language="de")
    scheduled(session, utc_now() + timedelta(hours=1))
    scheduled(session, due_at, status="paused", next_run_at=None)
    assert tick(instance, platform).startswith("2 reports were requested")
    assert tick(instance, platform).startswith("0 reports were requested")
    (run,) = runs(session)
    assert (run.due_at, run.period_end - run.period_start) == (due_at, timedelta(days=1))
    assert run.period_end == due_at.replace(hour=0)
    reports = session.exec(select(ReportJob)).all()
    assert sorted(report.format for report in reports) == ["json", "pdf"]
    assert {report.job_id for report in reports} == set(run.job_ids)
    assert {(report.tenant_id, report.device_id, report.status) for report in reports} == {("acme", "D1", "pending")}
    assert reports[0].parameters == {"language": "de"}
    session.refresh(schedule)
    assert schedule.next_run_at == due_at + timedelta(days=1)


def test_many_ticks_at_once_ask_once(session: Session, platform: Platform, instance: dg.DagsterInstance) -> None:
    for _ in range(5):
        scheduled(session, six_oclock(0), formats=["pdf"])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: tick(instance, platform), range(4)))
    assert len(session.exec(select(ReportJob)).all()) == 5
    assert len(runs(session)) == 5


@pytest.mark.parametrize("days", [3, 10])
def test_runs_that_were_missed_are_made_up_once(
    days: int, session: Session, platform: Platform, instance: dg.DagsterInstance
) -> None:
    schedule = scheduled(session, six_oclock(days - 1), formats=["pdf"])
    for _ in range(2):
        tick(instance, platform)
    made = [run for run in runs(session) if run.status == "pending"]
    missed = [run for run in runs(session) if run.status == "missed"]
    assert (len(made), len(missed)) == (min(days, schedules.MAX_MADE_UP), max(0, days - schedules.MAX_MADE_UP))
    ends = [run.period_end for run in (*missed, *made)]
    assert ends == [six_oclock(ago).replace(hour=0) for ago in reversed(range(days))], "each day once, none left out"
    session.refresh(schedule)
    assert schedule.next_run_at
    assert schedule.next_run_at > utc_now()


def test_reports_that_have_ended_are_handed_to_the_channels_once(
    session: Session, platform: Platform, instance: dg.DagsterInstance
) -> None:
    scheduled(session, six_oclock(0))
    tick(instance, platform)
    pdf, as_json = session.exec(select(ReportJob).order_by(col(ReportJob.format).desc())).all()
    jobs.claim(session, ReportJob, pdf.job_id, "run")
    jobs.complete(session, pdf, "Completed", results={"key": "k"})
    session.commit()
    tick(instance, platform)
    assert session.exec(select(Notification)).all() == [], "one report is still being made"
    jobs.fail(session, as_json, "the file is too large")
    session.commit()
    for _ in range(2):
        tick(instance, platform)
    (run,) = runs(session)
    assert (run.status, run.error_message) == ("completed", "json: the file is too large")
    sent = session.exec(select(Notification)).all()
    assert sorted(row.channel for row in sent) == ["email", "webhook"]
    assert {(row.report_run_id, row.alert_id, row.tenant_id, row.status) for row in sent} == {
        (run.run_id, None, "acme", "pending")
    }


def test_a_run_without_any_report_fails_and_says_why(
    session: Session, platform: Platform, instance: dg.DagsterInstance
) -> None:
    scheduled(session, six_oclock(0), formats=["pdf"])
    scheduled(session, six_oclock(0), device_id="gone")
    scheduled(session, six_oclock(0), tenant_id="other")
    tick(instance, platform)
    (report,) = session.exec(select(ReportJob)).all()
    jobs.fail(session, report, "no readings")
    session.commit()
    tick(instance, platform)
    reasons = {(run.tenant_id, run.status, run.error_message) for run in runs(session)}
    assert reasons == {
        ("acme", "failed", "pdf: no readings"),
        ("acme", "failed", "there is no device gone; change the schedule, or delete it"),
        ("other", "failed", "there is no device D1; change the schedule, or delete it"),
    }


def test_a_fleets_report_names_its_devices(session: Session, platform: Platform, instance: dg.DagsterInstance) -> None:
    scheduled(session, six_oclock(0), device_id=FLEET, device_ids=["D1"], formats=["pdf"])
    tick(instance, platform)
    (report,) = session.exec(select(ReportJob)).all()
    assert (report.device_id, report.parameters) == (FLEET, {"device_ids": ["D1"]})
    assert datetime.now(UTC) > report.date_range_end


def test_from_the_schedule_to_the_mail(
    session: Session,
    platform: Platform,
    instance: dg.DagsterInstance,
    *,
    settings: Settings,
    engine: Engine,
    mailbox: Mailbox,  # noqa: F811
) -> None:
    scheduled(session, six_oclock(0), formats=["json", "excel"], recipients=["email"], name="Pump, daily")
    tick(instance, platform)
    instance.add_dynamic_partitions("devices", ["D1"])
    report_job = defs().resolve_job_def("report_job")
    for job in session.exec(select(ReportJob)).all():
        report_job.execute_in_process(partition_key="D1", instance=instance, tags={JOB_ID_TAG: job.job_id})
    tick(instance, platform)
    assert Senders(NotifySettings.load(), settings, engine, IngestMetrics()).send_one()
    ((to, mail),) = mailbox.mails
    day = six_oclock(1).date()
    assert (to, mail["subject"]) == (["acme@example.com"], f"Pump, daily: {day}")
    names = [attached.get_filename() for attached in mail.iter_attachments()]
    assert names == [f"D1_{day}_{day}.json", f"D1_{day}_{day}.xlsx"]
    (as_json, _) = mail.iter_attachments()
    assert json.loads(as_json.get_content())["device"]["id"] == "D1"
