"""Work asked for over REST: a row first, then one run that claims it.

The claim is one conditional UPDATE, so that exactly one run executes a job, whoever launched how many.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Identity, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, Session, SQLModel, Text, col, select, update

from storage.database import Timestamp
from storage.settings import Settings
from storage.times import utc_now

ACTIVE = ("pending", "running")
STATES = (*ACTIVE, "completed", "failed", "cancelled")
MAX_LAUNCHES = 5


def _made_from(name: str) -> Index:
    """What a replaced file is looked up in: the datasets that a result was made from."""
    path = text("((results -> 'provenance'::text) -> 'datasets'::text)")
    return Index(name, path, postgresql_using="gin")


class Job(SQLModel):
    """Columns that all three kinds of job share."""

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
    )
    prefix: ClassVar[str] = "job"

    # The view `analytics_results` shows it as `id`, which the handover has as a number.
    number: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()], nullable=False)
    analysis_type: str = Field(max_length=50)
    model_name: str = Field(max_length=100)
    dataset_key: str | None = Field(default=None, max_length=500)
    date_range_start: datetime = Timestamp()
    date_range_end: datetime = Timestamp()
    accuracy_metrics: dict[str, Any] | None = Field(default=None, sa_type=JSONB)


class ExportJob(Job, table=True):
    """A device's telemetry brought into Parquet: its touched days, or one file over a range of days."""

    __tablename__ = "export_jobs"
    __table_args__ = (Index("idx_export_jobs_status", "status"),)
    prefix: ClassVar[str] = "export"

    date_range_start: datetime | None = Timestamp(default=None)
    date_range_end: datetime | None = Timestamp(default=None)


class ReportJob(Job, table=True):
    """A report of one device over a period, in one format."""

    __tablename__ = "report_jobs"
    __table_args__ = (Index("idx_report_jobs_status", "status"), _made_from("report_jobs_made_from"))
    prefix: ClassVar[str] = "report"

    analysis_types: list[str] = Field(default_factory=list, sa_type=JSONB)
    format: str = Field(max_length=10)
    date_range_start: datetime = Timestamp()
    date_range_end: datetime = Timestamp()


JobT = TypeVar("JobT", bound=Job)
KINDS: dict[str, type[Job]] = {kind.prefix: kind for kind in (AnalyticsJob, ExportJob, ReportJob)}


def new_job_id(kind: type[Job]) -> str:
    return f"{kind.prefix}-{uuid4().hex[:12]}"


def kind_of(job_id: str) -> type[Job]:
    """The table a job id belongs to.

    Raises:
        KeyError: no kind of job has such ids.

    """
    return KINDS[job_id.partition("-")[0]]


def find(session: Session, kind: type[JobT], job_id: str) -> JobT | None:
    return session.exec(select(kind).where(col(kind.job_id) == job_id)).first()


def newest_analysis(
    session: Session, device_id: str, analysis_type: str, start: datetime, end: datetime
) -> AnalyticsJob | None:
    """The completed analysis of that type that was completed last, of those that overlap [start, end)."""
    query = select(AnalyticsJob).where(
        AnalyticsJob.device_id == device_id,
        AnalyticsJob.analysis_type == analysis_type,
        AnalyticsJob.status == "completed",
        AnalyticsJob.date_range_start < end,
        AnalyticsJob.date_range_end > start,
    )
    return session.exec(query.order_by(col(AnalyticsJob.completed_at).desc())).first()


def at_work(session: Session, run_id: str) -> list[Job]:
    """The jobs that a run has claimed and not ended."""
    return [
        job
        for kind in KINDS.values()
        for job in session.exec(select(kind).where(col(kind.run_id) == run_id, col(kind.status) == "running"))
    ]


def claim(session: Session, kind: type[JobT], job_id: str, run_id: str) -> JobT | None:
    """Take a pending job for this run, and commit. None: another run has it, it is over, or it was cancelled."""
    now = utc_now()
    taken = session.exec(
        update(kind)
        .where(col(kind.job_id) == job_id, col(kind.status) == "pending")
        .values(status="running", run_id=run_id, started_at=now, updated_at=now, progress=0.0, message="Started")
    )
    session.commit()
    return find(session, kind, job_id) if taken.rowcount else None


def _change(session: Session, job: Job, states: tuple[str, ...], values: Mapping[str, Any]) -> bool:
    """Change the row while it is in one of the states; commit. False: it has left them (cancelled, say)."""
    kind = type(job)
    changed = session.exec(
        update(kind)
        .where(col(kind.job_id) == job.job_id, col(kind.status).in_(states))
        .values(**values, updated_at=utc_now())
    )
    session.commit()
    session.refresh(job)
    return bool(changed.rowcount)


class JobCancelled(Exception):
    """The job was cancelled while its run was at work."""


def report_progress(session: Session, job: Job, percent: float, message: str) -> None:
    """Say how far the job is.

    Raises:
        JobCancelled: nobody waits for it any more.

    """
    if not _change(session, job, ("running",), {"progress": percent, "message": message}):
        raise JobCancelled(job.job_id)


def complete(session: Session, job: Job, message: str, **results: Any) -> None:
    """Note the result.

    Raises:
        JobCancelled: nobody waits for it any more.

    """
    if not _end(session, job, {"status": "completed", "progress": 100.0, "message": message, **results}):
        raise JobCancelled(job.job_id)


def fail(session: Session, job: Job, reason: str) -> bool:
    """Note why there is no result; False when the job was over already."""
    return _end(session, job, {"status": "failed", "message": "Failed", "error_message": reason})


def cancel(session: Session, job: Job) -> bool:
    """Take the job back; False when it was over already."""
    return _end(session, job, {"status": "cancelled", "message": "Cancelled"})


def _end(session: Session, job: Job, values: dict[str, Any]) -> bool:
    now = utc_now()
    seconds = round((now - job.started_at).total_seconds()) if job.started_at else None
    return _change(session, job, ACTIVE, {**values, "completed_at": now, "execution_time_seconds": seconds})


def note_launch(session: Session, job: Job, run_id: str | None) -> None:
    """Count a launch; commit. The run id is known unless a sensor asked for the run."""
    values: dict[str, Any] = {"launches": job.launches + 1}
    if run_id:
        values["run_id"] = run_id
    _change(session, job, ("pending",), values)


def waiting(session: Session, kind: type[JobT], older_than: datetime, limit: int = 50) -> list[JobT]:
    """Pending jobs that nobody seems to be starting, oldest first."""
    return list(
        session.exec(
            select(kind)
            .where(col(kind.status) == "pending", col(kind.updated_at) < older_than)
            .order_by(col(kind.created_at))
            .limit(limit)
        )
    )


# Dagster knows a job by its row's id in this tag; the other one is what MAX_CONCURRENT_JOBS counts.
ID_TAG = "energy/job_id"
KIND_TAG = "energy/job"


def run_tags(job: Job, settings: Settings) -> dict[str, str]:
    """Tags of a run that does the job."""
    timeout = settings.report_timeout_seconds if isinstance(job, ReportJob) else settings.job_timeout_seconds
    tags = {ID_TAG: job.job_id, KIND_TAG: job.prefix, "dagster/max_runtime": str(timeout)}
    return tags if isinstance(job, ExportJob) else {**tags, "dagster/partition": job.device_id}


def dagster_job(job: Job) -> str:
    """The name of the Dagster job that does such jobs."""
    return f"{job.analysis_type}_job" if isinstance(job, AnalyticsJob) else f"{job.prefix}_job"
