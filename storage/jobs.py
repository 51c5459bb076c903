"""Jobs that clients ask for over REST: a row first, then one run that claims it.

A claim is one conditional UPDATE, so exactly one run performs a job, however many runs were launched for it.
Nothing here commits; the request or the run does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Identity, Index, func, text, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, Session, SQLModel, Text, col, select, update

from storage.database import Timestamp
from storage.times import utc_now

JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
ACTIVE: tuple[JobStatus, ...] = ("pending", "running")
MAX_LAUNCHES = 5
# The `device_id` of a report over several devices. No device can have this id.
FLEET = "*"


def _made_from(name: str) -> Index:
    """An index over the datasets that a result was made from, to look a replaced file up."""
    path = text("((results -> 'provenance'::text) -> 'datasets'::text)")
    return Index(name, path, postgresql_using="gin")


class Job(SQLModel):
    """The columns that all three kinds of job share. `prefix` begins their job ids."""

    prefix: ClassVar[str]

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    job_id: str = Field(unique=True, index=True, max_length=100)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    device_id: str = Field(index=True, max_length=50)
    parameters: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    status: str = Field(default="pending", max_length=50, sa_column_kwargs={"server_default": "pending"})
    progress: float | None = 0.0
    message: str | None = Field(default=None, sa_type=Text)
    error_message: str | None = Field(default=None, sa_type=Text)
    results: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    execution_time_seconds: int | None = None
    run_id: str | None = Field(default=None, max_length=100)
    launches: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    turn: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    created_at: datetime = Timestamp(default_factory=utc_now, sa_column_kwargs={"server_default": text("now()")})
    started_at: datetime | None = Timestamp(default=None)
    completed_at: datetime | None = Timestamp(default=None)
    updated_at: datetime = Timestamp(default_factory=utc_now, sa_column_kwargs={"server_default": text("now()")})


class AnalyticsJob(Job, table=True):
    """One analysis of one device's dataset."""

    __tablename__ = "analytics_jobs"
    __table_args__ = (
        Index("idx_analytics_jobs_status", "status"),
        Index("idx_analytics_jobs_created_at", "created_at"),
        _made_from("analytics_jobs_made_from"),
        Index(
            "analytics_jobs_ranked",  # for `storage.fleet`
            "device_id",
            "analysis_type",
            text("date_range_end DESC"),
            text("completed_at DESC"),
            postgresql_where=text("ranking IS NOT NULL"),
        ),
    )
    prefix: ClassVar[str] = "job"

    # The view `analytics_results` shows it as its numeric `id`.
    number: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()], nullable=False)
    analysis_type: str = Field(max_length=50)
    model_name: str = Field(max_length=100)
    dataset_key: str | None = Field(default=None, max_length=500)
    date_range_start: datetime = Timestamp()
    date_range_end: datetime = Timestamp()
    accuracy_metrics: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    ranking: float | None = None  # the fleet is ranked by it, see `assets.analyses.ranking`
    data_until: datetime | None = Timestamp(default=None)  # the last reading; null if an older release analysed


class ExportJob(Job, table=True):
    """An export of one device to Parquet: its dirty days, or one file over a range of days."""

    __tablename__ = "export_jobs"
    __table_args__ = (Index("idx_export_jobs_status", "status"),)
    prefix: ClassVar[str] = "export"

    date_range_start: datetime | None = Timestamp(default=None)
    date_range_end: datetime | None = Timestamp(default=None)


class ReportJob(Job, table=True):
    """A report over a period, in one format, of one device or of several (`device_id` is `FLEET`)."""

    __tablename__ = "report_jobs"
    __table_args__ = (Index("idx_report_jobs_status", "status"), _made_from("report_jobs_made_from"))
    prefix: ClassVar[str] = "report"

    analysis_types: list[str] = Field(default_factory=list, sa_type=JSONB)
    format: str = Field(max_length=10)
    date_range_start: datetime = Timestamp()
    date_range_end: datetime = Timestamp()


JobT = TypeVar("JobT", bound=Job)
JOB_TABLES: tuple[type[Job], ...] = (AnalyticsJob, ExportJob, ReportJob)


class JobCancelled(Exception):
    """The job was cancelled while its run was working on it."""


def new_job_id(table: type[Job]) -> str:
    return f"{table.prefix}-{uuid4().hex[:12]}"


def find(session: Session, table: type[JobT], job_id: str) -> JobT | None:
    return session.exec(select(table).where(col(table.job_id) == job_id)).first()


def waiting(session: Session, table: type[JobT], older_than: datetime, limit: int = 50) -> list[JobT]:
    """Return the jobs that have been pending, unchanged, since before a moment; oldest first."""
    pending = select(table).where(col(table.status) == "pending", col(table.updated_at) < older_than)
    return list(session.exec(pending.order_by(col(table.created_at)).limit(limit)))


def claimed_by(session: Session, run_id: str) -> list[Job]:
    """Return the jobs that a run has claimed and not ended."""
    return [
        job
        for table in JOB_TABLES
        for job in session.exec(select(table).where(col(table.run_id) == run_id, col(table.status) == "running"))
    ]


def newest_export(session: Session, device_id: str) -> ExportJob | None:
    """Return the device's export job that was asked for last."""
    of_device = select(ExportJob).where(ExportJob.device_id == device_id)
    return session.exec(of_device.order_by(col(ExportJob.created_at).desc()).limit(1)).first()


def analysis_of_period(
    session: Session, device_id: str, analysis_type: str, start: datetime, end: datetime
) -> AnalyticsJob | None:
    """The completed analysis of that type that suits [start, end) best, of those that overlap it.

    For anomalies that is the one that covers most of it. What looks ahead follows the period: its data end closest to
    `end`. Among equals, the one that was completed last.
    """
    since, until = col(AnalyticsJob.date_range_start), col(AnalyticsJob.date_range_end)
    covered = func.least(until, end) - func.greatest(since, start)
    after, before = func.greatest(until, end), func.least(until, end)
    best = covered.desc() if analysis_type == "anomaly" else after - before
    query = select(AnalyticsJob).where(
        AnalyticsJob.device_id == device_id,
        AnalyticsJob.analysis_type == analysis_type,
        AnalyticsJob.status == "completed",
        since < end,
        until > start,
    )
    return session.exec(query.order_by(best, col(AnalyticsJob.completed_at).desc()).limit(1)).first()


def is_analysed(session: Session, device_id: str, analysis_type: str, until: datetime) -> bool:
    """Whether an analysis of the device's data that ends at `until` is completed."""
    completed = select(AnalyticsJob.id).where(
        AnalyticsJob.device_id == device_id,
        AnalyticsJob.analysis_type == analysis_type,
        AnalyticsJob.status == "completed",
        AnalyticsJob.date_range_end == until,
    )
    return session.exec(completed.limit(1)).first() is not None


@dataclass(frozen=True)
class JobReference:
    """What a list says of a job, without its result."""

    job_id: str
    kind: Literal["analysis", "report", "export"]
    status: str
    run_id: str | None
    created_at: datetime


def made_from(session: Session, sha256: str, *, limit: int) -> list[JobReference]:
    """The analyses and the reports, so many of each, that were made from exactly this file, newest first."""
    file = type_coerce([{"sha256": sha256}], JSONB)
    found: list[JobReference] = []
    kinds: tuple[tuple[type[AnalyticsJob | ReportJob], Literal["analysis", "report"]], ...] = (
        (AnalyticsJob, "analysis"),
        (ReportJob, "report"),
    )
    for table, kind in kinds:
        query = select(table.job_id, table.status, table.run_id, table.created_at)
        query = query.where(col(table.results)["provenance"]["datasets"].op("@>")(file))
        rows = session.exec(query.order_by(col(table.created_at).desc()).limit(limit))
        found += [JobReference(job_id, kind, status, run_id, at) for job_id, status, run_id, at in rows]
    return sorted(found, key=lambda job: job.created_at, reverse=True)


def export_of_run(session: Session, run_id: str) -> JobReference | None:
    """The export job that a run performed; None if the run was not launched for one."""
    job = session.exec(select(ExportJob).where(ExportJob.run_id == run_id).limit(1)).first()
    return JobReference(job.job_id, "export", job.status, run_id, job.created_at) if job else None


def note_launch(session: Session, job: Job, run_id: str | None) -> None:
    """Count a launch of a pending job. The run id is known unless a sensor requested the run."""
    values: dict[str, Any] = {"launches": job.launches + 1}
    if run_id:
        values["run_id"] = run_id
    _change(session, job, ("pending",), values)


def claim(session: Session, table: type[JobT], job_id: str, run_id: str) -> JobT | None:
    """Take a pending job for a run; None if it is not pending any more."""
    now = utc_now()
    taken = session.exec(
        update(table)
        .where(col(table.job_id) == job_id, col(table.status) == "pending")
        .values(status="running", run_id=run_id, started_at=now, updated_at=now, progress=0.0, message="Started")
    )
    return find(session, table, job_id) if taken.rowcount else None


def report_progress(session: Session, job: Job, percent: float, message: str) -> None:
    """Record how far a running job is.

    Raises:
        JobCancelled: it is not running any more.

    """
    if not _change(session, job, ("running",), {"progress": round(percent, 1), "message": message}):
        raise JobCancelled(job.job_id)


def complete(session: Session, job: Job, message: str, **results: Any) -> None:
    """Record a job's results; the keywords are columns.

    Raises:
        JobCancelled: it has ended already.

    """
    if not _end(session, job, {"status": "completed", "progress": 100.0, "message": message, **results}):
        raise JobCancelled(job.job_id)


# A failure that nobody expected may have a statement of megabytes in its message.
MAX_REASON = 4_000


def fail(session: Session, job: Job, reason: str) -> bool:
    """Record why a job failed; False if it has ended already."""
    return _end(session, job, {"status": "failed", "message": "Failed", "error_message": reason[:MAX_REASON]})


def cancel(session: Session, job: Job) -> bool:
    """Cancel a job; False if it has ended already."""
    return _end(session, job, {"status": "cancelled", "message": "Cancelled"})


def _end(session: Session, job: Job, values: dict[str, Any]) -> bool:
    now = utc_now()
    seconds = round((now - job.started_at).total_seconds()) if job.started_at else None
    return _change(session, job, ACTIVE, {**values, "completed_at": now, "execution_time_seconds": seconds})


def _change(session: Session, job: Job, states: tuple[JobStatus, ...], values: Mapping[str, Any]) -> bool:
    """Change the job's row if it is in one of the states; False if it is not."""
    table = type(job)
    changed = session.exec(
        update(table)
        .where(col(table.job_id) == job.job_id, col(table.status).in_(states))
        .values(**values, updated_at=utc_now())
    )
    session.refresh(job)
    return bool(changed.rowcount)
