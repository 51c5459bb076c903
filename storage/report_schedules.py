"""Reports that are made and sent by themselves: the schedules, and the record of each of their runs."""

from collections.abc import Collection
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB, distinct_on
from sqlmodel import Field, Session, SQLModel, Text, col, select
from sqlmodel.sql.expression import SelectOfScalar

from storage import jobs, reports
from storage.database import Timestamp
from storage.devices import Device
from storage.job_queue import next_turn
from storage.jobs import FLEET, ReportJob
from storage.times import utc_now

Frequency = Literal["daily", "weekly", "monthly"]
Delivery = Literal["attachment", "link"]
RunStatus = Literal["pending", "completed", "failed", "missed"]


class ReportSchedule(SQLModel, table=True):
    """What is reported, how often, and to whom.

    `device_id` is `FLEET` for a report over several devices: those in `device_ids`, or all of the tenant. `send_at` is
    a time of day in the site's zone. `recipients` are names of notification channels. A schedule that is paused has no
    `next_run_at`.
    """

    __tablename__ = "report_schedules"
    __table_args__ = (Index("report_schedules_due", "next_run_at", postgresql_where=text("next_run_at IS NOT NULL")),)

    schedule_id: UUID = Field(default_factory=uuid4, primary_key=True)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    name: str | None = Field(default=None, max_length=255)
    device_id: str = Field(index=True, max_length=50)
    device_ids: list[str] | None = Field(default=None, sa_type=JSONB)
    analysis_types: list[str] = Field(default_factory=list, sa_type=JSONB)
    formats: list[str] = Field(sa_type=JSONB)
    language: str | None = Field(default=None, max_length=10)
    compute_missing: bool
    frequency: str = Field(max_length=10)
    send_at: str = Field(max_length=5)
    recipients: list[str] = Field(sa_type=JSONB)
    delivery: str = Field(max_length=10)
    status: str = Field(max_length=20)
    next_run_at: datetime | None = Timestamp(default=None)
    created_at: datetime = Timestamp(default_factory=utc_now)
    updated_at: datetime = Timestamp(default_factory=utc_now)


class ReportScheduleRun(SQLModel, table=True):
    """One time that a schedule was due.

    `pending` until all its reports have ended. Then it is `completed`, or `failed` if none could be made, and the
    notifications have been added. It is `missed` if the platform was away and the run was not made up.
    """

    __tablename__ = "report_schedule_runs"
    __table_args__ = (
        UniqueConstraint("schedule_id", "due_at", name="report_schedule_runs_once"),
        Index("report_schedule_runs_pending", "due_at", postgresql_where=text("status = 'pending'")),
    )

    run_id: UUID = Field(default_factory=uuid4, primary_key=True)
    schedule_id: UUID = Field(foreign_key="report_schedules.schedule_id", ondelete="CASCADE")
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    due_at: datetime = Timestamp()
    period_start: datetime = Timestamp()
    period_end: datetime = Timestamp()
    status: str = Field(default="pending", max_length=20)
    job_ids: list[str] = Field(default_factory=list, sa_type=JSONB)
    error_message: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Timestamp(default_factory=utc_now)
    completed_at: datetime | None = Timestamp(default=None)


def due_schedules(session: Session, now: datetime, limit: int = 100) -> list[ReportSchedule]:
    """The schedules that are due, locked, so that each is taken once; the longest due come first."""
    due = select(ReportSchedule).where(col(ReportSchedule.next_run_at) <= now)
    return list(
        session.exec(due.order_by(col(ReportSchedule.next_run_at)).limit(limit).with_for_update(skip_locked=True))
    )


def start_run(
    session: Session, schedule: ReportSchedule, due_at: datetime, period: tuple[datetime, datetime]
) -> tuple[ReportScheduleRun, list[ReportJob]]:
    """Add a run of a schedule, and the jobs of its reports. The caller commits.

    If the schedule's device does not exist any more, or belongs to another tenant, the run fails and has no jobs.
    """
    run = _add_run(session, schedule, due_at, period)
    if schedule.device_id != FLEET and not _has_device(session, schedule):
        run.status, run.completed_at = "failed", utc_now()
        run.error_message = f"there is no device {schedule.device_id}; change the schedule, or delete it"
        return run, []
    made = []
    for format_ in schedule.formats:
        job = ReportJob(
            job_id=jobs.new_job_id(ReportJob),
            tenant_id=schedule.tenant_id,
            device_id=schedule.device_id,
            analysis_types=schedule.analysis_types,
            format=format_,
            date_range_start=period[0],
            date_range_end=period[1],
            parameters=reports.report_parameters(
                language=schedule.language,
                compute_missing=schedule.compute_missing,
                device_ids=schedule.device_ids,
            ),
            turn=next_turn(session, schedule.tenant_id),
        )
        session.add(job)
        made.append(job)
    run.job_ids = [job.job_id for job in made]
    return run, made


def add_missed_run(
    session: Session, schedule: ReportSchedule, due_at: datetime, period: tuple[datetime, datetime]
) -> None:
    """Record a time at which a schedule was due and no report was made. The caller commits."""
    run = _add_run(session, schedule, due_at, period)
    run.status, run.completed_at = "missed", utc_now()
    run.error_message = "the platform was not running, and too many runs had been missed to make all of them up"


def pending_runs(session: Session) -> list[ReportScheduleRun]:
    """The runs whose reports are being made, locked, so that each is finished once."""
    pending = select(ReportScheduleRun).where(ReportScheduleRun.status == "pending")
    return list(session.exec(pending.order_by(col(ReportScheduleRun.due_at)).with_for_update(skip_locked=True)))


def reports_of(session: Session, job_ids: Collection[str]) -> list[ReportJob]:
    """The report jobs with these ids, in the order of the ids."""
    found = {job.job_id: job for job in session.exec(select(ReportJob).where(col(ReportJob.job_id).in_(job_ids)))}
    return [found[job_id] for job_id in job_ids if job_id in found]


def runs_of(schedule_id: UUID) -> SelectOfScalar[ReportScheduleRun]:
    """Select the runs of a schedule."""
    return select(ReportScheduleRun).where(ReportScheduleRun.schedule_id == schedule_id)


def last_runs(session: Session, schedule_ids: Collection[UUID]) -> dict[UUID, ReportScheduleRun]:
    """The last run of each of the schedules; those that have not run are left out."""
    schedule = col(ReportScheduleRun.schedule_id)
    runs = select(ReportScheduleRun).where(schedule.in_(schedule_ids)).ext(distinct_on(schedule))
    return {run.schedule_id: run for run in session.exec(runs.order_by(schedule, col(ReportScheduleRun.due_at).desc()))}


def _add_run(
    session: Session, schedule: ReportSchedule, due_at: datetime, period: tuple[datetime, datetime]
) -> ReportScheduleRun:
    start, end = period
    run = ReportScheduleRun(
        schedule_id=schedule.schedule_id,
        tenant_id=schedule.tenant_id,
        due_at=due_at,
        period_start=start,
        period_end=end,
    )
    session.add(run)
    return run


def _has_device(session: Session, schedule: ReportSchedule) -> bool:
    device = session.get(Device, schedule.device_id)
    return device is not None and device.deleted_at is None and device.tenant_id == schedule.tenant_id
