"""Turns of jobs: tenants take turns, however many jobs each of them has waiting."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session

from storage.job_queue import next_turn
from storage.job_runs import LONG_TAG, PRIORITY_TAG, TENANT_TAG, run_tags
from storage.jobs import FLEET, AnalyticsJob, ExportJob, Job, ReportJob, new_job_id
from storage.settings import Settings

NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)


def add(session: Session, tenant_id: str | None, table: type[Job] = ReportJob) -> Job:
    report: dict[str, Any] = (
        {"format": "json", "date_range_start": NOON, "date_range_end": NOON} if table is ReportJob else {}
    )
    turn = next_turn(session, tenant_id)
    job = table(job_id=new_job_id(table), tenant_id=tenant_id, device_id="D1", turn=turn, **report)
    session.add(job)
    session.commit()
    return job


def test_tenants_take_turns(session: Session, settings: Settings) -> None:
    many = [add(session, "acme") for _ in range(24)]
    assert [job.turn for job in many] == list(range(1, 25))
    for job in many[:3]:
        job.status = "completed"
    for job in many[3:5]:
        job.status = "running"
    session.commit()
    others = [add(session, "beta", ExportJob), add(session, "beta"), add(session, None), add(session, None)]
    assert [job.turn for job in others] == [5, 6, 5, 6]  # acme's fifth is running
    tags = [run_tags(job, settings) for job in (others[0], many[5], others[2])]
    assert [int(tag[PRIORITY_TAG]) > int(tags[1][PRIORITY_TAG]) for tag in tags] == [True, False, True]
    assert [tag.get(TENANT_TAG) for tag in tags] == ["beta", "acme", None]


def test_jobs_that_may_take_minutes_leave_room_for_short_ones(settings: Settings) -> None:
    def job(analysis_type: str, days: int) -> AnalyticsJob:
        return AnalyticsJob(job_id="job-1", device_id="D1", analysis_type=analysis_type, model_name="m",
                            date_range_start=NOON, date_range_end=NOON + timedelta(days=days))  # fmt: skip

    fleet = ReportJob(job_id="r", device_id=FLEET, format="json", date_range_start=NOON, date_range_end=NOON)
    jobs = [
        job("forecast", 28),
        job("prediction", 28),
        job("forecast", 400),
        fleet,
        ExportJob(job_id="e", device_id="D"),
    ]
    assert [run_tags(one, settings).get(LONG_TAG) for one in jobs] == [None, "yes", "yes", "yes", None]


def test_one_tenant_alone_is_served_in_order_and_an_idle_platform_begins_anew(session: Session) -> None:
    for _ in range(3):
        jobs = [add(session, None) for _ in range(4)]
        assert [job.turn for job in jobs] == [1, 2, 3, 4]
        for job in jobs:
            job.status = "completed"
        session.commit()
